//! `QuantizedNorm`: a norm over the last axis whose parts are rounded to integers and back, as statically quantised models
//! write it out. Scale and offset follow it, behind roundings of their own.
//!
//! Input: f32 `[..., width]`. Output: f32 of the same shape; see [`norm_by_steps`].

use super::f32_slice;
use super::spare::written;
use crate::kernels::norm::{NormSteps, norm_by_steps};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct QuantizedNorm(pub NormSteps);

impl Eq for QuantizedNorm {}

impl Op for QuantizedNorm {
    fn name(&self) -> StaticName {
        "QuantizedNorm".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![if self.0.mean.is_some() { "layer norm" } else { "RMS norm" }.to_string()])
    }

    op_as_typed_op!();
}

impl EvalOp for QuantizedNorm {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        let width = *shape.last().context("QuantizedNorm of a scalar")?;
        let output = written(shape, |out| {
            norm_by_steps(f32_slice(&inputs[0])?, width, &self.0, out);
            Ok(())
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for QuantizedNorm {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = inputs[0].datum_type == f32::datum_type() && inputs[0].rank() > 0;
        ensure!(rows, "QuantizedNorm takes float32 rows, not {:?}", inputs[0]);
        Ok(tvec!(inputs[0].without_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;
    use crate::kernels::steps::Step;

    #[test]
    fn rows_are_normalised_with_rounded_parts() {
        let rounded = |steps: &[Step]| [steps, &Step::quantize(1.0, 0.0, [0.0, 255.0])].concat();
        // Means 2.5 and 1, which is 2 and 1 rounded to integers; with that deviations [-1, 2] and [-4, 4]; mean squares 2.5
        // and 16, rounded 2 and 16; roots 1.4142 and 4. Without a mean: squares 1, 16, 9, 25; means 8.5 and 17, rounded 8
        // and 17; roots 2.8284 and 4.1231.
        let root = rounded(&[Step::Divide(2.0)]);
        let by = |mean: Option<Vec<Step>>, last: &[Step], multiplies| {
            let root = [&root[..], &[Step::SquareRoot], last].concat();
            QuantizedNorm(NormSteps { mean, deviations: vec![], squares: vec![], root, multiplies })
        };
        let mean = || Some(rounded(&[Step::Divide(2.0)]));
        use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
        let layer_norm = [-FRAC_1_SQRT_2, SQRT_2, -1., 1.];
        let rms_norm = [0.353_553_4, SQRT_2, -0.727_606_9, 1.212_678_1];
        let rows = || tensor(&[2, 2], &[1., 4., -3., 5.]);
        let cases = [
            ("divided", by(mean(), &[], false), rows(), Some(layer_norm)),
            ("multiplied", by(mean(), &[Step::Reciprocal], true), rows(), Some(layer_norm)),
            ("not centred", by(None, &[], false), rows(), Some(rms_norm)),
            ("a scalar", by(None, &[], false), tensor(&[], &[1.0]), None),
        ];
        for (what, operator, x, expected) in cases {
            match (evaluate(&operator, &[x]), expected) {
                (Ok(output), Some(expected)) => assert_close(what, &output, &[2, 2], &expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{what}"),
            }
        }
    }
}
