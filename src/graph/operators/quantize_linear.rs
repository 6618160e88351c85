//! ONNX `QuantizeLinear` (10 to 21) from f32 to int8 or uint8, per tensor or per axis; blocks and other types are refused.

use super::{Wiring, int, is_f32, unsupported};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QuantizeLinear {
    axis: i64,
}

impl Wiring for QuantizeLinear {
    const OPERATOR: &'static str = "QuantizeLinear";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["axis", "saturate", "block_size", "output_dtype"])?;
        if int(node, "block_size", 0) != 0 || int(node, "output_dtype", 0) != 0 {
            return Err(unsupported("blocked scales and a chosen output type are not supported"));
        }
        Ok(QuantizeLinear { axis: int(node, "axis", 1) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let output = match inputs.get(2) {
            Some(zero_point) => model.outlet_fact(*zero_point)?.datum_type,
            None => u8::datum_type(),
        };
        if !is_f32(model, &inputs[..2])? || ![i8::datum_type(), u8::datum_type()].contains(&output) {
            return Err(unsupported("only float32 to int8 or uint8 is supported"));
        }
        let axis = super::scale_axis(model, inputs, self.axis)?;
        model.wire_node(prefix, crate::ops::QuantizeLinear { axis, output }, inputs).map(Some)
    }
}
