//! Attention written out: `MatMul(Softmax(MatMul(Q, Kᵀ) · scale + mask), V)` on `[batch, heads, seq, dim]`, with or without
//! scale (on the scores, or on Q and K), mask, and the guard that replaces NaN by zero.

use super::Match;
use super::axes::{Heads, heads};
use super::pattern::{binary, producer, scalar, scaled, sole_reader, unary};
use crate::ops::{Attention, HeadLayout, MatMul};
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::logic::Iff;
use tract_onnx::tract_hir::tract_core::ops::nn::{Softmax, SoftmaxKind};

/// Looks for the product of probabilities and values.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if !node.op_is::<MatMul>() {
        return Ok(Match::None);
    }
    let (probabilities, zero_when_all_masked) = without_guard(model, node.inputs[0]);
    let softmax = producer(model, probabilities);
    let Some(operator) = softmax.op_as::<Softmax>() else { return Ok(Match::None) };
    let rank = model.outlet_fact(probabilities)?.rank();
    if operator.kind != SoftmaxKind::Softmax || *operator.axes != [rank - 1] {
        return Ok(Match::Almost("the softmax is not over the last axis".into()));
    }
    if rank != 4 {
        return Ok(Match::Almost(format!("the scores have rank {rank}, not 4")));
    }
    let Some(scores) = scores(model, softmax.inputs[0]) else {
        return Ok(Match::Almost("the softmax is not over masked and scaled products".into()));
    };
    match operands(model, node, &scores)? {
        Ok(operands) => Ok(Match::Found(Box::new(fused(model, node, &scores, operands, zero_when_all_masked)?))),
        Err(reason) => Ok(Match::Almost(reason)),
    }
}

/// `Where(IsNaN(x), 0, x)`, which exporters write behind a softmax, is `x` with zeros for fully masked rows.
fn without_guard(model: &TypedModel, outlet: OutletId) -> (OutletId, bool) {
    let node = producer(model, outlet);
    if node.op_is::<Iff>()
        && let Some(tested) = unary(producer(model, node.inputs[0]), "IsNan")
        && tested == node.inputs[2]
        && scalar(model, node.inputs[1]) == Some(0.0)
    {
        return (tested, true);
    }
    (outlet, false)
}

struct Scores {
    query: OutletId,
    key: OutletId,
    scale: f32,
    mask: Option<OutletId>,
}

fn scores(model: &TypedModel, outlet: OutletId) -> Option<Scores> {
    if let Some(found) = products(model, outlet) {
        return Some(found);
    }
    let [left, right] = binary(producer(model, outlet), "Add")?;
    let (mut found, mask) = match (products(model, left), products(model, right)) {
        (Some(found), None) => (found, right),
        (None, Some(found)) => (found, left),
        _ => return None,
    };
    found.mask = Some(mask);
    Some(found)
}

fn products(model: &TypedModel, mut outlet: OutletId) -> Option<Scores> {
    let mut scale = 1.0;
    while let Some((operand, factor)) = scaled(model, outlet) {
        scale *= factor;
        outlet = operand;
    }
    let node = producer(model, outlet);
    node.op_is::<MatMul>().then(|| Scores { query: node.inputs[0], key: node.inputs[1], scale, mask: None })
}

struct Operands {
    query: Heads,
    key: Option<Heads>,
    value: Heads,
    heads: usize,
    kv_heads: usize,
}

/// The three operands, or why they are not those of attention.
fn operands(model: &TypedModel, node: &TypedNode, scores: &Scores) -> TractResult<Result<Operands, String>> {
    let shape = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.shape.to_tvec());
    let value = node.inputs[1];
    let shapes = [shape(scores.query)?, shape(scores.key)?, shape(value)?];
    if shapes.iter().any(|shape| shape.len() != 4 || shape[0] != shapes[0][0]) {
        return Ok(Err("query, key and value do not share one batch of rank 4".into()));
    }
    let heads_of = |shape: &[TDim]| shape[1].to_usize().ok();
    let (Some(query_heads), Some(key_heads)) = (heads_of(&shapes[0]), heads_of(&shapes[1])) else {
        return Ok(Err("the number of heads is not constant".into()));
    };
    if key_heads != query_heads || heads_of(&shapes[2]) != Some(key_heads) {
        return Ok(Err("query, key and value differ in their number of heads".into()));
    }
    let (Some(query), Some(value)) = (heads(model, scores.query, false)?, heads(model, value, false)?) else {
        return Ok(Err("the layout of query or value is not recognised".into()));
    };
    let key = heads(model, scores.key, true)?;
    if value.factor != 1.0 {
        return Ok(Err("the value is scaled".into()));
    }
    Ok(Ok(Operands { query, key, value, heads: query_heads, kv_heads: key_heads }))
}

fn fused(
    model: &TypedModel,
    node: &TypedNode,
    scores: &Scores,
    operands: Operands,
    zero_when_all_masked: bool,
) -> TractResult<TypedModelPatch> {
    let Operands { query, key, value, heads, kv_heads } = operands;
    let mut patch = TypedModelPatch::default();
    let (key_tap, key_layout, key_factor) = match key {
        Some(key) => (patch.tap_model(model, key.outlet)?, key.layout, key.factor),
        None => {
            let transposed = patch.tap_model(model, scores.key)?;
            let name = format!("{}.key", node.name);
            (patch.wire_node(name, AxisOp::Move(2, 3), &[transposed])?[0], HeadLayout::HeadMajor, 1.0)
        }
    };
    let (replaced, output) = output(model, node);
    let operator = Attention {
        query: query.layout,
        key: key_layout,
        value: value.layout,
        output,
        mask: scores.mask.is_some(),
        zero_when_all_masked,
        ..Attention::new(heads, kv_heads, scores.scale * query.factor * key_factor, query.layout)
    };
    let mut inputs = tvec!(patch.tap_model(model, query.outlet)?, key_tap, patch.tap_model(model, value.outlet)?);
    if let Some(mask) = scores.mask {
        inputs.push(patch.tap_model(model, mask)?);
    }
    let outlet = patch.wire_node(&*node.name, operator, &inputs)?[0];
    patch.shunt_outside(model, replaced, outlet)?;
    Ok(patch)
}

/// Takes in the axis operations that bring the heads back together.
fn output(model: &TypedModel, node: &TypedNode) -> (OutletId, HeadLayout) {
    let outlet = OutletId::new(node.id, 0);
    let Some(moved) = sole_reader(model, node) else { return (outlet, HeadLayout::HeadMajor) };
    if !matches!(moved.op_as::<AxisOp>(), Some(AxisOp::Move(1, 2) | AxisOp::Move(2, 1))) {
        return (outlet, HeadLayout::HeadMajor);
    }
    let packed = sole_reader(model, moved).filter(|reader| match reader.op_as::<AxisOp>() {
        Some(AxisOp::Reshape(2, from, to)) => from.len() == 2 && to.len() == 1,
        _ => false,
    });
    match packed {
        Some(packed) => (OutletId::new(packed.id, 0), HeadLayout::Packed),
        None => (OutletId::new(moved.id, 0), HeadLayout::PositionMajor),
    }
}
