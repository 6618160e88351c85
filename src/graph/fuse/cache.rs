//! A cache of keys or values written out: `Concat(past, new)` over the positions of `[batch, heads, seq, dim]`, where `past` is
//! an input of the model.

use super::Match;
use super::axes::heads;
use super::pattern::producer;
use crate::ops::AppendToCache;
use tract_core::internal::*;
use tract_core::ops::array::TypedConcat;
use tract_core::ops::source::TypedSource;

/// Looks for the concatenation.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let (Some(concat), &[past, new]) = (node.op_as::<TypedConcat>(), &node.inputs[..]) else { return Ok(Match::None) };
    let fact = model.outlet_fact(past)?;
    let is_cache = concat.axis == 2 && fact.rank() == 4 && fact.datum_type == f32::datum_type();
    if !is_cache || !producer(model, past).op_is::<TypedSource>() {
        return Ok(Match::None);
    }
    let Ok(count) = model.outlet_fact(new)?.shape[1].to_usize() else { return Ok(Match::None) };
    let unchanged = heads(model, new)?.into_iter().rfind(|heads| heads.repeats == 1 && heads.factor == 1.0);
    let Some(new) = unchanged else { return Ok(Match::None) };
    let append = AppendToCache { heads: count, layout: new.layout, columns: None, past: true, buffer: None };
    Ok(Match::Found(Box::new(TypedModelPatch::replace_single_op(model, node, &[new.outlet, past], append)?)))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use tract_core::ops::math::{mul, neg};

    #[test]
    fn concatenations() {
        struct Case {
            what: &'static str,
            axis: usize,
            /// Whether the past is an input of the model as it is.
            input: bool,
            /// Whether the new tokens come with the heads side by side.
            packed: bool,
            /// What is done with the result.
            then: fn(&mut Sketch, OutletId) -> OutletId,
            expected: Expected,
        }
        let plain = |what, axis, input, packed, expected| Case {
            what,
            axis,
            input,
            packed,
            then: |_, present| present,
            expected,
        };
        let then = |what, then| Case { what, axis: 2, input: true, packed: false, then, expected: Expected::Fused };
        let cases = [
            plain("new tokens with their heads in front", 2, true, false, Expected::Fused),
            plain("new tokens with their heads side by side", 2, true, true, Expected::Fused),
            plain("over another axis", 3, true, false, Expected::Not("")),
            plain("a past that was computed", 2, false, false, Expected::Not("")),
            then("negated in place", |sketch, present| sketch.wire(neg(), &[present])),
            then("multiplied in place", |sketch, present| {
                let factor = sketch.number(4, 0.5);
                sketch.wire(mul(), &[present, factor])
            }),
            then("a softmax of it", |sketch, present| sketch.softmax(present, 3)),
            then("an axis in front", |sketch, present| sketch.wire(AxisOp::Add(0), &[present])),
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let mut past = sketch.input(&[0, 2, 0, 4]);
            if !case.input {
                past = sketch.wire(neg(), &[past]);
            }
            let new = if case.packed {
                let new = sketch.input(&[0, 0, 8]);
                sketch.split_heads(new, 2, 4)
            } else {
                sketch.input(&[0, 2, 0, 4])
            };
            let present = sketch.wire(TypedConcat { axis: case.axis }, &[past, new]);
            let output = (case.then)(&mut sketch, present);
            sketch.check(case.what, &[output], "cache", case.expected);
        }
    }
}
