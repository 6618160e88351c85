//! `GatedLinear`: two matrix products with constant weights, of which one, after its activation, multiplies the other: the first
//! half of a feed-forward layer with a gate. Shazeer, "GLU Variants Improve Transformer".
//!
//! Input: `x` f32 `[..., inputs]`.
//! Output: f32 `[..., outputs]` = `activation(x · gate + gate_bias) * (x · up + up_bias)`.
//! Weights: as those of `Linear`, either ones in a format of their own.

use super::spare::written;
use super::{Shared, f32_slice, rows};
use crate::kernels::activation::Activation;
use crate::kernels::gated_linear::{Projection, gated_linear};
use crate::kernels::linear::LinearWeights;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatedLinear {
    /// Rows of either weights.
    pub inputs: usize,
    /// Columns of either weights.
    pub outputs: usize,
    /// `[inputs, outputs]`, packed for the kernel.
    pub gate: Shared<LinearWeights>,
    /// `[outputs]`.
    pub gate_bias: Option<Shared<Vec<f32>>>,
    /// Applied to the gate, after its bias.
    pub activation: Activation,
    /// `[inputs, outputs]`, packed for the kernel.
    pub up: Shared<LinearWeights>,
    /// `[outputs]`.
    pub up_bias: Option<Shared<Vec<f32>>>,
}

fn projection<'a>(weights: &'a Shared<LinearWeights>, bias: &'a Option<Shared<Vec<f32>>>) -> Projection<'a> {
    Projection { weights, bias: bias.as_ref().map(|bias| bias.as_slice()) }
}

impl Op for GatedLinear {
    fn name(&self) -> StaticName {
        "GatedLinear".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let GatedLinear { inputs, outputs, gate, gate_bias, activation, up, up_bias } = self;
        let mut info = vec![format!("{inputs} x {outputs} {} and {}", gate.format(), up.format())];
        info.extend(gate_bias.is_some().then(|| "bias of the gate".to_string()));
        info.extend(up_bias.is_some().then(|| "bias".to_string()));
        info.extend((*activation != Activation::Identity).then(|| activation.name().to_string()));
        Ok(info)
    }

    op_as_typed_op!();
}

impl EvalOp for GatedLinear {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = &inputs[0];
        let mut shape: TVec<usize> = x.shape().into();
        let rows = rows(&shape);
        *shape.last_mut().context("GatedLinear of a scalar")? = self.outputs;
        let (gate, up) = (projection(&self.gate, &self.gate_bias), projection(&self.up, &self.up_bias));
        let output = written(&shape, |out| {
            gated_linear(f32_slice(x)?, rows, gate, up, self.activation, out);
            Ok(())
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for GatedLinear {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let &[x] = inputs else { bail!("GatedLinear takes one input, not {}", inputs.len()) };
        ensure!(x.datum_type == f32::datum_type() && x.rank() > 0, "GatedLinear takes float32 of rank 1 or more");
        let mut shape: TVec<TDim> = x.shape.to_tvec();
        let last = shape.len() - 1;
        let expected = self.inputs.to_dim();
        ensure!(shape[last].compatible_with(&expected), "GatedLinear takes {expected} columns, not {}", shape[last]);
        shape[last] = self.outputs.to_dim();
        Ok(tvec!(f32::fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    /// gate = [[1, 0, 2], [0, 1, -1]] and up = [[2, 1, 0], [1, -1, 1]].
    fn operator(gate_bias: Option<Vec<f32>>, activation: Activation, up_bias: Option<Vec<f32>>) -> GatedLinear {
        let weights = |values| Shared::new(LinearWeights::from_f32(values, 2, 3, 3, 1));
        GatedLinear {
            inputs: 2,
            outputs: 3,
            gate: weights(&[1., 0., 2., 0., 1., -1.]),
            gate_bias: gate_bias.map(Shared::new),
            activation,
            up: weights(&[2., 1., 0., 1., -1., 1.]),
            up_bias: up_bias.map(Shared::new),
        }
    }

    #[test]
    fn biases_and_activation() {
        // x = [[1, 2], [-3, 4]], so that the products are [[1, 2, 0], [-3, 4, -10]] and [[4, -1, 2], [-2, -7, 4]].
        let cases = [
            (None, Activation::Identity, None, [4., -2., 0., 6., -28., -40.]),
            (None, Activation::Relu, None, [4., -2., 0., 0., -28., 0.]),
            (Some(vec![4., -5., 1.]), Activation::Relu, None, [20., 0., 2., -2., 0., 0.]),
            (None, Activation::Identity, Some(vec![1., 2., 3.]), [5., 2., 0., 3., -20., -70.]),
            (Some(vec![4., -5., 1.]), Activation::Relu, Some(vec![1., 2., 3.]), [25., 0., 5., -1., 0., 0.]),
        ];
        for (number, (gate_bias, activation, up_bias, expected)) in cases.into_iter().enumerate() {
            let operator = operator(gate_bias, activation, up_bias);
            let output = evaluate(&operator, &[tensor(&[1, 2, 2], &[1., 2., -3., 4.])]).unwrap();
            assert_close(&format!("case {number}"), &output, &[1, 2, 3], &expected);
        }
    }

    #[test]
    fn what_it_takes() {
        let operator = operator(None, Activation::Silu, None);
        let cases = [
            (vec![f32::fact([5, 2])], Some(f32::fact([5, 3]))),
            (vec![f32::fact([2])], Some(f32::fact([3]))),
            (vec![f32::fact([5, 3])], None),
            (vec![f64::fact([5, 2])], None),
            (vec![f32::fact::<[usize; 0]>([])], None),
            (vec![f32::fact([5, 2]); 2], None),
            (vec![], None),
        ];
        for (inputs, expected) in cases {
            let result = operator.output_facts(&inputs.iter().collect::<Vec<_>>()).ok();
            assert_eq!(result, expected.map(|fact| tvec!(fact)), "{inputs:?}");
        }
    }
}
