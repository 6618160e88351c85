//! The exact GELU written out: `x · 0.5 · (1 + erf(x / √2))`, its factors in any order.
//! Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)".

use super::Match;
use super::pattern::{binary, close, producer, replace, scaled, sole_reader, unary, with_scalar};
use crate::kernels::activation::Activation;
use crate::ops::Activate;
use tract_onnx::tract_hir::internal::*;

/// Looks for the error function.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(argument) = unary(node, "Erf") else { return Ok(Match::None) };
    let Some((x, _)) = scaled(model, argument).filter(|(_, factor)| close(*factor, std::f32::consts::FRAC_1_SQRT_2))
    else {
        return Ok(Match::Almost("the argument of erf is not x / √2".into()));
    };
    let Some(last) = last_product(model, node, x) else {
        return Ok(Match::Almost("erf is not followed by + 1 and the factors x and 0.5".into()));
    };
    let patch = replace(model, &last.name, Activate(Activation::Gelu), &[x], OutletId::new(last.id, 0))?;
    Ok(Match::Found(patch))
}

/// The node that multiplies the last of the factors `1 + erf(…)`, `x` and `0.5`.
fn last_product<'a>(model: &'a TypedModel, erf: &TypedNode, x: OutletId) -> Option<&'a TypedNode> {
    let sum = sole_reader(model, erf)?;
    with_scalar(model, sum, "Add").filter(|(_, one)| *one == 1.0)?;
    let first = sole_reader(model, sum)?;
    if is_half(model, first) {
        let second = sole_reader(model, first)?;
        return (other_factor(second, first) == Some(x)).then_some(second);
    }
    let other = other_factor(first, sum)?;
    if other == x {
        return sole_reader(model, first).filter(|second| is_half(model, second));
    }
    let half_x = producer(model, other);
    (is_half(model, half_x) && scaled(model, other)?.0 == x).then_some(first)
}

fn is_half(model: &TypedModel, node: &TypedNode) -> bool {
    scaled(model, OutletId::new(node.id, 0)).is_some_and(|(_, factor)| factor == 0.5)
}

fn other_factor(product: &TypedNode, factor: &TypedNode) -> Option<OutletId> {
    let [left, right] = binary(product, "Mul")?;
    Some(if left.node == factor.id { right } else { left })
}
