//! `DequantizeLinear`: ONNX `DequantizeLinear` (10 to 19), per tensor or per axis, to f32.
//!
//! Inputs: `x` int8, uint8 or int32; `scale` f32, a scalar or `[x.shape[axis]]`; optionally `zero_point` of `x`'s type and
//! `scale`'s shape. Output: f32 of `x`'s shape, `(x - zero_point) * scale`.

use super::{f32_slice, f32_tensor};
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DequantizeLinear {
    /// Axis along which the scales vary, where they do.
    pub axis: usize,
}

/// Folding a larger constant than this would throw its compact form away, and with it what the fused operators want.
const FOLDED: usize = 4096;

impl Op for DequantizeLinear {
    fn name(&self) -> StaticName {
        "DequantizeLinear".into()
    }

    op_as_typed_op!();
}

impl DequantizeLinear {
    fn dequantize(&self, inputs: &[TValue]) -> TractResult<Tensor> {
        let x = &inputs[0];
        let quantized = x.cast_to::<i32>()?;
        let quantized = quantized.try_as_plain_ram()?.as_slice::<i32>()?;
        let scales = f32_slice(&inputs[1])?;
        let zero_points = inputs.get(2).map(|zero| zero.cast_to::<i32>()).transpose()?;
        let zero_points = zero_points.as_ref().map(|zero| zero.try_as_plain_ram()?.as_slice::<i32>()).transpose()?;
        let (inner, axis_len) = match scales.len() {
            1 => (1, 1),
            len => {
                ensure!(x.shape().get(self.axis) == Some(&len), "{len} scales for axis {} of {x:?}", self.axis);
                (x.shape()[self.axis + 1..].iter().product::<usize>(), len)
            }
        };
        if let Some(zero_points) = zero_points {
            ensure!(zero_points.len() == scales.len(), "as many zero points as scales are needed");
        }
        f32_tensor(x.shape(), |out| {
            for (position, (out, value)) in out.iter_mut().zip(quantized).enumerate() {
                let at = position / inner % axis_len;
                let zero_point = zero_points.map_or(0, |zero_points| zero_points[at]);
                *out = (value - zero_point) as f32 * scales[at];
            }
            Ok(())
        })
    }
}

impl EvalOp for DequantizeLinear {
    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        if inputs[0].volume() > FOLDED {
            return Ok(None);
        }
        Ok(Some(tvec!(self.dequantize(&inputs)?.into_tvalue())))
    }

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(tvec!(self.dequantize(&inputs)?.into_tvalue()))
    }
}

impl TypedOp for DequantizeLinear {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let supported = [i8::datum_type(), u8::datum_type(), i32::datum_type()].contains(&inputs[0].datum_type);
        ensure!(supported, "DequantizeLinear takes int8, uint8 or int32, not {:?}", inputs[0].datum_type);
        ensure!(inputs[1].datum_type == f32::datum_type(), "DequantizeLinear takes float32 scales");
        ensure!(inputs[1].rank() <= 1, "DequantizeLinear with blocks is not supported");
        Ok(tvec!(f32::fact(inputs[0].shape.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn per_tensor_and_per_axis() {
        struct Case {
            axis: usize,
            scale: (&'static [usize], &'static [f32]),
            zero_point: Option<&'static [u8]>,
            expected: Option<&'static [f32]>,
        }
        // x = [[0, 1, 2], [3, 4, 255]]; expected by (x - zero_point) * scale.
        let cases = [
            Case { axis: 0, scale: (&[], &[0.5]), zero_point: None, expected: Some(&[0., 0.5, 1., 1.5, 2., 127.5]) },
            Case {
                axis: 0,
                scale: (&[2], &[1., 2.]),
                zero_point: Some(&[1, 3]),
                expected: Some(&[-1., 0., 1., 0., 2., 504.]),
            },
            Case {
                axis: 1,
                scale: (&[3], &[1., 2., 3.]),
                zero_point: None,
                expected: Some(&[0., 2., 6., 3., 8., 765.]),
            },
            Case { axis: 1, scale: (&[2], &[1., 2.]), zero_point: None, expected: None },
            Case { axis: 0, scale: (&[2], &[1., 2.]), zero_point: Some(&[1]), expected: None },
        ];
        for case in cases {
            let x = Tensor::from_shape(&[2, 3], &[0u8, 1, 2, 3, 4, 255]).unwrap();
            let mut inputs = vec![x, tensor(case.scale.0, case.scale.1)];
            inputs.extend(case.zero_point.map(|zero| Tensor::from_shape(&[zero.len()], zero).unwrap()));
            let result = evaluate(&DequantizeLinear { axis: case.axis }, &inputs);
            match (result, case.expected) {
                (Ok(output), Some(expected)) => assert_close("dequantized", &output, &[2, 3], expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{:?}", case.scale),
            }
        }
    }
}
