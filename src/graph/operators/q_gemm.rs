//! com.microsoft `QGemm` (1): matrices `A` and `B` int8 or uint8, of which `transA` and `transB` swap the axes; f32 scales and
//! zero points, of `A` one, of `B` one or one for each column; optional int32 `C`, which is added to the sums and broadcasts;
//! optional scale and zero point of the output. Output: of the type of that zero point, or f32 without one. `alpha` is a
//! further factor of the product, and of `C`.

use super::compose::Composer;
use super::quantized::{integer_product, quantized_type};
use super::{Wiring, float, input, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::Requantize;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QGemm {
    alpha: f32,
    transposed: [bool; 2],
    bias: Option<usize>,
    output: Option<[usize; 2]>,
}

impl Wiring for QGemm {
    const OPERATOR: &'static str = "com.microsoft.QGemm";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha", "transA", "transB"])?;
        ensure!((0..6).all(|position| input(node, position).is_some()), "the first six inputs are needed");
        let output = match (input(node, 7), input(node, 8)) {
            (Some(scale), Some(zero_point)) => Some([scale, zero_point]),
            (None, None) => None,
            _ => return Err(unsupported("a scale of the output without its zero point is not supported")),
        };
        Ok(QGemm {
            alpha: float(node, "alpha").unwrap_or(1.0),
            transposed: [int(node, "transA", 0) != 0, int(node, "transB", 0) != 0],
            bias: input(node, 6),
            output,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &[inputs[1], inputs[4]])? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let mut operands = [inputs[0], inputs[3]];
        for (operand, transposed) in operands.iter_mut().zip(self.transposed) {
            ensure!(composer.fact(*operand)?.rank() == 2, "QGemm takes matrices");
            if transposed {
                *operand = composer.wire(AxisOp::Move(0, 1), &[*operand])?;
            }
        }
        let mut sums = integer_product(composer, operands, [Some(inputs[2]), Some(inputs[5])])?;
        if let Some(bias) = self.bias {
            sums = composer.binary(add(), sums, inputs[bias])?;
        }
        let mut inputs_of_output = tvec!(sums, inputs[1], inputs[4]);
        let mut output = None;
        if let Some([scale, zero_point]) = self.output {
            inputs_of_output.extend([inputs[scale], inputs[zero_point]]);
            output = Some(quantized_type(composer, inputs[zero_point])?);
        }
        let operator = Requantize { axis: 1, alpha: self.alpha, output };
        Ok(tvec!(composer.wire(PlainOperator(operator), &inputs_of_output)?))
    }
}
