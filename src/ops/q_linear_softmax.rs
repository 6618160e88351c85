//! `QLinearSoftmax`: com.microsoft `QLinearSoftmax` (1) over the last axis, by ONNX Runtime's table of exponentials.
//!
//! Inputs: `x` int8 or uint8; its f32 scale; scale and integer zero point of the output. Output: of `x`'s type and shape.

use super::f32_slice;
use super::plain::Plain;
use super::quantization::{QuantizedType, to_f32};
use crate::kernels::steps::QuantizedSoftmax;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QLinearSoftmax;

impl Plain for QLinearSoftmax {
    const NAME: &'static str = "QLinearSoftmax";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        ensure!([i8::datum_type(), u8::datum_type()].contains(&datum_type), "int8 or uint8, not {datum_type:?}");
        ensure!(inputs[0].rank() > 0, "QLinearSoftmax of a scalar");
        Ok(tvec!(datum_type.fact(inputs[0].shape.clone())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let shape = inputs[0].shape();
        let output = QuantizedType::of(inputs[0].datum_type()).context("x is int8 or uint8")?;
        let (mut x, scale, out_scale) = (to_f32(&inputs[0])?, f32_slice(&inputs[1])?, f32_slice(&inputs[2])?);
        let zero_point = to_f32(&inputs[3])?;
        let scalars = scale.len() == 1 && out_scale.len() == 1 && zero_point.len() == 1;
        ensure!(scalars, "scales and zero points have one element");
        let softmax = QuantizedSoftmax {
            scale: scale[0],
            out_scale: out_scale[0],
            zero_point: zero_point[0],
            highest: output.highest() as f32,
        };
        let len = shape.last().copied().unwrap_or(1).max(1);
        let table = softmax.table(len);
        x.chunks_mut(len).for_each(|row| softmax.apply(&table, row));
        let quantized = x.into_iter().map(|value| value as i32);
        Ok(tvec!(output.tensor(shape, quantized)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_probabilities() {
        // From ONNX Runtime 1.32.
        let run = |x: Tensor, zero_point: Tensor| {
            let inputs = [x, tensor0(0.05f32), tensor0(1.0f32 / 256.0), zero_point];
            QLinearSoftmax.compute(&inputs.map(IntoTValue::into_tvalue)).unwrap().remove(0)
        };
        let unsigned = Tensor::from_shape(&[2, 3], &[10u8, 20, 30, 255, 0, 0]).unwrap();
        let signed = Tensor::from_shape(&[2, 3], &[10i8, 20, 30, 127, -128, -128]).unwrap();
        let empty = Tensor::zero::<u8>(&[0, 3]).unwrap();
        assert_eq!(run(unsigned, tensor0(0u8)), Tensor::from_shape(&[2, 3], &[48u8, 79, 130, 255, 0, 0]).unwrap());
        assert_eq!(
            run(signed, tensor0(-128i8)),
            Tensor::from_shape(&[2, 3], &[-80i8, -49, 2, 127, -128, -128]).unwrap()
        );
        assert_eq!(run(empty.clone(), tensor0(0u8)), empty);
    }
}
