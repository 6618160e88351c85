//! A matrix product over an axis of one element multiplies element by element: the angles of rotary embeddings are written so.

use super::Match;
use super::pattern::replace;
use crate::ops::MatMul;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::math::mul;

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
