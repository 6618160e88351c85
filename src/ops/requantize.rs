//! `Requantize`: sums of products of quantised operands as f32, or quantised again.
//!
//! Inputs: sums, int32; the scales of both operands, f32, one, and one or one for each index of `axis`; for a quantised
//! output its scale, f32, and zero point, an integer. Output: `sum · (alpha · left · right)`, f32; or
//! `saturate(round(sum · (alpha · left · right / scale)) + zero_point)`, halves rounded to even, as ONNX Runtime does it.

use super::f32_slice;
use super::mat_mul_integer::integers;
use super::plain::Plain;
use super::quantization::QuantizedType;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Requantize {
    /// Axis along which the right operand's scales vary, where they do.
    pub axis: usize,
    /// A further factor.
    pub alpha: f32,
    /// Type of the output; f32 without one.
    pub output: Option<QuantizedType>,
}

impl Plain for Requantize {
    const NAME: &'static str = "Requantize";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == i32::datum_type(), "Requantize takes int32, not {:?}", inputs[0].datum_type);
        let scales = inputs[1..].iter().take(3).take(if self.output.is_some() { 3 } else { 2 });
        ensure!(scales.clone().all(|scale| scale.datum_type == f32::datum_type()), "Requantize takes float32 scales");
        let datum_type = self.output.map_or(f32::datum_type(), QuantizedType::datum_type);
        Ok(tvec!(datum_type.fact(inputs[0].shape.clone())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let shape = inputs[0].shape();
        let (sums, left, right) = (integers(&inputs[0])?, f32_slice(&inputs[1])?, f32_slice(&inputs[2])?);
        ensure!(left.len() == 1, "the left operand has one scale");
        let along = right.len() == 1 || shape.get(self.axis) == Some(&right.len());
        ensure!(along, "{} scales for axis {} of {shape:?}", right.len(), self.axis);
        let mut scales: Vec<f32> = right.iter().map(|right| self.alpha * left[0] * right).collect();
        let inner: usize = shape.iter().skip(self.axis + 1).product();
        let scale = |scales: &[f32], position: usize| scales[position / inner.max(1) % scales.len()];
        let Some(output) = self.output else {
            let floats = sums.iter().enumerate().map(|(position, sum)| *sum as f32 * scale(&scales, position));
            return Ok(tvec!(Tensor::from_shape(shape, &floats.collect::<Vec<f32>>())?));
        };
        let (out_scale, zero_point) = (f32_slice(&inputs[3])?, integers(&inputs[4])?);
        ensure!(out_scale.len() == 1 && zero_point.len() == 1, "the output has one scale and one zero point");
        scales.iter_mut().for_each(|scale| *scale /= out_scale[0]);
        let (lowest, highest) = (output.lowest() - zero_point[0], output.highest() - zero_point[0]);
        let quantized = sums.iter().enumerate().map(|(position, sum)| {
            let scaled = (*sum as f32 * scale(&scales, position)).clamp(lowest as f32, highest as f32);
            scaled.round_ties_even() as i32 + zero_point[0]
        });
        Ok(tvec!(output.tensor(shape, quantized)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tensor;
    use super::*;

    #[test]
    fn scaled_rounded_and_saturated() {
        struct Case {
            right: &'static [f32],
            output: Option<QuantizedType>,
            expected: Option<&'static [f32]>,
        }
        // sums = [[1, 3], [-5, 1000]]; left scale 0.5, output scale 2, zero point 3; by hand.
        let cases = [
            Case { right: &[2.0], output: None, expected: Some(&[1.0, 3.0, -5.0, 1000.0]) },
            Case { right: &[2.0, 4.0], output: None, expected: Some(&[1.0, 6.0, -5.0, 2000.0]) },
            Case { right: &[2.0], output: Some(QuantizedType::UINT8), expected: Some(&[3.0, 5.0, 1.0, 255.0]) },
            Case { right: &[2.0], output: Some(QuantizedType::INT8), expected: Some(&[3.0, 5.0, 1.0, 127.0]) },
            Case { right: &[2.0, 4.0, 1.0], output: None, expected: None },
        ];
        for case in cases {
            let sums = Tensor::from_shape(&[2, 2], &[1, 3, -5, 1000]).unwrap();
            let inputs = [sums, tensor0(0.5f32), tensor(&[case.right.len()], case.right), tensor0(2f32), tensor0(3u8)];
            let operator = Requantize { axis: 1, alpha: 1.0, output: case.output };
            let result = operator.compute(&inputs.map(IntoTValue::into_tvalue)).ok();
            let result = result.map(|outputs| outputs[0].cast_to::<f32>().unwrap().into_owned());
            assert_eq!(result, case.expected.map(|expected| tensor(&[2, 2], expected)));
        }
    }
}
