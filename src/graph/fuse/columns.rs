//! Queries, keys or values cut out of one product, where what reads them can read them from there.

use super::Match;
use super::pattern::{producer, replace};
use crate::ops::{AppendToCache, Columns, HeadLayout, RotaryEmbedding};
use tract_core::internal::*;
use tract_core::ops::array::Slice;

/// Looks for a rotation, or new tokens of a cache, of some columns of a tensor.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if let Some(rotary) = node.op_as::<RotaryEmbedding>().filter(|rotary| rotary.layout == HeadLayout::Packed) {
        let operator = |columns| RotaryEmbedding { columns: Some(columns), ..rotary.clone() };
        return read_from_whole(model, node, rotary.columns, operator);
    }
    if let Some(append) = node.op_as::<AppendToCache>().filter(|append| append.layout == HeadLayout::Packed) {
        let operator = |columns| AppendToCache { columns: Some(columns), ..append.clone() };
        return read_from_whole(model, node, append.columns, operator);
    }
    Ok(Match::None)
}

fn read_from_whole<O: TypedOp>(
    model: &TypedModel,
    node: &TypedNode,
    columns: Option<Columns>,
    operator: impl Fn(Columns) -> O,
) -> TractResult<Match> {
    let part = producer(model, node.inputs[0]);
    let Some(slice) = part.op_as::<Slice>().filter(|_| columns.is_none()) else { return Ok(Match::None) };
    let whole = model.outlet_fact(part.inputs[0])?;
    let width_is_known = whole.rank() == 3 && whole.shape[2].to_usize().is_ok();
    let (Ok(first), Ok(end), true) = (slice.start.to_usize(), slice.end.to_usize(), width_is_known && slice.axis == 2)
    else {
        return Ok(Match::None);
    };
    let mut inputs = node.inputs.clone();
    inputs[0] = part.inputs[0];
    let operator = operator(Columns { first, count: end - first });
    Ok(Match::Found(replace(model, &node.name, operator, &inputs, OutletId::new(node.id, 0))?))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use crate::ops::Positions;

    #[test]
    fn parts_of_a_product() {
        use Expected::{Fused, Not};
        // The axis that is cut, and the size of the last axis, where 0 is any.
        for (axis, width, expected) in [(2, 6, Fused), (1, 4, Not("")), (2, 0, Not(""))] {
            let mut sketch = Sketch::new();
            let whole = sketch.input(&[0, 8, width]);
            let part = sketch.wire(Slice::new(axis, 1, 3), &[whole]);
            let append =
                AppendToCache { heads: 2, layout: HeadLayout::Packed, columns: None, past: false, buffer: None };
            let present = sketch.wire(append, &[part]);
            sketch.check(&format!("keys, axis {axis} of {width}"), &[present], "columns", expected);
        }
    }

    #[test]
    fn a_rotation() {
        for (layout, expected) in
            [(HeadLayout::Packed, Expected::Fused), (HeadLayout::PositionMajor, Expected::Not(""))]
        {
            let mut sketch = Sketch::new();
            let packed = layout == HeadLayout::Packed;
            let whole = if packed { sketch.input(&[2, 8, 12]) } else { sketch.input(&[2, 8, 12, 4]) };
            let part = sketch.wire(Slice::new(2, 4, 8), &[whole]);
            let caches = [(); 2].map(|()| sketch.input(&[2, 8, 2]));
            let positions = Positions::InOrder;
            let rotary = RotaryEmbedding { heads: None, layout, columns: None, interleaved: false, positions };
            let rotated = sketch.wire(rotary, &[part, caches[0], caches[1]]);
            sketch.check(&format!("{layout:?}"), &[rotated], "columns", expected);
        }
    }
}
