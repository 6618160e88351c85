//! SiLU written out: `x · sigmoid(x)`.
//! Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation".

use super::Match;
use super::pattern::{binary, replace, sole_reader, unary};
use crate::kernels::activation::Activation;
use crate::ops::Activate;
use tract_onnx::tract_hir::internal::*;

/// Looks for the sigmoid.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(x) = unary(node, "Sigmoid") else { return Ok(Match::None) };
    let product = sole_reader(model, node).and_then(|reader| Some((reader, binary(reader, "Mul")?)));
    let Some((product, [left, right])) = product else { return Ok(Match::None) };
    let other = if left.node == node.id { right } else { left };
    if other != x || model.outlet_fact(x)?.datum_type != f32::datum_type() {
        return Ok(Match::None);
    }
    let silu = Activate(Activation::Silu);
    Ok(Match::Found(replace(model, &product.name, silu, &[x], OutletId::new(product.id, 0))?))
}
