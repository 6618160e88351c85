//! ONNX `OneHot` (9 to 28).
//!
//! Inputs: `indices` of any number type; `depth` constant, one element; `values`, two elements of any type. Attribute: `axis`.

use super::{Wiring, arguments, int, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct OneHot {
    axis: i64,
}

impl Wiring for OneHot {
    const OPERATOR: &'static str = "OneHot";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis"])?;
        Ok(OneHot { axis: int(node, "axis", -1) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let depth = arguments::constant_ints(model, inputs[1], "depth")?;
        ensure!(depth.len() == 1 && depth[0] >= 0, "depth {depth:?}");
        let axis = arguments::axis(self.axis, model.outlet_fact(inputs[0])?.rank() + 1)?;
        let operator = crate::ops::OneHot { axis, depth: depth[0] as usize };
        model.wire_node(prefix, operator, &[inputs[0], inputs[2]])
    }
}
