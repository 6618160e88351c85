//! Attention written out: `MatMul(Softmax(MatMul(Q, Kᵀ) · scale + mask), V)` on `[batch, heads, seq, dim]`, or on
//! `[batch, seq, dim]` where the batch may hold the heads, with or without scale, softcap, masks that are added or that replace scores, and the guard that replaces NaN by zero.

use super::Match;
use super::pattern::{binary, producer, read_once, scalar, scaled, shared, unary};
use crate::ops::{Attention, HeadLayout, MatMul, RoundFloat};
use tract_core::internal::*;
use tract_core::ops::logic::Iff;
use tract_core::ops::math::add;
use tract_core::ops::nn::{Softmax, SoftmaxKind};

/// Adding a number as low as this to a score gives that very number, so that replacing the score is the same.
const ABSORBING: f32 = -1e30;

/// No score that is kept is as low as this: one replaced by it, or by less, weighs nothing beside it.
const NEGLIGIBLE: f32 = -1e9;

/// Masks and scales above one product that are followed.
const DEPTH: usize = 6;

/// Looks for the product of probabilities and values.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if !node.op_is::<MatMul>() {
        return Ok(Match::None);
    }
    let (probabilities, split) = unfolded(model, node.inputs[0]);
    let (probabilities, zero_when_all_masked) = without_guard(model, without_rounding(model, probabilities));
    let softmax = producer(model, without_rounding(model, probabilities));
    let Some(operator) = softmax.op_as::<Softmax>() else { return Ok(Match::None) };
    let rank = model.outlet_fact(softmax.inputs[0])?.rank();
    let plain = operator.kind == SoftmaxKind::Softmax && operator.quant_output_dt.is_none();
    if !plain || *operator.axes != [rank - 1] {
        return Ok(Match::Almost("the softmax is not a plain one over the last axis".into()));
    }
    if !read_once(model, node.inputs[0]) {
        return Ok(Match::Almost("the probabilities are an output or read elsewhere too".into()));
    }
    let scores = match scores(model, softmax.inputs[0]) {
        Ok(scores) if scores.split.as_ref() != split => {
            return Ok(Match::Almost(
                "batch and heads are not joined behind the softmax as they were split before it".into(),
            ));
        }
        Ok(scores) => scores,
        Err(reason) => return Ok(Match::Almost(reason)),
    };
    Ok(match heads(model, node, &scores)? {
        Ok(heads) => Match::Found(Box::new(fused(model, node, &scores, heads, zero_when_all_masked)?)),
        Err(reason) => Match::Almost(reason),
    })
}

/// Batch and heads, where one axis is split into them or they are joined into one.
pub type Split = TVec<TDim>;

/// The tensor before batch and heads are joined, and these, if they are.
fn unfolded(model: &TypedModel, outlet: OutletId) -> (OutletId, Option<&Split>) {
    let node = producer(model, outlet);
    match node.op_as() {
        Some(AxisOp::Reshape(0, from, to)) if (from.len(), to.len()) == (2, 1) => (node.inputs[0], Some(from)),
        _ => (outlet, None),
    }
}

/// Probabilities are not rounded to 16 bits where they are kept in f32.
fn without_rounding(model: &TypedModel, outlet: OutletId) -> OutletId {
    let node = producer(model, outlet);
    if node.op_is::<RoundFloat>() { node.inputs[0] } else { outlet }
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

/// What a mask does to scores.
enum Mask {
    /// It is added to them.
    Added(OutletId),
    /// They stay where the condition is `kept`, and are `value` elsewhere.
    Replaced { condition: OutletId, kept: bool, value: f32 },
}

/// Scores as far up as the product that they come from.
pub struct Scores {
    query: OutletId,
    /// `[batch, heads, dim, position]`.
    key: OutletId,
    scale: f32,
    /// Bound on the scaled scores' size; 0 for none.
    softcap: f32,
    /// In the order in which they are applied.
    masks: Vec<Mask>,
    /// Into what the first axis of the product is split.
    split: Option<Split>,
}

/// Follows scales and masks upwards to the product of query and key; the error is why that fails.
pub fn scores(model: &TypedModel, outlet: OutletId) -> Result<Scores, String> {
    followed(model, outlet, DEPTH)
}

fn followed(model: &TypedModel, outlet: OutletId, depth: usize) -> Result<Scores, String> {
    let node = producer(model, outlet);
    if node.op_is::<MatMul>() {
        return Ok(Scores {
            query: node.inputs[0],
            key: node.inputs[1],
            scale: 1.0,
            softcap: 0.0,
            masks: vec![],
            split: None,
        });
    }
    if depth == 0 {
        return Err("there are too many masks".into());
    }
    if let Some(AxisOp::Reshape(0, from, to)) = node.op_as()
        && (from.len(), to.len()) == (1, 2)
    {
        let found = followed(model, node.inputs[0], depth - 1)?;
        let bare = found.masks.is_empty() && found.split.is_none();
        return bare
            .then(|| Scores { split: Some(to.clone()), ..found })
            .ok_or("the scores are split after a mask".into());
    }
    if let Some((operand, factor)) = scaled(model, outlet) {
        let argument = unary(producer(model, operand), "Tanh");
        let found = followed(model, argument.unwrap_or(operand), depth - 1)?;
        if !found.masks.is_empty() || found.softcap != 0.0 {
            return Err("the scores are scaled or capped after a mask or a cap".into());
        }
        // softcap · tanh(x / softcap): the scale that is left is that of x.
        let softcap = if argument.is_some() { factor } else { 0.0 };
        return Ok(Scores { scale: found.scale * factor, softcap, ..found });
    }
    if let Some([left, right]) = binary(node, "Add") {
        let (mut found, mask) = match (followed(model, left, depth - 1), followed(model, right, depth - 1)) {
            (Ok(found), _) => (found, right),
            (_, Ok(found)) => (found, left),
            (Err(reason), _) => return Err(reason),
        };
        found.masks.push(Mask::Added(mask));
        return Ok(found);
    }
    if node.op_is::<Iff>() {
        return replaced(model, node, depth);
    }
    Err(format!(
        "the softmax is over what {} `{}` gives, not over scaled and masked products",
        node.op.name(),
        node.name
    ))
}

/// `Where(condition, scores, value)` and `Where(condition, value, scores)`.
fn replaced(model: &TypedModel, node: &TypedNode, depth: usize) -> Result<Scores, String> {
    let [condition, chosen, other] = [node.inputs[0], node.inputs[1], node.inputs[2]];
    let (kept, operand, value) = match (scalar(model, chosen), scalar(model, other)) {
        (None, Some(value)) => (true, chosen, value),
        (Some(value), None) => (false, other, value),
        _ => return Err("masked scores are not replaced by one number".into()),
    };
    let mut found = followed(model, operand, depth - 1)?;
    if value > NEGLIGIBLE {
        return Err(format!("masked scores are replaced by {value}, which scores may come near to"));
    }
    found.masks.push(Mask::Replaced { condition, kept, value });
    Ok(found)
}

/// Query heads, and key and value heads.
pub type HeadCounts = (usize, usize);

/// The numbers of heads, or why the operands are not those of attention.
fn heads(model: &TypedModel, node: &TypedNode, scores: &Scores) -> TractResult<Result<HeadCounts, String>> {
    let several = scores.masks.len() > 1;
    let mut masks = Vec::new();
    for mask in &scores.masks {
        masks.push(match mask {
            Mask::Added(outlet) => *outlet,
            Mask::Replaced { value, .. } if several && *value > ABSORBING => {
                return Ok(Err(format!("masked scores are replaced by {value} and masked otherwise too")));
            }
            Mask::Replaced { condition, .. } => *condition,
        });
    }
    head_counts(model, [scores.query, scores.key, node.inputs[1]], scores.split.as_ref(), &masks)
}

/// The numbers of heads of a query, a transposed key and a value, whose scores are split before they are masked, or why
/// these are not those of attention.
pub fn head_counts(
    model: &TypedModel,
    operands: [OutletId; 3],
    split: Option<&Split>,
    masks: &[OutletId],
) -> TractResult<Result<HeadCounts, String>> {
    let shape = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.shape.to_tvec());
    let mut shapes = [shape(operands[0])?, shape(operands[1])?, shape(operands[2])?];
    if let Some(split) = split {
        let whole = split.iter().cloned().product::<TDim>();
        if shapes.iter().any(|shape| shape.len() != 3 || shape[0] != whole) {
            return Ok(Err("query, key and value do not share one batch that holds the heads".into()));
        }
        shapes = shapes.map(|shape| split.iter().chain(&shape[1..]).cloned().collect());
    } else if let [3, 3, 3] = [shapes[0].len(), shapes[1].len(), shapes[2].len()] {
        shapes.iter_mut().for_each(|shape| shape.insert(1, 1.to_dim()));
    }
    if shapes.iter().any(|shape| shape.len() != 4 || shape[0] != shapes[0][0]) {
        return Ok(Err("query, key and value do not have the same batch and three or four axes".into()));
    }
    let counts: Vec<_> = shapes.iter().filter_map(|shape| shape[1].to_usize().ok()).collect();
    let &[query, key, value] = &*counts else { return Ok(Err("the number of heads is not constant".into())) };
    if key != value || (key != query && key != 1) {
        return Ok(Err(format!("query, key and value have {query}, {key} and {value} heads")));
    }
    for mask in masks {
        let target = [&shapes[0][0], &shapes[0][1], &shapes[0][2], &shapes[1][3]];
        let mut mask = shape(*mask)?;
        if mask.len() == 3 {
            mask.insert(1, 1.to_dim());
        }
        let widens = |(dim, target): (&TDim, &&TDim)| *dim != 1.to_dim() && **target == 1.to_dim();
        if mask.len() != 4 || mask.iter().zip(&target).any(widens) {
            return Ok(Err(format!("a mask of shape {mask:?} is wider than the scores")));
        }
    }
    Ok(Ok((query, key)))
}

fn fused(
    model: &TypedModel,
    node: &TypedNode,
    scores: &Scores,
    (heads, kv_heads): HeadCounts,
    zero_when_all_masked: bool,
) -> TractResult<TypedModelPatch> {
    let mut patch = TypedModelPatch::default();
    let unfold = unfolding(model, scores.query, scores.split.as_ref())?;
    let mut operand = |name: &str, outlet: OutletId| {
        let tap = patch.tap_model(model, outlet)?;
        match &unfold {
            Some(unfold) => Ok(patch.wire_node(format!("{}.{name}", node.name), unfold.clone(), &[tap])?[0]),
            None => Ok::<_, TractError>(tap),
        }
    };
    let query = operand("query", scores.query)?;
    let transposed = operand("transposed key", scores.key)?;
    let value = operand("value", node.inputs[1])?;
    let key = patch.wire_node(format!("{}.key", node.name), AxisOp::Move(2, 3), &[transposed])?[0];
    let mut inputs = tvec!(query, key, value);
    if let Some(mask) = additive(model, &mut patch, &node.name, &scores.masks)? {
        let flat = patch.model.outlet_fact(mask)?.rank() == 3;
        let name = format!("{}.mask", node.name);
        inputs.push(if flat { patch.wire_node(name, AxisOp::Add(1), &[mask])?[0] } else { mask });
    }
    let operator = Attention {
        mask: !scores.masks.is_empty(),
        softcap: scores.softcap,
        zero_when_all_masked,
        ..Attention::new(heads, kv_heads, Some(scores.scale), HeadLayout::HeadMajor)
    };
    let mut outlet = patch.wire_node(&*node.name, operator, &inputs)?[0];
    if let Some(unfold) = unfold {
        outlet = patch.wire_node(format!("{}.folded", node.name), unfold.recip(), &[outlet])?[0];
    }
    patch.shunt_outside(model, OutletId::new(node.id, 0), outlet)?;
    Ok(patch)
}

/// What makes `[batch, heads, …]` of the operands, if they are not that already.
pub fn unfolding(model: &TypedModel, query: OutletId, split: Option<&Split>) -> TractResult<Option<AxisOp>> {
    if let Some(split) = split {
        return Ok(Some(AxisOp::Reshape(0, tvec!(split.iter().cloned().product()), split.clone())));
    }
    Ok((model.outlet_fact(query)?.rank() == 3).then_some(AxisOp::Add(1)))
}

/// One mask to add that does what all of them do.
fn additive(
    model: &TypedModel,
    patch: &mut TypedModelPatch,
    name: &str,
    masks: &[Mask],
) -> TractResult<Option<OutletId>> {
    // The outlet in the patch, and where the model has it already.
    let mut sum: Option<(OutletId, Option<OutletId>)> = None;
    for (number, mask) in masks.iter().enumerate() {
        let name = format!("{name}.mask.{number}");
        sum = Some(match (mask, sum) {
            (Mask::Added(outlet), None) => (patch.tap_model(model, *outlet)?, Some(*outlet)),
            (Mask::Added(outlet), Some((sum, known))) => {
                let existing = known.and_then(|known| shared(model, &add(), &[known, *outlet]));
                match existing {
                    Some(existing) => (patch.tap_model(model, existing)?, Some(existing)),
                    None => {
                        let outlet = patch.tap_model(model, *outlet)?;
                        (patch.wire_node(name, add(), &[sum, outlet])?[0], None)
                    }
                }
            }
            (Mask::Replaced { condition, kept, value }, sum) => {
                let ones = vec![1; model.outlet_fact(*condition)?.rank()];
                let condition = patch.tap_model(model, *condition)?;
                // The lowest number absorbs any score, and keeps rows that are masked everywhere uniform.
                let value = if *value > ABSORBING { f32::MIN } else { *value };
                let value = patch.add_const(format!("{name}.value"), Tensor::from_shape(&ones, &[value])?)?;
                let sum = match sum {
                    Some((sum, _)) => sum,
                    None => patch.add_const(format!("{name}.zero"), Tensor::from_shape(&ones, &[0f32])?)?,
                };
                let [chosen, other] = if *kept { [sum, value] } else { [value, sum] };
                (patch.wire_node(name, Iff, &[condition, chosen, other])?[0], None)
            }
        });
    }
    Ok(sum.map(|(sum, _)| sum))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use tract_core::ops::array::MultiBroadcastTo;
    use tract_core::ops::math::{div, is_nan, mul, tanh};

    /// What stands between the product of query and key and the softmax.
    #[derive(Clone, Copy)]
    enum Step {
        Scale(f32),
        Divide(f32),
        /// `[B, 1, S, S]`
        Mask,
        /// `[1, heads, S, S]`
        Bias,
        /// `Where(condition, scores, number)`
        Keep(f32),
        /// `Where(condition, number, scores)`
        Drop(f32),
        Tanh,
    }

    /// The softcap of 5.
    const CAP: [Step; 3] = [Step::Divide(5.0), Step::Tanh, Step::Scale(5.0)];

    struct Case {
        what: &'static str,
        steps: &'static [Step],
        expected: Expected,
    }

    const HEADS: usize = 4;
    const DIM: usize = 2;

    struct Operands {
        query: OutletId,
        key: OutletId,
        value: OutletId,
    }

    fn operands(sketch: &mut Sketch) -> Operands {
        let [query, key, value] = [(); 3].map(|()| sketch.input(&[0, 0, HEADS * DIM]));
        let [query, key, value] = [query, key, value].map(|operand| sketch.split_heads(operand, HEADS, DIM));
        Operands { query, key, value }
    }

    fn product(sketch: &mut Sketch, operands: &Operands) -> OutletId {
        let key = sketch.wire(AxisOp::Move(3, 2), &[operands.key]);
        sketch.wire(MatMul, &[operands.query, key])
    }

    fn step(sketch: &mut Sketch, scores: OutletId, step: Step) -> OutletId {
        match step {
            Step::Scale(factor) => {
                let factor = sketch.number(4, factor);
                sketch.wire(mul(), &[factor, scores])
            }
            Step::Divide(divisor) => {
                let divisor = sketch.number(4, divisor);
                sketch.wire(div(), &[scores, divisor])
            }
            Step::Mask => {
                let mask = sketch.input(&[0, 1, 0, 0]);
                sketch.wire(add(), &[scores, mask])
            }
            Step::Bias => {
                let bias = sketch.input(&[1, HEADS, 0, 0]);
                sketch.wire(add(), &[bias, scores])
            }
            Step::Keep(value) | Step::Drop(value) => {
                let condition = sketch.typed_input(bool::datum_type(), &[0, 1, 0, 0]);
                let value = sketch.number(4, value);
                let keeps = matches!(step, Step::Keep(_));
                let [chosen, other] = if keeps { [scores, value] } else { [value, scores] };
                sketch.wire(Iff, &[condition, chosen, other])
            }
            Step::Tanh => sketch.wire(tanh(), &[scores]),
        }
    }

    #[test]
    fn scales_and_masks() {
        use Expected::{Fused, Not};
        use Step::*;
        const INF: f32 = f32::INFINITY;
        let cases = [
            Case { what: "plain", steps: &[], expected: Fused },
            Case { what: "scaled", steps: &[Scale(0.5)], expected: Fused },
            Case { what: "divided and masked", steps: &[Divide(2.0), Mask], expected: Fused },
            Case { what: "bias and mask", steps: &[Bias, Mask], expected: Fused },
            Case { what: "rows masked everywhere, uniform", steps: &[Keep(f32::MIN)], expected: Fused },
            Case { what: "rows masked everywhere, NaN", steps: &[Scale(0.5), Drop(-INF)], expected: Fused },
            Case { what: "replaced by a low number alone", steps: &[Keep(-1e9)], expected: Fused },
            Case { what: "replaced, then masked", steps: &[Keep(f32::MIN), Mask], expected: Fused },
            Case { what: "masked, then replaced", steps: &[Mask, Drop(f32::MIN)], expected: Fused },
            Case {
                what: "replaced by a low number and masked",
                steps: &[Keep(-1e9), Mask],
                expected: Not("masked otherwise too"),
            },
            Case { what: "replaced by a near number", steps: &[Keep(-1e4)], expected: Not("may come near") },
            Case { what: "scaled after the mask", steps: &[Mask, Scale(0.5)], expected: Not("after a mask") },
            Case { what: "capped", steps: &[Scale(0.5), CAP[0], CAP[1], CAP[2], Mask], expected: Fused },
            Case {
                what: "capped after the mask",
                steps: &[Mask, CAP[0], CAP[1], CAP[2]],
                expected: Not("after a mask"),
            },
            Case { what: "a tangent alone", steps: &[Tanh], expected: Not("Tanh") },
            Case { what: "a tangent of the mask", steps: &[Mask, Tanh], expected: Not("Tanh") },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let operands = operands(&mut sketch);
            let product = product(&mut sketch, &operands);
            let scores = case.steps.iter().fold(product, |scores, next| step(&mut sketch, scores, *next));
            let probabilities = sketch.softmax(scores, 3);
            let output = sketch.wire(MatMul, &[probabilities, operands.value]);
            sketch.check(case.what, &[output], "attention", case.expected);
        }
    }

    #[test]
    fn what_surrounds_the_softmax() {
        use Expected::{Fused, Not};
        type Build = fn(&mut Sketch) -> Vec<OutletId>;
        fn guarded(sketch: &mut Sketch, replacement: f32) -> Vec<OutletId> {
            let operands = operands(sketch);
            let scores = product(sketch, &operands);
            let scores = step(sketch, scores, Step::Keep(f32::NEG_INFINITY));
            let probabilities = sketch.softmax(scores, 3);
            let tested = sketch.wire(is_nan(), &[probabilities]);
            let zero = sketch.number(4, replacement);
            let guarded = sketch.wire(Iff, &[tested, zero, probabilities]);
            vec![sketch.wire(MatMul, &[guarded, operands.value])]
        }
        fn softmax_over(sketch: &mut Sketch, axis: usize) -> (OutletId, OutletId) {
            let operands = operands(sketch);
            let scores = product(sketch, &operands);
            let probabilities = sketch.softmax(scores, axis);
            (probabilities, sketch.wire(MatMul, &[probabilities, operands.value]))
        }
        fn split_for_the_mask(sketch: &mut Sketch, swapped: bool) -> OutletId {
            let batch = sketch.dim("B");
            let split: TVec<TDim> = tvec!(batch.clone(), HEADS.to_dim());
            let whole: TVec<TDim> = tvec!(batch.clone() * HEADS);
            let operands = operands(sketch);
            let [query, key, value] = [operands.query, operands.key, operands.value]
                .map(|operand| sketch.wire(AxisOp::Reshape(0, split.clone(), whole.clone()), &[operand]));
            let key = sketch.wire(AxisOp::Move(2, 1), &[key]);
            let scores = sketch.wire(MatMul, &[query, key]);
            let scores = sketch.wire(AxisOp::Reshape(0, whole.clone(), split.clone()), &[scores]);
            let scores = step(sketch, scores, Step::Mask);
            let mut probabilities = sketch.softmax(scores, 3);
            let mut joined = split;
            if swapped {
                probabilities = sketch.wire(AxisOp::Move(0, 1), &[probabilities]);
                joined = tvec!(HEADS.to_dim(), batch);
            }
            let probabilities = sketch.wire(AxisOp::Reshape(0, joined, whole), &[probabilities]);
            sketch.wire(MatMul, &[probabilities, value])
        }
        let cases: [(&str, Build, Expected); 10] = [
            ("zeros in the place of NaN", |sketch| guarded(sketch, 0.0), Fused),
            ("ones in the place of NaN", |sketch| guarded(sketch, 1.0), Not("read by")),
            ("softmax over the queries", |sketch| vec![softmax_over(sketch, 2).1], Not("last axis")),
            (
                "probabilities that are an output",
                |sketch| {
                    let (probabilities, output) = softmax_over(sketch, 3);
                    vec![probabilities, output]
                },
                Not("an output or read elsewhere"),
            ),
            (
                "probabilities that multiply nothing",
                |sketch| vec![softmax_over(sketch, 3).0],
                Not("not multiplied with values"),
            ),
            (
                "one key head for all",
                |sketch| {
                    let query = sketch.input(&[0, HEADS, 0, DIM]);
                    let key = sketch.input(&[0, 1, DIM, 0]);
                    let value = sketch.input(&[0, 1, 0, DIM]);
                    let scores = sketch.wire(MatMul, &[query, key]);
                    let probabilities = sketch.softmax(scores, 3);
                    vec![sketch.wire(MatMul, &[probabilities, value])]
                },
                Fused,
            ),
            (
                "a batch of three axes",
                |sketch| {
                    let [query, key, value] = [(); 3].map(|()| sketch.input(&[0, 0, DIM]));
                    let key = sketch.wire(AxisOp::Move(2, 1), &[key]);
                    let scores = sketch.wire(MatMul, &[query, key]);
                    let probabilities = sketch.softmax(scores, 2);
                    vec![sketch.wire(MatMul, &[probabilities, value])]
                },
                Fused,
            ),
            (
                "a batch of three axes, masked",
                |sketch| {
                    let [query, key, value] = [(); 3].map(|()| sketch.input(&[0, 0, DIM]));
                    let (mask, condition) =
                        (sketch.input(&[0, 0, 0]), sketch.typed_input(bool::datum_type(), &[0, 0, 0]));
                    let key = sketch.wire(AxisOp::Move(2, 1), &[key]);
                    let scores = sketch.wire(MatMul, &[query, key]);
                    let scores = sketch.wire(add(), &[scores, mask]);
                    let lowest = sketch.number(3, f32::MIN);
                    let scores = sketch.wire(Iff, &[condition, scores, lowest]);
                    let probabilities = sketch.softmax(scores, 2);
                    vec![sketch.wire(MatMul, &[probabilities, value])]
                },
                Fused,
            ),
            ("heads in the batch, split for the mask", |sketch| vec![split_for_the_mask(sketch, false)], Fused),
            (
                "heads in the batch, in another order",
                |sketch| vec![split_for_the_mask(sketch, true)],
                Not("read by MoveAxis"),
            ),
        ];
        for (what, build, expected) in cases {
            let mut sketch = Sketch::new();
            let outputs = build(&mut sketch);
            sketch.check(what, &outputs, "attention", expected);
        }
    }

    #[test]
    fn layouts_are_taken_in() {
        let mut sketch = Sketch::new();
        let [packed, key, value] = [HEADS, 2, 2].map(|heads| sketch.input(&[0, 0, heads * DIM]));
        let factor = sketch.number(3, 0.5);
        let query = sketch.wire(mul(), &[packed, factor]);
        let query = sketch.split_heads(query, HEADS, DIM);
        let [batch, length] = [sketch.dim("B"), sketch.dim("S")];
        let repeated = [key, value].map(|operand| {
            let operand = sketch.split_heads(operand, 2, DIM);
            let operand = sketch.wire(AxisOp::Add(2), &[operand]);
            let shape = tvec!(batch.clone(), 2.to_dim(), 2.to_dim(), length.clone(), DIM.to_dim());
            let operand = sketch.wire(MultiBroadcastTo { shape: shape.into() }, &[operand]);
            sketch.wire(AxisOp::Reshape(1, tvec!(2.to_dim(), 2.to_dim()), tvec!(4.to_dim())), &[operand])
        });
        let operands = Operands { query, key: repeated[0], value: repeated[1] };
        let scores = product(&mut sketch, &operands);
        let probabilities = sketch.softmax(scores, 3);
        let output = sketch.wire(MatMul, &[probabilities, operands.value]);
        let output = sketch.wire(AxisOp::Move(1, 2), &[output]);
        let output = sketch
            .wire(AxisOp::Reshape(2, tvec!(HEADS.to_dim(), DIM.to_dim()), tvec!((HEADS * DIM).to_dim())), &[output]);
        sketch.check("layouts", &[output], "attention layout", Expected::Fused);
    }
}
