//! com.microsoft `MatMulIntegerToFloat` (1): `A` and `B` int8 or uint8, f32 scales, of `A` one, of `B` one or one for each
//! column; optional zero points likewise; optional f32 bias. Output: f32, `(A · B) · a_scale · b_scale + bias`.

use super::compose::Composer;
use super::quantized::{integer_product, last_axis, scaled};
use super::{Wiring, input, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MatMulIntegerToFloat {
    zero_points: [Option<usize>; 2],
    bias: Option<usize>,
}

impl Wiring for MatMulIntegerToFloat {
    const OPERATOR: &'static str = "com.microsoft.MatMulIntegerToFloat";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(MatMulIntegerToFloat { zero_points: [input(node, 4), input(node, 5)], bias: input(node, 6) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[2..4])? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let zero_points = self.zero_points.map(|position| position.map(|at| inputs[at]));
        let sums = integer_product(composer, [inputs[0], inputs[1]], zero_points)?;
        let axis = last_axis(composer, sums)?;
        let mut output = scaled(composer, sums, [inputs[2], inputs[3]], axis)?;
        if let Some(bias) = self.bias {
            output = composer.binary(add(), output, inputs[bias])?;
        }
        Ok(tvec!(output))
    }
}
