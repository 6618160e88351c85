//! A matrix product over an axis of one element multiplies element by element: the angles of rotary embeddings are written so.

use super::Match;
use super::pattern::replace;
use crate::ops::MatMul;
use tract_core::internal::*;
use tract_core::ops::math::mul;

/// Looks for a product of a column and a row of the same rank.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if !node.op_is::<MatMul>() {
        return Ok(Match::None);
    }
    let [left, right] = [model.outlet_fact(node.inputs[0])?, model.outlet_fact(node.inputs[1])?];
    if left.rank() != right.rank() || left.shape.last() != Some(&1.to_dim()) {
        return Ok(Match::None);
    }
    Ok(Match::Found(replace(model, &node.name, mul(), &node.inputs, OutletId::new(node.id, 0))?))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use crate::ops::MatMul;

    #[test]
    fn columns_and_rows() {
        struct Case {
            what: &'static str,
            left: &'static [usize],
            right: &'static [usize],
            expected: Expected,
        }
        let cases = [
            Case { what: "a column and a row", left: &[0, 4, 1], right: &[0, 1, 5], expected: Expected::Fused },
            Case { what: "one column for all", left: &[1, 4, 1], right: &[0, 1, 0], expected: Expected::Fused },
            Case { what: "two columns", left: &[0, 4, 2], right: &[0, 2, 5], expected: Expected::Not("") },
            Case { what: "other ranks", left: &[4, 1], right: &[0, 1, 5], expected: Expected::Not("") },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let (left, right) = (sketch.input(case.left), sketch.input(case.right));
            let output = sketch.wire(MatMul, &[left, right]);
            sketch.check(case.what, &[output], "outer product", case.expected);
        }
    }
}
