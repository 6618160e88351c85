//! `MixtureOfExperts`: Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer",
//! section 2; com.microsoft `MoE` and `QMoE`.
//!
//! Inputs: `x` f32 `[..., width]`; `logits` f32 `[tokens, experts]` with a row for each row of `x`; with [`Mixing::Given`] also
//! `shares` f32 of the same shape.
//!
//! Output: f32 of `x`'s shape. Each token goes to the `selected` experts with the highest logits, of equal ones to the later
//! ones; their answers `second(activation(first(x)))` are added, each times its share.

use super::plain::Plain;
use super::{Shared, f32_slice, f32_tensor, rows};
use crate::kernels::activation::Activation;
use crate::kernels::linear::{LinearWeights, linear};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct MixtureOfExperts {
    /// At least one, of the same sizes.
    pub experts: Shared<Vec<Expert>>,
    /// How many experts a token goes to, from 1 to all.
    pub selected: usize,
    /// Between the layers.
    pub activation: ExpertActivation,
    /// What the shares are.
    pub mixing: Mixing,
}

/// Two layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Expert {
    /// From `width`.
    pub first: ExpertLayer,
    /// To `width`.
    pub second: ExpertLayer,
}

impl Expert {
    /// Memory that the layers take.
    pub fn bytes(&self) -> usize {
        let layer = |layer: &ExpertLayer| layer.weights.bytes() + layer.bias.as_deref().map_or(0, size_of_val);
        layer(&self.first) + layer(&self.second)
    }
}

/// A linear layer.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertLayer {
    /// `[inputs, outputs]`.
    pub weights: LinearWeights,
    /// `[outputs]`.
    pub bias: Option<Vec<f32>>,
}

/// What stands between the layers of an expert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ExpertActivation {
    /// Of each element.
    Plain(Activation),
    /// Of each two neighbours `g` and `l`: `g · sigmoid(alpha · g) · (l + beta)`, where `g` is at most `limit` and `l` within
    /// `-limit..=limit`.
    SwiGlu {
        /// Steepness of the gate.
        alpha: f32,
        /// Added to the second neighbour.
        beta: f32,
        /// Infinite for no limit.
        limit: f32,
    },
}

/// What the shares of the selected experts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixing {
    /// The softmax of all logits.
    AmongAll,
    /// The softmax of the selected ones' logits.
    AmongSelected,
    /// The third input's.
    Given {
        /// Whether they are divided by their sum.
        normalised: bool,
    },
}

impl Plain for MixtureOfExperts {
    const NAME: &'static str = "MixtureOfExperts";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let given = matches!(self.mixing, Mixing::Given { .. });
        ensure!(inputs.len() == 2 + given as usize, "MixtureOfExperts takes {} inputs", 2 + given as usize);
        ensure!(inputs.iter().all(|input| input.datum_type == f32::datum_type()), "MixtureOfExperts takes float32");
        let (experts, width) = (self.experts.len().to_dim(), self.experts[0].first.weights.inputs().to_dim());
        let x = inputs[0];
        ensure!(
            x.shape.last().is_some_and(|last| last.compatible_with(&width)),
            "experts of {width} columns for {x:?}"
        );
        for routing in &inputs[1..] {
            let fits = routing.rank() == 2 && routing.shape[1].compatible_with(&experts);
            ensure!(fits, "the routing of {experts} experts is {routing:?}");
        }
        Ok(tvec!(x.without_value()))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = &inputs[0];
        ensure!(x.shape().last() == Some(&self.experts[0].first.weights.inputs()), "x is {:?}", x.shape());
        let expected = [rows(x.shape()), self.experts.len()];
        for routing in &inputs[1..] {
            ensure!(routing.shape() == expected, "the routing is {:?}, not {expected:?}", routing.shape());
        }
        let shares = inputs.get(2).map(|shares| f32_slice(shares)).transpose()?;
        let routes = self.routes(f32_slice(&inputs[1])?, shares);
        let output = f32_tensor(x.shape(), |out| {
            for (expert, tokens) in self.experts.iter().zip(&routes) {
                expert.add(f32_slice(x)?, tokens, self.activation, out);
            }
            Ok(())
        })?;
        Ok(tvec!(output))
    }
}

/// A token with the share that an expert has of its answer.
type Route = (usize, f32);

impl MixtureOfExperts {
    /// The tokens of each expert.
    fn routes(&self, logits: &[f32], shares: Option<&[f32]>) -> Vec<Vec<Route>> {
        let experts = self.experts.len();
        let mut routes = vec![Vec::new(); experts];
        for (token, logits) in logits.chunks_exact(experts).enumerate() {
            let mut order: Vec<usize> = (0..experts).collect();
            order.sort_by(|one, other| logits[*other].total_cmp(&logits[*one]).then(other.cmp(one)));
            let selected = &order[..self.selected];
            let shares = match (self.mixing, shares) {
                (Mixing::Given { normalised }, Some(shares)) => {
                    given_shares(&shares[token * experts..][..experts], selected, normalised)
                }
                (Mixing::AmongAll, _) => softmax(logits, selected, &order),
                _ => softmax(logits, selected, selected),
            };
            for (expert, share) in selected.iter().zip(shares) {
                routes[*expert].push((token, share));
            }
        }
        routes
    }
}

fn given_shares(shares: &[f32], selected: &[usize], normalised: bool) -> Vec<f32> {
    let picked: Vec<f32> = selected.iter().map(|expert| shares[*expert]).collect();
    let sum: f32 = if normalised { picked.iter().sum() } else { 1.0 };
    // Shares that are all 0 stay so.
    let sum = if sum == 0.0 { 1.0 } else { sum };
    picked.iter().map(|share| share / sum).collect()
}

/// The part that each of the selected has in the softmax over `among`, which begins with the highest logit.
fn softmax(logits: &[f32], selected: &[usize], among: &[usize]) -> Vec<f32> {
    let power = |expert: &usize| (logits[*expert] - logits[among[0]]).exp();
    let sum: f32 = among.iter().map(power).sum();
    selected.iter().map(|expert| power(expert) / sum).collect()
}

impl Expert {
    /// Adds the answers for these tokens.
    fn add(&self, x: &[f32], routes: &[Route], activation: ExpertActivation, out: &mut [f32]) {
        let width = self.first.weights.inputs();
        let rows: Vec<f32> = routes.iter().flat_map(|(token, _)| &x[token * width..][..width]).copied().collect();
        let hidden = activation.apply(self.first.apply(&rows, routes.len()));
        let answers = self.second.apply(&hidden, routes.len());
        for ((token, share), answer) in routes.iter().zip(answers.chunks_exact(width)) {
            for (out, answer) in out[token * width..][..width].iter_mut().zip(answer) {
                *out += share * answer;
            }
        }
    }
}

impl ExpertLayer {
    fn apply(&self, x: &[f32], rows: usize) -> Vec<f32> {
        let mut out = vec![0.0; rows * self.weights.outputs()];
        linear(x, rows, &self.weights, self.bias.as_deref(), Activation::Identity, None, &mut out);
        out
    }
}

impl ExpertActivation {
    fn apply(self, mut values: Vec<f32>) -> Vec<f32> {
        match self {
            ExpertActivation::Plain(activation) => {
                activation.apply_in_place(&mut values);
                values
            }
            ExpertActivation::SwiGlu { alpha, beta, limit } => {
                let (pairs, _) = values.as_chunks::<2>();
                let gates: Vec<f32> = pairs.iter().map(|[gate, _]| gate.min(limit)).collect();
                let mut open: Vec<f32> = gates.iter().map(|gate| alpha * gate).collect();
                Activation::Sigmoid.apply_in_place(&mut open);
                let product = |((gate, open), [_, value]): ((&f32, &f32), &[f32; 2])| {
                    gate * open * (value.min(limit).max(-limit) + beta)
                };
                gates.iter().zip(&open).zip(pairs).map(product).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain::PlainOperator;
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    /// An expert that multiplies by two numbers.
    fn factors(first: f32, second: f32) -> Expert {
        let layer = |factor| ExpertLayer { weights: LinearWeights::from_f32(&[factor], 1, 1, 1, 1), bias: None };
        Expert { first: layer(first), second: layer(second) }
    }

    #[test]
    fn tokens_are_routed() {
        struct Case {
            selected: usize,
            activation: Activation,
            mixing: Mixing,
            logits: &'static [f32],
            shares: Option<&'static [f32]>,
            expected: Option<&'static [f32]>,
        }
        let among_all = Case {
            selected: 1,
            activation: Activation::Identity,
            mixing: Mixing::AmongAll,
            // e^0 : e^ln 3, so that the shares are 1/4 and 3/4.
            logits: &[0.0, 1.098_612_3, 1.098_612_3, 0.0],
            shares: None,
            expected: Some(&[1.0 * 30.0 * 0.75, -2.0 * 2.0 * 0.75]),
        };
        let cases = [
            Case { selected: 2, expected: Some(&[0.25 * 2.0 + 0.75 * 30.0, -0.75 * 4.0 - 0.25 * 60.0]), ..among_all },
            Case { mixing: Mixing::AmongSelected, expected: Some(&[30.0, -4.0]), ..among_all },
            Case { activation: Activation::Relu, expected: Some(&[22.5, 0.0]), ..among_all },
            Case { logits: &[0.0; 4], expected: Some(&[15.0, -30.0]), ..among_all },
            Case {
                mixing: Mixing::Given { normalised: false },
                shares: Some(&[0.1, 0.2, 0.5, 0.4]),
                expected: Some(&[6.0, -2.0]),
                ..among_all
            },
            Case {
                selected: 2,
                mixing: Mixing::Given { normalised: true },
                shares: Some(&[0.1, 0.3, 0.0, 0.0]),
                expected: Some(&[0.25 * 2.0 + 0.75 * 30.0, 0.0]),
                ..among_all
            },
            Case { logits: &[0.0, 1.0], expected: None, ..among_all },
            among_all,
        ];
        for case in cases {
            let operator = PlainOperator(MixtureOfExperts {
                experts: Shared::new(vec![factors(1.0, 2.0), factors(3.0, 10.0)]),
                selected: case.selected,
                activation: ExpertActivation::Plain(case.activation),
                mixing: case.mixing,
            });
            let mut inputs = vec![tensor(&[1, 2, 1], &[1.0, -2.0]), tensor(&[case.logits.len() / 2, 2], case.logits)];
            inputs.extend(case.shares.map(|shares| tensor(&[2, 2], shares)));
            let what = format!("{} of 2, {:?}", case.selected, case.mixing);
            match (evaluate(&operator, &inputs), case.expected) {
                (Ok(output), Some(expected)) => assert_close(&what, &output, &[1, 2, 1], expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{what}"),
            }
        }
    }

    #[test]
    fn gates() {
        // g · sigmoid(alpha · g) · (l + beta) by hand; sigmoid(ln 3) = 3/4.
        let ln_3 = 1.098_612_3_f32;
        let cases = [
            (1.0, 0.0, f32::INFINITY, [ln_3, 2.0], ln_3 * 0.75 * 2.0),
            (2.0, 1.0, f32::INFINITY, [ln_3 / 2.0, -4.0], ln_3 / 2.0 * 0.75 * -3.0),
            (1.0, 1.0, 0.5 * ln_3, [2.0, -9.0], 0.5 * ln_3 * 0.633_974_6 * (1.0 - 0.5 * ln_3)),
        ];
        for (alpha, beta, limit, pair, expected) in cases {
            let activation = ExpertActivation::SwiGlu { alpha, beta, limit };
            let got = activation.apply(pair.to_vec());
            assert!(got.len() == 1 && (got[0] - expected).abs() < 1e-5, "{activation:?}: {got:?} for {expected}");
        }
    }
}
