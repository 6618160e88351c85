//! What follows a `Linear`: the addition of a bias, an activation, the addition of a residual; and the reshapes around it that
//! make one matrix of several, which it does not need.

use super::Match;
use super::pattern::{binary, producer, replace, same_shape, sole_reader};
use crate::kernels::activation::Activation;
use crate::ops::{Activate, Linear, Shared, f32_slice};
use tract_onnx::tract_hir::internal::*;

/// Looks for a `Linear` whose only reader can be taken into it.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(linear) = node.op_as::<Linear>().filter(|linear| !linear.residual) else { return Ok(Match::None) };
    let Some(reader) = sole_reader(model, node) else { return Ok(Match::None) };
    if let Some(AxisOp::Reshape(..)) = reader.op_as() {
        return unfolded(model, node, linear, reader);
    }
    let mut inputs = node.inputs.clone();
    let extended = if let Some(Activate(activation)) = reader.op_as::<Activate>() {
        if linear.activation != Activation::Identity {
            return Ok(Match::None);
        }
        Linear { activation: *activation, ..linear.clone() }
    } else if let Some([left, right]) = binary(reader, "Add") {
        let other = if left.node == node.id { right } else { left };
        if !same_shape(model, OutletId::new(node.id, 0), OutletId::new(reader.id, 0)) || left == right {
            return Ok(Match::None);
        }
        if let Some(bias) = bias(model, linear, other)? {
            Linear { bias: Some(Shared::new(bias)), ..linear.clone() }
        } else if same_shape(model, other, OutletId::new(node.id, 0)) {
            inputs.push(other);
            Linear { residual: true, ..linear.clone() }
        } else {
            return Ok(Match::None);
        }
    } else {
        return Ok(Match::None);
    };
    Ok(Match::Found(replace(model, &reader.name, extended, &inputs, OutletId::new(reader.id, 0))?))
}

/// `Linear` of rows that are folded before it and unfolded behind it.
fn unfolded(model: &TypedModel, node: &TypedNode, linear: &Linear, behind: &TypedNode) -> TractResult<Match> {
    let before = producer(model, node.inputs[0]);
    let (Some(AxisOp::Reshape(0, from, to)), Some(AxisOp::Reshape(0, back_from, back_to))) =
        (before.op_as(), behind.op_as())
    else {
        return Ok(Match::None);
    };
    let x = before.inputs[0];
    let rows_only = model.outlet_fact(x)?.rank() == from.len() + 1;
    if !rows_only || (from, to) != (back_to, back_from) {
        return Ok(Match::None);
    }
    Ok(Match::Found(replace(model, &node.name, linear.clone(), &[x], OutletId::new(behind.id, 0))?))
}

/// The constant vector that is added to every row, where that comes before bias, activation and residual.
fn bias(model: &TypedModel, linear: &Linear, outlet: OutletId) -> TractResult<Option<Vec<f32>>> {
    let Some(constant) = model.outlet_fact(outlet)?.konst.clone() else { return Ok(None) };
    let columns = linear.weights.outputs();
    let vector = constant.shape().last() == Some(&columns) && constant.volume() == columns;
    let free = linear.bias.is_none() && linear.activation == Activation::Identity;
    Ok(if vector && free { Some(f32_slice(&constant)?.to_vec()) } else { None })
}
