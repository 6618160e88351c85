//! `QuantizedLinear`: a product of 8-bit activations, quantised at run time, with constant 8-bit weights. It is what exporters
//! write as ONNX `MatMulInteger`, `Cast`, `Mul` and `Add`, and its integers are exact.
//!
//! Inputs: `x` uint8 or int8 `[..., inputs]`; its scale, f32 of one element; its zero point, of `x`'s type, of one element.
//! Output: f32 `[..., outputs]` = `f32(Σ (x - zero_point) · (w - its zero points)) · (scale · scales) + bias`.

use super::{Shared, f32_slice, f32_tensor, rows};
use crate::kernels::integer_linear::{IntegerWeights, integer_linear};
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizedLinear {
    /// `[inputs, outputs]`, packed for the kernel.
    pub weights: Shared<IntegerWeights>,
    /// One, or `[outputs]`.
    pub scales: Shared<Vec<f32>>,
    /// `[outputs]`.
    pub bias: Option<Shared<Vec<f32>>>,
}

impl Op for QuantizedLinear {
    fn name(&self) -> StaticName {
        "QuantizedLinear".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let mut info = vec![format!("{} x {} int8", self.weights.inputs(), self.weights.outputs())];
        info.extend(self.bias.is_some().then(|| "bias".to_string()));
        Ok(info)
    }

    op_as_typed_op!();
}

/// The elements of a tensor of 8-bit integers.
fn integers(tensor: &Tensor) -> TractResult<Vec<i16>> {
    let view = tensor.try_as_plain_ram()?;
    if tensor.datum_type() == i8::datum_type() {
        return Ok(view.as_slice::<i8>()?.iter().map(|element| i16::from(*element)).collect());
    }
    Ok(view.as_slice::<u8>()?.iter().map(|element| i16::from(*element)).collect())
}

impl EvalOp for QuantizedLinear {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut shape: TVec<usize> = inputs[0].shape().into();
        let (rows, outputs) = (rows(&shape), self.weights.outputs());
        let last = shape.last_mut().context("QuantizedLinear of a scalar")?;
        ensure!(*last == self.weights.inputs(), "QuantizedLinear takes {} columns, not {last}", self.weights.inputs());
        *last = outputs;
        let (&[scale], &[zero_point]) = (f32_slice(&inputs[1])?, &*integers(&inputs[2])?) else {
            bail!("QuantizedLinear takes one scale and one zero point");
        };
        let mut sums = vec![0; rows * outputs];
        integer_linear(&integers(&inputs[0])?, zero_point, rows, &self.weights, &mut sums);
        let scales: Vec<f32> = self.scales.iter().map(|own| scale * own).collect();
        let output = f32_tensor(&shape, |out| {
            for (at, (out, sum)) in out.iter_mut().zip(&sums).enumerate() {
                let column = at % outputs;
                *out = *sum as f32 * scales[column % scales.len()];
                if let Some(bias) = &self.bias {
                    *out += bias[column];
                }
            }
            Ok(())
        })?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for QuantizedLinear {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let &[x, scale, zero_point] = inputs else { bail!("QuantizedLinear takes 3 inputs, not {}", inputs.len()) };
        let bytes = [u8::datum_type(), i8::datum_type()].contains(&x.datum_type);
        ensure!(bytes && x.rank() > 0, "QuantizedLinear takes 8-bit integers of rank 1 or more");
        ensure!(
            scale.datum_type == f32::datum_type() && zero_point.datum_type == x.datum_type,
            "QuantizedLinear takes a float32 scale, and a zero point of the type of its first input"
        );
        let mut shape: TVec<TDim> = x.shape.to_tvec();
        let last = shape.len() - 1;
        let expected = self.weights.inputs().to_dim();
        ensure!(
            shape[last].compatible_with(&expected),
            "QuantizedLinear takes {expected} columns, not {}",
            shape[last]
        );
        shape[last] = self.weights.outputs().to_dim();
        Ok(tvec!(f32::fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn scales_and_bias() {
        struct Case {
            scales: Vec<f32>,
            bias: Option<Vec<f32>>,
            x: Tensor,
            zero_point: Tensor,
            expected: Option<&'static [f32]>,
        }
        // w - zero point = [[1, -2], [3, 4]]; (x - zero point) = [[-1, 2]]; sums = [[5, 10]]; the scale of x is 0.5.
        let unsigned = || Tensor::from_shape(&[1, 1, 2], &[127u8, 130]).unwrap();
        let signed = || Tensor::from_shape(&[1, 1, 2], &[-3i8, 0]).unwrap();
        let zero_point = || tensor0(128u8);
        let cases = [
            Case { scales: vec![2.0], bias: None, x: unsigned(), zero_point: zero_point(), expected: Some(&[5., 10.]) },
            Case {
                scales: vec![2.0, 0.2],
                bias: Some(vec![1.0, -1.0]),
                x: signed(),
                zero_point: tensor0(-2i8),
                expected: Some(&[6., 0.]),
            },
            Case {
                scales: vec![2.0],
                bias: None,
                x: unsigned(),
                zero_point: Tensor::from_shape(&[2], &[128u8, 128]).unwrap(),
                expected: None,
            },
        ];
        for (number, case) in cases.into_iter().enumerate() {
            let operator = QuantizedLinear {
                weights: Shared::new(IntegerWeights::new(&[2, -1, 4, 5], 2, 2, &[1]).unwrap()),
                scales: Shared::new(case.scales),
                bias: case.bias.map(Shared::new),
            };
            match (evaluate(&operator, &[case.x, tensor(&[], &[0.5]), case.zero_point]), case.expected) {
                (Ok(output), Some(expected)) => assert_close("quantised", &output, &[1, 1, 2], expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "case {number}"),
            }
        }
    }
}
