//! `DynamicQuantizeLinear`: ONNX `DynamicQuantizeLinear` (11).
//!
//! Input: f32 of any shape. Outputs: uint8 of that shape, its f32 scale and its uint8 zero point, scalars, such that the
//! least element, or 0, becomes 0 and the greatest, or 0, becomes 255.

use super::f32_slice;
use super::plain::Plain;
use super::spare::written;
use crate::kernels::quantize::{Quantization, dynamic_quantize};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DynamicQuantizeLinear;

impl Plain for DynamicQuantizeLinear {
    const NAME: &'static str = "DynamicQuantizeLinear";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == f32::datum_type(), "DynamicQuantizeLinear takes float32, not {:?}", inputs[0]);
        let scalar: [usize; 0] = [];
        Ok(tvec!(u8::fact(inputs[0].shape.clone()), f32::fact(scalar), u8::fact(scalar)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = f32_slice(&inputs[0])?;
        let mut quantization = None;
        let quantized = written(inputs[0].shape(), |out| {
            quantization = Some(dynamic_quantize(x, out));
            Ok(())
        })?;
        let Quantization { scale, zero_point } = quantization.context("an output is written")?;
        Ok(tvec!(quantized.into_tensor(), tensor0(scale), tensor0(zero_point)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tensor;
    use super::*;

    #[test]
    fn ranges() {
        // From ONNX Runtime 1.32.
        let cases: [(&[f32], &[u8], f32, u8); 4] = [
            (&[0., 2., -3., -2.5, 1.34, 0.5], &[153, 255, 0, 26, 221, 179], 0.019607844, 153),
            (&[1., 2.1, 1.3, 2.5], &[102, 214, 133, 255], 0.009803922, 0),
            (&[0., 0.], &[0, 0], 1.0, 0),
            (&[], &[], 1.0, 0),
        ];
        for (x, quantized, scale, zero_point) in cases {
            let outputs = DynamicQuantizeLinear.compute(&[tensor(&[x.len()], x).into_tvalue()]).unwrap();
            assert_eq!(outputs[0], Tensor::from_shape(&[x.len()], quantized).unwrap());
            assert_eq!((&outputs[1], &outputs[2]), (&tensor0(scale), &tensor0(zero_point)));
        }
    }
}
