//! ONNX `Softmax` (1 to 13) of floating-point tensors. Before opset 13 the axes from `axis` on count as one.

use super::{Wiring, axis_of, int, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::nn;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Softmax {
    axis: i64,
    to_the_end: bool,
}

impl Wiring for Softmax {
    const OPERATOR: &'static str = "Softmax";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(node, &["axis"])?;
        let to_the_end = opset < 13;
        Ok(Softmax { axis: int(node, "axis", if to_the_end { 1 } else { -1 }), to_the_end })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        let axis = axis_of(self.axis, rank)?;
        let axes = if self.to_the_end { (axis..rank).collect() } else { tvec!(axis) };
        model.wire_node(prefix, nn::Softmax { axes, ..nn::Softmax::default() }, inputs)
    }
}
