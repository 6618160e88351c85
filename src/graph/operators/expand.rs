//! ONNX `Expand` (8 to 13), any type: `shape` constant, maybe symbolic; it broadcasts with that of the tensor.

use super::{Wiring, arguments, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::broadcast::multi_broadcast;
use tract_core::internal::*;
use tract_core::ops::array::MultiBroadcastTo;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Expand;

impl Wiring for Expand {
    const OPERATOR: &'static str = "Expand";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Expand)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = arguments::constant_sizes(model, inputs[1], "shape")?;
        let own = model.outlet_fact(inputs[0])?.shape.to_tvec();
        let shape = multi_broadcast(&[&*own, &*shape])?;
        model.wire_node(prefix, MultiBroadcastTo::new(shape.into()), &inputs[..1])
    }
}
