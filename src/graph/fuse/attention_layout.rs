//! Takes into an [`Attention`] what surrounds it: axis operations that split, move and join heads, scalings of query and key,
//! repetitions of key and value heads, and the broadcast of a mask.

use super::Match;
use super::axes::{Heads, heads};
use super::pattern::{producer, sole_reader};
use crate::ops::{Attention, HeadLayout};
use tract_core::internal::*;
use tract_core::ops::array::MultiBroadcastTo;

/// Looks for an attention on `[batch, heads, seq, dim]` whose operands or output lie otherwise in memory.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(operator) = node.op_as::<Attention>() else { return Ok(Match::None) };
    let query = operand(model, node.inputs[0], operator.query)?;
    let [key, value] =
        keys_and_values(operand(model, node.inputs[1], operator.key)?, operand(model, node.inputs[2], operator.value)?);
    let query = query.into_iter().rfind(|query| query.repeats == 1 && fits_scores(operator, query));
    let (Some(query), Some(key), Some(value)) = (query, key.filter(|key| fits_scores(operator, key)), value) else {
        return Ok(Match::None);
    };
    let (replaced, output) = output(model, node, operator);
    let mut inputs = node.inputs.clone();
    (inputs[0], inputs[1], inputs[2]) = (query.outlet, key.outlet, value.outlet);
    let masks = usize::from(operator.mask) + operator.steps.iter().filter(|step| step.reads_mask()).count();
    for mask in &mut inputs[3..3 + masks] {
        *mask = without_broadcast(model, *mask)?;
    }
    if inputs == node.inputs && output == operator.output {
        return Ok(Match::None);
    }
    let extended = Attention {
        kv_heads: operator.kv_heads / key.repeats,
        scale: operator.scale.map(|scale| scale * query.factor * key.factor),
        query: query.layout,
        key: key.layout,
        value: value.layout,
        output,
        ..operator.clone()
    };
    let mut patch = TypedModelPatch::default();
    let taps = patch.taps(model, &inputs)?;
    let outlets = patch.wire_node(&*node.name, extended, &taps)?;
    patch.shunt_outside(model, replaced, outlets[0])?;
    if let Some(scores) = outlets.get(1) {
        patch.shunt_outside(model, OutletId::new(node.id, 1), *scores)?;
    }
    Ok(Match::Found(Box::new(patch)))
}

/// The tensors from which an operand may be taken.
fn operand(model: &TypedModel, outlet: OutletId, layout: HeadLayout) -> TractResult<Vec<Heads>> {
    if layout == HeadLayout::HeadMajor {
        return heads(model, outlet);
    }
    Ok(vec![Heads { outlet, layout, repeats: 1, factor: 1.0 }])
}

/// Scores that are shown have their own scale; the default scale, and steps in its place, leave no room for a factor.
fn fits_scores(operator: &Attention, operand: &Heads) -> bool {
    (operator.scores.is_none() && operator.scale.is_some() && operator.steps.is_empty()) || operand.factor == 1.0
}

/// Key and value with equally many heads; a value is not scaled.
fn keys_and_values(keys: Vec<Heads>, values: Vec<Heads>) -> [Option<Heads>; 2] {
    let farthest = |operands: &[Heads], repeats: usize, scaled: bool| {
        let fits = |operand: &&Heads| operand.repeats == repeats && (scaled || operand.factor == 1.0);
        operands.iter().rfind(fits).cloned()
    };
    let repeats = keys.last().map_or(1, |key| key.repeats);
    [repeats, 1]
        .into_iter()
        .map(|repeats| [farthest(&keys, repeats, true), farthest(&values, repeats, false)])
        .find(|pair| pair.iter().all(Option::is_some))
        .unwrap_or_default()
}

/// A mask broadcasts by itself.
fn without_broadcast(model: &TypedModel, mask: OutletId) -> TractResult<OutletId> {
    let node = producer(model, mask);
    if node.op_is::<MultiBroadcastTo>() && model.outlet_fact(node.inputs[0])?.rank() == model.outlet_fact(mask)?.rank()
    {
        return Ok(node.inputs[0]);
    }
    Ok(mask)
}

/// Takes in the axis operations that bring the heads back together.
fn output(model: &TypedModel, node: &TypedNode, operator: &Attention) -> (OutletId, HeadLayout) {
    let outlet = OutletId::new(node.id, 0);
    let unmoved = (outlet, operator.output);
    if operator.output != HeadLayout::HeadMajor {
        return unmoved;
    }
    let Some(moved) = sole_reader(model, node) else { return unmoved };
    if !matches!(moved.op_as::<AxisOp>(), Some(AxisOp::Move(1, 2) | AxisOp::Move(2, 1))) {
        return unmoved;
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
