//! LayerNormalization written out, as exporters do below opset 17:
//! `(x - mean(x)) / sqrt(mean((x - mean(x))²) + epsilon) · gamma + beta`.

use super::Match;
use super::pattern::{binary, producer, replace, same_shape, scalar, sole_reader, unary, with_scalar};
use crate::ops::{LayerNorm, Shared, f32_slice};
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::nn::{Reduce, Reducer};

/// Looks for the quotient of deviations and their root mean square.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some((x, epsilon)) = normalised(model, node) else { return Ok(Match::None) };
    let width = model.outlet_fact(x)?.shape.last().and_then(|width| width.to_usize().ok());
    let scaled = sole_reader(model, node).and_then(|reader| Some((reader, vector(model, reader, "Mul", node, width)?)));
    let Some((scaled, gamma)) = scaled else {
        return Ok(Match::Almost("the normalised rows are not multiplied by a constant vector".into()));
    };
    let shifted =
        sole_reader(model, scaled).and_then(|reader| Some((reader, vector(model, reader, "Add", scaled, width)?)));
    let (last, beta) = shifted.map_or((scaled, None), |(reader, beta)| (reader, Some(Shared::new(beta))));
    let norm = LayerNorm { gamma: Shared::new(gamma), beta, epsilon };
    Ok(Match::Found(replace(model, &last.name, norm, &[x], OutletId::new(last.id, 0))?))
}

/// The operand and the epsilon of a division that normalises rows.
fn normalised(model: &TypedModel, node: &TypedNode) -> Option<(OutletId, f32)> {
    let [deviation, divisor] = binary(node, "Div")?;
    let [x, mean] = binary(producer(model, deviation), "Sub")?;
    let root = unary(producer(model, divisor), "Sqrt")?;
    let (variance, epsilon) = with_scalar(model, producer(model, root), "Add")?;
    let square = producer(model, mean_of(model, variance)?);
    let squared = match (with_power(model, square), binary(square, "Mul")) {
        (Some(base), _) => base,
        (None, Some([left, right])) if left == right => left,
        _ => return None,
    };
    (squared == deviation && mean_of(model, mean)? == x && same_shape(model, x, deviation)).then_some((x, epsilon))
}

/// The operand of a squaring.
fn with_power(model: &TypedModel, node: &TypedNode) -> Option<OutletId> {
    if let Some(base) = unary(node, "Square") {
        return Some(base);
    }
    let [base, exponent] = binary(node, "Pow")?;
    (scalar(model, exponent) == Some(2.0)).then_some(base)
}

/// The operand of a mean over the last axis, which tract writes as a sum divided by the size.
fn mean_of(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let [sum, size] = binary(producer(model, outlet), "Div")?;
    let sum = producer(model, sum);
    let reduce = sum.op_as::<Reduce>().filter(|reduce| reduce.reducer == Reducer::Sum)?;
    let shape = &model.outlet_fact(sum.inputs[0]).ok()?.shape;
    let last = shape.rank().checked_sub(1)?;
    let whole = shape[last].to_usize().ok().map(|width| width as f32) == scalar(model, size);
    (*reduce.axes == [last] && whole).then(|| sum.inputs[0])
}

/// The constant vector of that width with which a node combines the other node's rows.
fn vector(
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    other: &TypedNode,
    width: Option<usize>,
) -> Option<Vec<f32>> {
    let [left, right] = binary(node, name)?;
    let outlet = if left.node == other.id { right } else { left };
    let constant = model.outlet_fact(outlet).ok()?.konst.clone()?;
    let fits = constant.shape().last().copied() == width && Some(constant.volume()) == width;
    let keeps_shape = same_shape(model, OutletId::new(node.id, 0), OutletId::new(other.id, 0));
    if fits && keeps_shape { f32_slice(&constant).ok().map(<[f32]>::to_vec) } else { None }
}
