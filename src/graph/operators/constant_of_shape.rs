//! ONNX `ConstantOfShape` (9 to 25): a shape, constant, maybe symbolic. Attribute: `value`, a tensor of one element; a float32 zero where
//! it is left out.

use super::{Wiring, arguments, attribute, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::onnx::tensor_from_proto;
use tract_core::internal::*;
use tract_core::ops::array::MultiBroadcastTo;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct ConstantOfShape {
    value: Tensor,
}

impl Wiring for ConstantOfShape {
    const OPERATOR: &'static str = "ConstantOfShape";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["value"])?;
        let value = attribute(node, "value").and_then(|value| value.t.as_ref()).map(tensor_from_proto).transpose()?;
        let value = value.unwrap_or_else(|| tensor0(0f32));
        ensure!(value.len() == 1, "a value of {} elements", value.len());
        Ok(ConstantOfShape { value: value.into_shape(&[])? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = arguments::constant_sizes(model, inputs[0], "shape")?;
        let value = model.add_const(format!("{prefix}.value"), self.value.clone())?;
        model.wire_node(prefix, MultiBroadcastTo::new(shape.into()), &[value])
    }
}
