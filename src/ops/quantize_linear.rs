//! `QuantizeLinear`: ONNX `QuantizeLinear` (10 to 28) to integers of 2 to 16 bits, per tensor, per axis or in blocks.
//!
//! Inputs: `x` f32; `scale` f32, of one element, `[x.shape[axis]]`, or of `x`'s shape with `axis` cut into blocks;
//! optionally `zero_point` of integers, of `scale`'s shape. Output: `saturate(round(x / scale) + zero_point)`, halves
//! rounded to even; 4 and 2 bits are held as int8 and uint8.

use super::f32_slice;
use super::quantization::{QuantizedType, runs, to_f32};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QuantizeLinear {
    /// Axis along which the scales vary, where they do.
    pub axis: usize,
    /// Elements along `axis` that share a scale; 0 where scales are not given in blocks.
    pub block_size: usize,
    /// Type of the output.
    pub output: QuantizedType,
}

impl Op for QuantizeLinear {
    fn name(&self) -> StaticName {
        "QuantizeLinear".into()
    }

    op_as_typed_op!();
}

impl EvalOp for QuantizeLinear {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, scales) = (f32_slice(&inputs[0])?, f32_slice(&inputs[1])?);
        let zero_points = match inputs.get(2) {
            Some(zero_points) => to_f32(zero_points)?,
            None => vec![0.0; scales.len()],
        };
        ensure!(zero_points.len() == scales.len(), "as many zero points as scales are needed");
        let (lowest, highest) = (self.output.lowest() as f32, self.output.highest() as f32);
        let mut quantized = vec![0; x.len()];
        for run in runs(inputs[0].shape(), self.axis, self.block_size, inputs[1].shape())? {
            let (x, quantized) = (&x[run.elements.clone()], &mut quantized[run.elements.clone()]);
            for (index, (x, quantized)) in x.iter().zip(quantized).enumerate() {
                let scale = run.scale(index);
                let rounded = (x / scales[scale]).round_ties_even() + zero_points[scale];
                *quantized = rounded.clamp(lowest, highest) as i32;
            }
        }
        Ok(tvec!(self.output.tensor(inputs[0].shape(), quantized.into_iter())?.into_tvalue()))
    }
}

impl TypedOp for QuantizeLinear {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let floats = inputs[..2].iter().all(|input| input.datum_type == f32::datum_type());
        ensure!(floats, "QuantizeLinear takes float32 and float32 scales");
        let datum_type = self.output.datum_type();
        let same_type = inputs.get(2).is_none_or(|zero_point| zero_point.datum_type == datum_type);
        ensure!(same_type, "the zero point of QuantizeLinear must have the output's type");
        Ok(tvec!(datum_type.fact(inputs[0].shape.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{evaluate, tensor};
    use super::*;

    #[test]
    fn rounding_and_saturation() {
        struct Case {
            block_size: usize,
            scale: (&'static [usize], &'static [f32]),
            zero_point: Option<&'static [u8]>,
            output: QuantizedType,
            expected: Option<&'static [u8]>,
        }
        const UINT4: QuantizedType = QuantizedType { bits: 4, signed: false };
        let case = |scale, zero_point, expected| Case {
            block_size: 0,
            scale,
            zero_point,
            output: QuantizedType::UINT8,
            expected,
        };
        // x = [[0.5, 1.5, 2.5], [-1, 300, 4]]; expected by the definition.
        let cases = [
            case((&[], &[1.0]), None, Some(&[0, 2, 2, 0, 255, 4])),
            case((&[1], &[0.5]), Some(&[3]), Some(&[4, 6, 8, 1, 255, 11])),
            case((&[2], &[1.0, 2.0]), Some(&[0, 10]), Some(&[0, 2, 2, 10, 160, 12])),
            case((&[3], &[1.0, 2.0, 3.0]), None, None),
            case((&[2], &[1.0, 2.0]), Some(&[0]), None),
            Case { output: UINT4, ..case((&[], &[1.0]), None, Some(&[0, 2, 2, 0, 15, 4])) },
            Case { block_size: 2, ..case((&[1, 3], &[1.0, 2.0, 0.5]), None, Some(&[0, 1, 5, 0, 150, 8])) },
        ];
        for case in cases {
            let mut inputs = vec![tensor(&[2, 3], &[0.5, 1.5, 2.5, -1., 300., 4.]), tensor(case.scale.0, case.scale.1)];
            inputs.extend(case.zero_point.map(|zero| Tensor::from_shape(&[zero.len()], zero).unwrap()));
            let operator = QuantizeLinear { axis: 0, block_size: case.block_size, output: case.output };
            let result = evaluate(&operator, &inputs).ok().map(|tensor| tensor.as_bytes().to_vec());
            assert_eq!(result.as_deref(), case.expected, "{:?}", case.scale);
        }
    }
}
