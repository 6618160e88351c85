//! `QLinearBinary`: com.microsoft `QLinearAdd` and `QLinearMul` (1).
//!
//! Inputs: `a` int8 or uint8, its f32 scale and integer zero point; `b` of the same type, its scale and zero point; scale
//! and zero point of the output. `a` and `b` broadcast. Output: of their type,
//! `saturate(round((a - a_zero) · a_scale ∘ (b - b_zero) · b_scale) / scale) + zero_point)`, in the order of operations in
//! which ONNX Runtime rounds.

use super::f32_slice;
use super::plain::Plain;
use super::quantization::{QuantizedType, to_f32};
use tract_core::broadcast::multi_broadcast;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum QLinearBinary {
    /// `QLinearAdd`.
    Add,
    /// `QLinearMul`.
    Mul,
}

/// Scales and zero points of both operands and the output.
struct Parameters {
    scales: [f32; 3],
    zero_points: [f32; 3],
}

impl QLinearBinary {
    fn apply(self, a: f32, b: f32, parameters: &Parameters) -> f32 {
        let Parameters { scales: [a_scale, b_scale, scale], zero_points: [a_zero, b_zero, zero] } = *parameters;
        match self {
            QLinearBinary::Add => {
                let (a_ratio, b_ratio) = (a_scale / scale, b_scale / scale);
                let fixed = zero - (a_ratio * a_zero + b_ratio * b_zero);
                fixed + a * a_ratio + b * b_ratio
            }
            QLinearBinary::Mul => (a - a_zero) * (b - b_zero) * (a_scale * b_scale / scale) + zero,
        }
    }
}

impl Plain for QLinearBinary {
    const NAME: &'static str = "QLinearBinary";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        let fits = [i8::datum_type(), u8::datum_type()].contains(&datum_type) && inputs[3].datum_type == datum_type;
        ensure!(fits, "two of int8 or two of uint8, not {datum_type:?} and {:?}", inputs[3].datum_type);
        Ok(tvec!(datum_type.fact(multi_broadcast(&[&*inputs[0].shape, &*inputs[3].shape])?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let output = QuantizedType::of(inputs[0].datum_type()).context("a is int8 or uint8")?;
        let scalar = |values: &[f32]| match values {
            [one] => Ok(*one),
            _ => bail!("a scale or zero point has {} elements instead of one", values.len()),
        };
        let scale = |position: usize| scalar(f32_slice(&inputs[position])?);
        let zero_point = |position: usize| scalar(&to_f32(&inputs[position])?);
        let parameters = Parameters {
            scales: [scale(1)?, scale(4)?, scale(6)?],
            zero_points: [zero_point(2)?, zero_point(5)?, zero_point(7)?],
        };
        let shape = multi_broadcast(&[inputs[0].shape(), inputs[3].shape()])?;
        let operand = |tensor: &TValue| tensor.cast_to::<f32>()?.broadcast_to_shape(&shape);
        let (a, b) = (operand(&inputs[0])?, operand(&inputs[3])?);
        let (lowest, highest) = (output.lowest() as f32, output.highest() as f32);
        let results = f32_slice(&a)?
            .iter()
            .zip(f32_slice(&b)?)
            .map(|(a, b)| self.apply(*a, *b, &parameters).round_ties_even().clamp(lowest, highest) as i32);
        Ok(tvec!(output.tensor(&shape, results)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_products() {
        // a = [10, 20], b = 30; scales 0.5, 2 and 1; zero points 4, 5 and 6; by hand.
        for (operator, expected) in [(QLinearBinary::Add, [59u8, 64]), (QLinearBinary::Mul, [156, 255])] {
            let (a, b) = (tensor1(&[10u8, 20]), tensor0(30u8));
            let inputs =
                [a, tensor0(0.5f32), tensor0(4u8), b, tensor0(2f32), tensor0(5u8), tensor0(1f32), tensor0(6u8)];
            let outputs = operator.compute(&inputs.map(IntoTValue::into_tvalue)).unwrap();
            assert_eq!(outputs[0], tensor1(&expected), "{operator:?}");
        }
    }
}
