//! `RmsNorm`: ONNX `RMSNormalization` (23) over the last axis.
//!
//! Input: f32 `[..., width]`. Output: f32 of the same shape.

use super::spare::written;
use super::{Shared, f32_slice};
use crate::kernels::norm::rms_norm;
use tract_core::internal::*;

/// `x / sqrt(mean(x²) + epsilon) * gamma`.
#[derive(Debug, Clone, PartialEq)]
pub struct RmsNorm {
    /// Scale, `[width]`.
    pub gamma: Shared<Vec<f32>>,
    /// Added to the mean square.
    pub epsilon: f32,
}

impl Eq for RmsNorm {}

impl Op for RmsNorm {
    fn name(&self) -> StaticName {
        "RmsNorm".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("width {}, epsilon {:e}", self.gamma.len(), self.epsilon)])
    }

    op_as_typed_op!();
}

impl EvalOp for RmsNorm {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (shape, width) = (inputs[0].shape(), self.gamma.len());
        ensure!(shape.last() == Some(&width), "RmsNorm takes rows of {width}, not a tensor of shape {shape:?}");
        let output = written(shape, |out| {
            rms_norm(f32_slice(&inputs[0])?, width, &self.gamma, self.epsilon, out);
            Ok(())
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for RmsNorm {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let width = inputs[0].shape.last().context("RmsNorm of a scalar")?;
        let fits = inputs[0].datum_type == f32::datum_type() && width.compatible_with(&self.gamma.len().to_dim());
        ensure!(fits, "RmsNorm takes float32 of width {}, not {:?}", self.gamma.len(), inputs[0]);
        Ok(tvec!(inputs[0].without_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn rows_are_scaled() {
        struct Case {
            shape: &'static [usize],
            x: &'static [f32],
            expected: Option<&'static [f32]>,
        }
        // Mean squares 25 and 1.
        let cases = [
            Case { shape: &[2, 2], x: &[1., 7., -1., 1.], expected: Some(&[0.2, 2.8, -1., 2.]) },
            Case { shape: &[0, 2], x: &[], expected: Some(&[]) },
            Case { shape: &[1, 3], x: &[1., 2., 3.], expected: None },
        ];
        let operator = RmsNorm { gamma: Shared::new(vec![1., 2.]), epsilon: 0. };
        for case in cases {
            match (evaluate(&operator, &[tensor(case.shape, case.x)]), case.expected) {
                (Ok(output), Some(expected)) => assert_close("rms norm", &output, case.shape, expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{:?}", case.shape),
            }
        }
    }
}
