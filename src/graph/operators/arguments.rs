//! Reading a node's attributes and those inputs that must be constant.

use super::{attribute, constant};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// A list of integers.
pub fn ints(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    attribute(node, name).map(|attribute| attribute.ints.clone())
}

/// A list of floats.
pub fn floats(node: &NodeProto, name: &str) -> Option<Vec<f32>> {
    attribute(node, name).map(|attribute| attribute.floats.clone())
}

/// A string.
pub fn string(node: &NodeProto, name: &str, default: &str) -> String {
    attribute(node, name).map_or_else(|| default.into(), |found| String::from_utf8_lossy(&found.s).into_owned())
}

/// An axis counted from the start.
pub fn axis(axis: i64, rank: usize) -> TractResult<usize> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    ensure!((0..rank as i64).contains(&from_start), "axis {axis} of a tensor of rank {rank}");
    Ok(from_start as usize)
}

/// The integers behind an outlet.
///
/// # Errors
/// A plain error where they are not constant, so that the node can be wired when they are known.
pub fn constant_ints(model: &TypedModel, outlet: OutletId, what: &str) -> TractResult<Vec<i64>> {
    let tensor = constant(model, outlet)?.with_context(|| format!("{what} is not constant"))?;
    crate::ops::integers(&tensor)
}

/// The float32 values behind an outlet.
///
/// # Errors
/// As for [`constant_ints`].
pub fn constant_floats(model: &TypedModel, outlet: OutletId, what: &str) -> TractResult<Vec<f32>> {
    let tensor = constant(model, outlet)?.with_context(|| format!("{what} is not constant"))?;
    Ok(tensor.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}
