//! `Activate`: an activation that follows no `Linear`.
//!
//! Input: f32 of any shape. Output: the same shape.

use super::f32_slice;
use super::spare::written;
use crate::kernels::activation::Activation;
use tract_core::internal::*;

/// Applies an [`Activation`] to every element.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Activate(pub Activation);

impl Op for Activate {
    fn name(&self) -> StaticName {
        "Activate".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![self.0.name().to_string()])
    }

    op_as_typed_op!();
}

impl EvalOp for Activate {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let output = written(inputs[0].shape(), |out| {
            out.copy_from_slice(f32_slice(&inputs[0])?);
            self.0.apply_in_place(out);
            Ok(())
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for Activate {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == f32::datum_type(), "Activate takes float32, not {:?}", inputs[0]);
        Ok(tvec!(inputs[0].without_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn known_values() {
        // x·Φ(x) from tables of the normal distribution.
        let cases = [
            (Activation::Gelu, [-0.158_655_25, 0., 0.841_344_7, 1.954_499_7]),
            (Activation::Relu, [0., 0., 1., 2.]),
            (Activation::Identity, [-1., 0., 1., 2.]),
        ];
        for (activation, expected) in cases {
            let output = evaluate(&Activate(activation), &[tensor(&[4], &[-1., 0., 1., 2.])]).unwrap();
            assert_close(activation.name(), &output, &[4], &expected);
        }
    }
}
