//! What follows a `Linear`: the addition of a bias, an activation, the addition of a residual.

use super::Match;
use super::pattern::{binary, replace, same_shape, sole_reader};
use crate::kernels::activation::Activation;
use crate::ops::{Activate, Linear, Shared, f32_slice};
use tract_onnx::tract_hir::internal::*;

/// Looks for a `Linear` whose only reader can be taken into it.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(linear) = node.op_as::<Linear>().filter(|linear| !linear.residual) else { return Ok(Match::None) };
    let Some(reader) = sole_reader(model, node) else { return Ok(Match::None) };
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

/// The constant vector that is added to every row, where that comes before bias, activation and residual.
fn bias(model: &TypedModel, linear: &Linear, outlet: OutletId) -> TractResult<Option<Vec<f32>>> {
    let Some(constant) = model.outlet_fact(outlet)?.konst.clone() else { return Ok(None) };
    let columns = linear.weights.outputs();
    let vector = constant.shape().last() == Some(&columns) && constant.volume() == columns;
    let free = linear.bias.is_none() && linear.activation == Activation::Identity;
    Ok(if vector && free { Some(f32_slice(&constant)?.to_vec()) } else { None })
}
