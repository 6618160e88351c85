//! ONNX `DequantizeLinear` (10 to 21) to f32, per tensor or per axis; blocks and other types are refused.

use super::{Wiring, int, is_f32, unsupported};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct DequantizeLinear {
    axis: i64,
}

impl Wiring for DequantizeLinear {
    const OPERATOR: &'static str = "DequantizeLinear";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["axis", "block_size", "output_dtype"])?;
        if int(node, "block_size", 0) != 0 {
            return Err(unsupported("blocked scales are not supported"));
        }
        if !matches!(int(node, "output_dtype", 0), 0 | 1) {
            return Err(unsupported("only float32 as output type is supported"));
        }
        Ok(DequantizeLinear { axis: int(node, "axis", 1) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        if !is_f32(model, &inputs[1..2])? {
            return Err(unsupported("only float32 scales are supported"));
        }
        let axis = super::scale_axis(model, inputs, self.axis)?;
        model.wire_node(prefix, crate::ops::DequantizeLinear { axis }, inputs).map(Some)
    }
}
