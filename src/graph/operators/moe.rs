//! com.microsoft `MoE` (1): a mixture of experts.
//!
//! Inputs: `input` f32 `[tokens, width]` or `[batch, seq, width]`; `router_probs` f32 `[tokens, experts]`, logits; constant f32
//! `fc1_experts_weights` `[experts, hidden, width]` (twice as many rows with swiglu), optionally `fc1_experts_bias`
//! `[experts, hidden]`, `fc2_experts_weights` `[experts, width, hidden]`, optionally `fc2_experts_bias` `[experts, width]`. A third layer
//! is refused. Output: as `input`.
//!
//! Each token goes to the `k` experts with the highest logits, whose shares are the softmax of all logits, or with
//! `normalize_routing_weights` of the selected ones. `activation_type`: relu, gelu (by tanh), silu, identity, or swiglu, which is
//! supported with `swiglu_fusion` 1 and has `activation_alpha`, `activation_beta` and `swiglu_limit`.

use super::experts::{activation, bias, checked, constant, normalised, refuse, selected};
use super::{Wiring, input, is_f32, unsupported};
use crate::kernels::linear::LinearWeights;
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use crate::ops::{Expert, ExpertActivation, ExpertLayer, Mixing, MixtureOfExperts, Shared, f32_slice};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Moe {
    selected: usize,
    mixing: Mixing,
    activation: ExpertActivation,
    first_bias: Option<usize>,
    second: usize,
    second_bias: Option<usize>,
}

impl Wiring for Moe {
    const OPERATOR: &'static str = "com.microsoft.MoE";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        refuse(node, &[])?;
        if node.input.iter().skip(6).any(|name| !name.is_empty()) {
            return Err(unsupported("a third layer of experts is not supported"));
        }
        Ok(Moe {
            selected: selected(node)?,
            mixing: if normalised(node)? { Mixing::AmongSelected } else { Mixing::AmongAll },
            activation: activation(node)?,
            first_bias: input(node, 3),
            second: input(node, 4).context("fc2_experts_weights are missing")?,
            second_bias: input(node, 5),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let optional = |position: Option<usize>| position.map(|position| constant(model, inputs[position])).transpose();
        let first = (constant(model, inputs[2])?, optional(self.first_bias)?);
        let second = (constant(model, inputs[self.second])?, optional(self.second_bias)?);
        let count = *first.0.shape().first().context("the weights of experts are a scalar")?;
        let constants = [Some(&first.0), first.1.as_ref(), Some(&second.0), second.1.as_ref()];
        let constants: Vec<&Arc<Tensor>> = constants.into_iter().flatten().collect();
        let expert = |expert: usize| {
            let first = layer(&first.0, first.1.as_deref(), expert, count)?;
            Ok(Expert { first, second: layer(&second.0, second.1.as_deref(), expert, count)? })
        };
        let experts = Shared::try_of(&constants, self, || {
            let experts = (0..count).map(expert).collect::<TractResult<Vec<_>>>()?;
            checked(experts, self.selected, self.activation)
        })?;
        let operator =
            MixtureOfExperts { experts, selected: self.selected, activation: self.activation, mixing: self.mixing };
        model.wire_node(prefix, PlainOperator(operator), &inputs[..2])
    }
}

/// The layer of one of `experts`, whose weights are `[experts, outputs, inputs]`.
fn layer(weights: &Tensor, biases: Option<&Tensor>, expert: usize, experts: usize) -> TractResult<ExpertLayer> {
    let shape = weights.shape();
    ensure!(shape.len() == 3 && shape[0] == experts, "weights of {shape:?} for {experts} experts");
    let (outputs, inputs) = (shape[1], shape[2]);
    let values = &f32_slice(weights)?[expert * outputs * inputs..][..outputs * inputs];
    Ok(ExpertLayer {
        weights: LinearWeights::from_f32(values, inputs, outputs, 1, inputs),
        bias: bias(biases, expert, [experts, outputs])?,
    })
}
