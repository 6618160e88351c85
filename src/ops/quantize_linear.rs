//! `QuantizeLinear`: ONNX `QuantizeLinear` (10 to 19), per tensor or per axis, to int8 or uint8.
//!
//! Inputs: `x` f32; `scale` f32, a scalar or `[x.shape[axis]]`; optionally `zero_point` of the output's type and `scale`'s
//! shape. Output: `saturate(round(x / scale) + zero_point)`, halves rounded to even.

use super::f32_slice;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizeLinear {
    /// Axis along which the scales vary, where they do.
    pub axis: usize,
    /// int8 or uint8.
    pub output: DatumType,
}

impl Op for QuantizeLinear {
    fn name(&self) -> StaticName {
        "QuantizeLinear".into()
    }

    op_as_typed_op!();
}

impl QuantizeLinear {
    fn quantize(&self, inputs: &[TValue], lowest: f32, highest: f32) -> TractResult<Vec<i32>> {
        let x = &inputs[0];
        let scales = f32_slice(&inputs[1])?;
        let zero_points = match inputs.get(2) {
            Some(zero_points) => zero_points.cast_to::<i32>()?.try_as_plain_ram()?.as_slice::<i32>()?.to_vec(),
            None => vec![0; scales.len()],
        };
        let inner = match scales.len() {
            1 => 1,
            len => {
                ensure!(x.shape().get(self.axis) == Some(&len), "{len} scales for axis {} of {x:?}", self.axis);
                x.shape()[self.axis + 1..].iter().product::<usize>()
            }
        };
        ensure!(zero_points.len() == scales.len(), "as many zero points as scales are needed");
        let quantized = f32_slice(x)?.iter().enumerate().map(|(position, value)| {
            let at = position / inner % scales.len();
            ((value / scales[at]).round_ties_even() + zero_points[at] as f32).clamp(lowest, highest) as i32
        });
        Ok(quantized.collect())
    }
}

impl EvalOp for QuantizeLinear {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        let output = if self.output == i8::datum_type() {
            let values = self.quantize(&inputs, -128.0, 127.0)?.into_iter().map(|value| value as i8);
            Tensor::from_shape(shape, &values.collect::<Vec<i8>>())?
        } else {
            let values = self.quantize(&inputs, 0.0, 255.0)?.into_iter().map(|value| value as u8);
            Tensor::from_shape(shape, &values.collect::<Vec<u8>>())?
        };
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for QuantizeLinear {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let floats = inputs[..2].iter().all(|input| input.datum_type == f32::datum_type());
        ensure!(floats, "QuantizeLinear takes float32 and float32 scales");
        ensure!(inputs[1].rank() <= 1, "QuantizeLinear with blocks is not supported");
        let same_type = inputs.get(2).is_none_or(|zero_point| zero_point.datum_type == self.output);
        ensure!(same_type, "the zero point of QuantizeLinear must have the output's type");
        Ok(tvec!(self.output.fact(inputs[0].shape.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{evaluate, tensor};
    use super::*;

    #[test]
    fn rounding_and_saturation() {
        struct Case {
            scale: &'static [f32],
            zero_point: Option<&'static [u8]>,
            expected: Option<&'static [u8]>,
        }
        // x = [[0.5, 1.5, 2.5], [-1, 300, 4]]; expected by the definition.
        let cases = [
            Case { scale: &[1.0], zero_point: None, expected: Some(&[0, 2, 2, 0, 255, 4]) },
            Case { scale: &[0.5], zero_point: Some(&[3]), expected: Some(&[4, 6, 8, 1, 255, 11]) },
            Case { scale: &[1.0, 2.0], zero_point: Some(&[0, 10]), expected: Some(&[0, 2, 2, 10, 160, 12]) },
            Case { scale: &[1.0, 2.0, 3.0], zero_point: None, expected: None },
        ];
        for case in cases {
            let mut inputs =
                vec![tensor(&[2, 3], &[0.5, 1.5, 2.5, -1., 300., 4.]), tensor(&[case.scale.len()], case.scale)];
            inputs.extend(case.zero_point.map(|zero| Tensor::from_shape(&[zero.len()], zero).unwrap()));
            let result = evaluate(&QuantizeLinear { axis: 0, output: u8::datum_type() }, &inputs);
            let result = result.ok().map(|tensor| tensor.as_bytes().to_vec());
            assert_eq!(result.as_deref(), case.expected, "{:?}", case.scale);
        }
    }
}
