//! What com.microsoft's `MoE` and `QMoE` share.

use super::arguments::string;
use super::attention_parts::{count, flag};
use super::{float, int, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::{Expert, ExpertActivation, ExpertLayer, f32_slice};
use tract_core::internal::*;

const ATTRIBUTES: &[&str] = &[
    "k",
    "activation_type",
    "normalize_routing_weights",
    "activation_alpha",
    "activation_beta",
    "swiglu_fusion",
    "swiglu_limit",
    "swiglu_limit_after_activation",
    "use_sparse_mixer",
];

/// How many experts a token goes to: `k`, 1 by default.
pub fn selected(node: &NodeProto) -> TractResult<usize> {
    let selected = if super::attribute(node, "k").is_some() { count(node, "k")? } else { 1 };
    ensure!(selected > 0, "`k` is 0");
    Ok(selected)
}

/// Whether the shares of the selected experts add up to 1: `normalize_routing_weights`.
pub fn normalised(node: &NodeProto) -> TractResult<bool> {
    flag(node, "normalize_routing_weights")
}

/// `activation_type` and what goes with it.
pub fn activation(node: &NodeProto) -> TractResult<ExpertActivation> {
    let plain = match &*string(node, "activation_type", "relu") {
        "relu" => Activation::Relu,
        "gelu" => Activation::GeluTanh,
        "silu" => Activation::Silu,
        "identity" => Activation::Identity,
        "swiglu" => return swiglu(node),
        other => return Err(unsupported(format!("experts with `{other}` are not supported"))),
    };
    Ok(ExpertActivation::Plain(plain))
}

fn swiglu(node: &NodeProto) -> TractResult<ExpertActivation> {
    if int(node, "swiglu_fusion", 0) != 1 {
        return Err(unsupported("only interleaved SwiGLU (`swiglu_fusion` 1) is supported"));
    }
    let limit = float(node, "swiglu_limit").unwrap_or(f32::INFINITY);
    ensure!(limit >= 0.0, "`swiglu_limit` is {limit}");
    let (alpha, beta) = (float(node, "activation_alpha"), float(node, "activation_beta"));
    Ok(ExpertActivation::SwiGlu { alpha: alpha.unwrap_or(1.0), beta: beta.unwrap_or(0.0), limit })
}

/// Refuses the routing and the clipping that are not supported, and attributes that are neither shared nor the operator's `own`.
pub fn refuse(node: &NodeProto, own: &[&str]) -> TractResult<()> {
    only_attributes(node, &[ATTRIBUTES, own].concat())?;
    let refused = [
        (flag(node, "use_sparse_mixer")?, "a sparse mixer is"),
        (flag(node, "swiglu_limit_after_activation")?, "clipping after the activation is"),
    ];
    match refused.iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(unsupported(format!("{what} not supported"))),
        None => Ok(()),
    }
}

/// The constant behind an outlet.
pub fn constant(model: &TypedModel, outlet: OutletId) -> TractResult<Arc<Tensor>> {
    super::constant(model, outlet)?.context("weights, scales, zero points and biases of experts are constants")
}

/// Row `expert` of a bias f32 `[experts, outputs]`.
pub fn bias(bias: Option<&Tensor>, expert: usize, [experts, outputs]: [usize; 2]) -> TractResult<Option<Vec<f32>>> {
    let Some(bias) = bias else { return Ok(None) };
    ensure!(bias.shape() == [experts, outputs], "a bias of {:?} for {experts} experts of {outputs}", bias.shape());
    Ok(Some(f32_slice(bias)?[expert * outputs..][..outputs].to_vec()))
}

/// Experts whose layers fit each other.
pub fn checked(experts: Vec<Expert>, selected: usize, activation: ExpertActivation) -> TractResult<Vec<Expert>> {
    ensure!(selected <= experts.len(), "{selected} of {} experts are selected", experts.len());
    let halves = if matches!(activation, ExpertActivation::SwiGlu { .. }) { 2 } else { 1 };
    let size = |layer: &ExpertLayer| [layer.weights.inputs(), layer.weights.outputs()];
    for Expert { first, second } in &experts {
        let ([width, hidden], [inner, back]) = (size(first), size(second));
        let fits = hidden == halves * inner && back == width;
        ensure!(fits, "layers of {width} to {hidden} and {inner} to {back} do not fit each other");
    }
    Ok(experts)
}
