//! `LayerNorm`: ONNX `LayerNormalization` (17) over the last axis.
//!
//! Input: f32 `[..., width]`. Output: f32 of the same shape.

use super::spare::written;
use super::{Shared, f32_slice};
use crate::kernels::norm::layer_norm;
use tract_core::internal::*;

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, with the biased variance.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    /// Scale, `[width]`.
    pub gamma: Shared<Vec<f32>>,
    /// Offset, `[width]`.
    pub beta: Option<Shared<Vec<f32>>>,
    /// Added to the variance.
    pub epsilon: f32,
}

impl Eq for LayerNorm {}

impl Op for LayerNorm {
    fn name(&self) -> StaticName {
        "LayerNorm".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("width {}, epsilon {:e}", self.gamma.len(), self.epsilon)])
    }

    op_as_typed_op!();
}

impl EvalOp for LayerNorm {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (shape, width) = (inputs[0].shape(), self.gamma.len());
        ensure!(shape.last() == Some(&width), "LayerNorm takes rows of {width}, not a tensor of shape {shape:?}");
        let beta = self.beta.as_ref().map(|beta| beta.as_slice());
        let output = written(shape, |out| {
            layer_norm(f32_slice(&inputs[0])?, width, &self.gamma, beta, self.epsilon, out);
            Ok(())
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for LayerNorm {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let width = inputs[0].shape.last().context("LayerNorm of a scalar")?;
        let fits = inputs[0].datum_type == f32::datum_type() && width.compatible_with(&self.gamma.len().to_dim());
        ensure!(fits, "LayerNorm takes float32 of width {}, not {:?}", self.gamma.len(), inputs[0]);
        let same = self.beta.as_ref().is_none_or(|beta| beta.len() == self.gamma.len());
        ensure!(same, "LayerNorm takes as many offsets as scales");
        Ok(tvec!(inputs[0].without_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn rows_are_normalised() {
        let operator =
            LayerNorm { gamma: Shared::new(vec![1., 2.]), beta: Some(Shared::new(vec![0., 10.])), epsilon: 0. };
        // Means 2 and 0, deviations 1 and 5.
        let output = evaluate(&operator, &[tensor(&[2, 2], &[1., 3., 5., -5.])]).unwrap();
        assert_close("layer norm", &output, &[2, 2], &[-1., 12., 1., 8.]);
    }
}
