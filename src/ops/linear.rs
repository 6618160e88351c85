//! `Linear`: a matrix product with constant weights, and what commonly follows it.
//!
//! Inputs: `x` f32 `[..., inputs]`, and with `joined` a second f32 `[..., outputs]`.
//! Output: f32 `[..., outputs]` = `activation(x · weights + bias)`, to which the second input is added or by which it is multiplied.
//! Weights: f32, int8 with scales (per column or one), or blocks of 4 or 8 bits with scales (com.microsoft `MatMulNBits`), with
//! which `x` may be rounded to 8 bits, where the weights say so.

use super::spare::written;
use super::{Shared, f32_slice, rows};
use crate::kernels::activation::Activation;
use crate::kernels::linear::{Join, Joined, LinearWeights, linear};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linear {
    /// Rows of the weights.
    pub inputs: usize,
    /// Columns of the weights.
    pub outputs: usize,
    /// `[inputs, outputs]`, packed for the kernel.
    pub weights: Shared<LinearWeights>,
    /// `[outputs]`.
    pub bias: Option<Shared<Vec<f32>>>,
    /// Applied after the bias.
    pub activation: Activation,
    /// How a second input is joined after the activation, if there is one.
    pub joined: Option<Join>,
}

impl Linear {
    /// Without bias, activation or joined operand; the weights are `[inputs, outputs]`.
    pub fn new(inputs: usize, outputs: usize, weights: Shared<LinearWeights>) -> Linear {
        Linear { inputs, outputs, weights, bias: None, activation: Activation::Identity, joined: None }
    }
}

/// The operand that a layer's result is joined with, of the inputs from it on.
pub(super) fn joined(how: Option<Join>, inputs: &[TValue]) -> TractResult<Option<Joined<'_>>> {
    let Some(how) = how else { return Ok(None) };
    Ok(Some(Joined { how, values: f32_slice(&inputs[0])? }))
}

impl Op for Linear {
    fn name(&self) -> StaticName {
        "Linear".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let Linear { weights, bias, activation, joined, .. } = self;
        let mut info = vec![format!("{} x {} {}", weights.inputs(), weights.outputs(), weights.format())];
        info.extend(bias.is_some().then(|| "bias".to_string()));
        info.extend((*activation != Activation::Identity).then(|| activation.name().to_string()));
        info.extend(joined.map(|join| join.name().to_string()));
        Ok(info)
    }

    op_as_typed_op!();
}

impl EvalOp for Linear {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = &inputs[0];
        let mut shape: TVec<usize> = x.shape().into();
        let rows = rows(&shape);
        *shape.last_mut().context("Linear of a scalar")? = self.outputs;
        let joined = joined(self.joined, &inputs[1..])?;
        let bias = self.bias.as_ref().map(|bias| bias.as_slice());
        let output = written(&shape, |out| {
            linear(f32_slice(x)?, rows, &self.weights, bias, self.activation, joined, out);
            Ok(())
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for Linear {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(
            inputs.len() == 1 + self.joined.is_some() as usize,
            "Linear takes {} inputs",
            1 + self.joined.is_some() as usize
        );
        let x = inputs[0];
        ensure!(x.datum_type == f32::datum_type() && x.rank() > 0, "Linear takes float32 of rank 1 or more");
        let mut shape: TVec<TDim> = x.shape.to_tvec();
        let last = shape.len() - 1;
        let expected = self.inputs.to_dim();
        ensure!(shape[last].compatible_with(&expected), "Linear takes {expected} columns, not {}", shape[last]);
        shape[last] = self.outputs.to_dim();
        if self.joined.is_some() {
            let fits = inputs[1].datum_type == f32::datum_type() && *inputs[1].shape == *shape;
            ensure!(fits, "the joined operand of Linear must have the output's shape {shape:?}, not {:?}", inputs[1]);
        }
        Ok(tvec!(f32::fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn product_and_epilogue() {
        struct Case {
            bias: Option<Vec<f32>>,
            activation: Activation,
            joined: Option<Join>,
            expected: &'static [f32],
        }
        // x = [[1, 2], [-3, 4]], weights = [[1, 0, 2], [0, 1, -1]], worked out by hand.
        let cases = [
            Case { bias: None, activation: Activation::Identity, joined: None, expected: &[1., 2., 0., -3., 4., -10.] },
            Case {
                bias: None,
                activation: Activation::Relu,
                joined: Some(Join::Multiply),
                expected: &[10., 20., 0., 0., 40., 0.],
            },
            Case {
                bias: Some(vec![0.5, -4., 1.]),
                activation: Activation::Relu,
                joined: Some(Join::Add),
                expected: &[11.5, 10., 11., 10., 10., 10.],
            },
        ];
        for case in cases {
            let weights = LinearWeights::from_f32(&[1., 0., 2., 0., 1., -1.], 2, 3, 3, 1);
            let operator = Linear {
                bias: case.bias.map(Shared::new),
                activation: case.activation,
                joined: case.joined,
                ..Linear::new(2, 3, Shared::new(weights))
            };
            let mut inputs = vec![tensor(&[1, 2, 2], &[1., 2., -3., 4.])];
            inputs.extend(case.joined.map(|_| tensor(&[1, 2, 3], &[10.; 6])));
            assert_close("linear", &evaluate(&operator, &inputs).unwrap(), &[1, 2, 3], case.expected);
        }
    }
}
