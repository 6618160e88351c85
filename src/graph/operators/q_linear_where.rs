//! com.microsoft `QLinearWhere` (1): `condition`; `X` and `Y` both int8 or both uint8, their f32 scales and zero points, scale
//! and zero point of the output, with which both are quantised again. All broadcast.

use super::compose::Composer;
use super::quantized::{Quantized, dequantize, node, quantize};
use super::{Wiring, is_f32, only_attributes, unsupported, wire_node};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QLinearWhere {
    opset: i64,
}

impl Wiring for QLinearWhere {
    const OPERATOR: &'static str = "com.microsoft.QLinearWhere";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        ensure!(node.input.len() == 9 && !node.input.iter().any(String::is_empty), "all nine inputs are needed");
        Ok(QLinearWhere { opset })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [condition, x, x_scale, x_zero, y, y_scale, y_zero, scale, zero_point] = *inputs else {
            bail!("nine inputs are needed");
        };
        if !is_f32(model, &[x_scale, y_scale, scale])? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let mut operands = tvec!(condition);
        for (values, part_scale, part_zero) in [(x, x_scale, x_zero), (y, y_scale, y_zero)] {
            let quantized = Quantized { values, scale: part_scale, zero_point: Some(part_zero) };
            let values = dequantize(composer, quantized, 0)?;
            operands.push(quantize(composer, values, scale, Some(zero_point), x)?);
        }
        wire_node(&node("Where", 3, vec![]), self.opset, prefix, model, &operands)
    }
}
