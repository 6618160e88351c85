//! ONNX `QLinearMatMul` (10 to 21): `a` and `b` int8 or uint8 of any rank; f32 scales and zero points, of `a` and the output
//! one, of `b` one or one for each column. Output: of the type of its zero point.

use super::compose::Composer;
use super::quantized::{integer_product, last_axis, quantized_type};
use super::{Wiring, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::Requantize;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QLinearMatMul;

impl Wiring for QLinearMatMul {
    const OPERATOR: &'static str = "QLinearMatMul";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        ensure!(node.input.len() == 8 && node.input.iter().all(|name| !name.is_empty()), "all inputs are needed");
        Ok(QLinearMatMul)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [a, a_scale, a_zero_point, b, b_scale, b_zero_point, scale, zero_point] = inputs else {
            bail!("eight inputs are needed");
        };
        if !is_f32(model, &[*a_scale, *b_scale, *scale])? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let sums = integer_product(composer, [*a, *b], [Some(*a_zero_point), Some(*b_zero_point)])?;
        let output = Some(quantized_type(composer, *zero_point)?);
        let operator = Requantize { axis: last_axis(composer, sums)?, alpha: 1.0, output };
        let inputs = [sums, *a_scale, *b_scale, *scale, *zero_point];
        Ok(tvec!(composer.wire(PlainOperator(operator), &inputs)?))
    }
}
