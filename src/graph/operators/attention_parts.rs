//! What the attention operators are wired from.

use super::{float, int, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::array::{MultiBroadcastTo, Slice, TypedConcat};
use tract_core::ops::cast::cast;

/// An attribute that counts something; 0 where it is missing.
pub fn count(node: &NodeProto, name: &str) -> TractResult<usize> {
    usize::try_from(int(node, name, 0)).ok().with_context(|| format!("`{name}` is negative or too large"))
}

/// An attribute that counts heads.
pub fn heads(node: &NodeProto, name: &str) -> TractResult<usize> {
    let heads = count(node, name)?;
    ensure!(heads > 0, "`{name}` is missing or zero");
    Ok(heads)
}

/// An attribute that is 0 or 1.
pub fn flag(node: &NodeProto, name: &str) -> TractResult<bool> {
    match int(node, name, 0) {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(unsupported(format!("`{name}` is {other}"))),
    }
}

/// `scale` as com.microsoft's operators have it: 0 stands for the default.
pub fn scale(node: &NodeProto) -> Option<f32> {
    float(node, "scale").filter(|scale| *scale != 0.0)
}

/// How many outputs are wanted; those that are not must be the last ones.
pub fn count_outputs(node: &NodeProto) -> TractResult<usize> {
    let wanted = node.output.iter().filter(|name| !name.is_empty()).count();
    let leading = node.output.iter().take_while(|name| !name.is_empty()).count();
    if wanted == leading { Ok(wanted) } else { Err(unsupported("an output in the middle is left out")) }
}

/// The dimensions of an outlet.
pub fn shape(model: &TypedModel, outlet: OutletId) -> TractResult<TVec<TDim>> {
    Ok(model.outlet_fact(outlet)?.shape.to_tvec())
}

/// Wires one node with one output, under a name of its own.
pub fn wire(
    prefix: &str,
    part: &str,
    model: &mut TypedModel,
    operator: impl Into<Box<dyn TypedOp>>,
    inputs: &[OutletId],
) -> TractResult<OutletId> {
    let name = model.unique_name(format!("{prefix}.{part}"));
    Ok(model.wire_node(name, operator, inputs)?[0])
}

/// Elements `start..end` along an axis.
pub fn slice(
    prefix: &str,
    model: &mut TypedModel,
    outlet: OutletId,
    axis: usize,
    start: TDim,
    end: TDim,
) -> TractResult<OutletId> {
    wire(prefix, "slice", model, Slice { axis, start, end }, &[outlet])
}

/// Consecutive pieces of these sizes along an axis.
pub fn split(
    prefix: &str,
    model: &mut TypedModel,
    outlet: OutletId,
    axis: usize,
    sizes: &[TDim],
) -> TractResult<TVec<OutletId>> {
    let mut start = 0.to_dim();
    let mut pieces = tvec!();
    for size in sizes {
        let end = start.clone() + size;
        pieces.push(slice(prefix, model, outlet, axis, start, end.clone())?);
        start = end;
    }
    Ok(pieces)
}

/// One behind the other along an axis.
pub fn concat(prefix: &str, model: &mut TypedModel, axis: usize, pieces: &[OutletId]) -> TractResult<OutletId> {
    wire(prefix, "concat", model, TypedConcat { axis }, pieces)
}

/// As int64.
pub fn int64(prefix: &str, model: &mut TypedModel, outlet: OutletId) -> TractResult<OutletId> {
    wire(prefix, "int64", model, cast(i64::datum_type()), &[outlet])
}

/// A size as an int64 tensor `[1]`.
pub fn size(prefix: &str, model: &mut TypedModel, size: &TDim) -> TractResult<OutletId> {
    if let Ok(size) = size.to_i64() {
        return model.add_const(model.unique_name(format!("{prefix}.size")), tensor1(&[size]));
    }
    let symbolic = model.add_const(model.unique_name(format!("{prefix}.size")), tensor1(std::slice::from_ref(size)))?;
    int64(prefix, model, symbolic)
}

/// One number where the condition holds, another where it does not.
pub fn choose(
    prefix: &str,
    model: &mut TypedModel,
    condition: OutletId,
    kept: f32,
    masked: f32,
) -> TractResult<OutletId> {
    use tract_core::ops::logic::Iff;
    let shape = vec![1; model.outlet_fact(condition)?.rank()];
    let [kept, masked] = [("kept", kept), ("masked", masked)].map(|(name, value)| {
        let constant = Tensor::from_shape(&shape, &[value])?;
        model.add_const(model.unique_name(format!("{prefix}.{name}")), constant)
    });
    wire(prefix, "mask", model, Iff, &[condition, kept?, masked?])
}

/// A mask whose last axis is shorter than `keys` filled up with minus infinity.
pub fn fill_mask(prefix: &str, model: &mut TypedModel, mask: OutletId, keys: &TDim) -> TractResult<OutletId> {
    let mut missing = shape(model, mask)?;
    let Some(last) = missing.last_mut() else { return Ok(mask) };
    *last = keys.clone() - &*last;
    if *last == 0.to_dim() {
        return Ok(mask);
    }
    let one = Tensor::from_shape(&vec![1; missing.len()], &[f32::NEG_INFINITY])?;
    let one = model.add_const(model.unique_name(format!("{prefix}.minus_infinity")), one)?;
    let axis = missing.len() - 1;
    let filling = wire(prefix, "filling", model, MultiBroadcastTo { shape: missing.into() }, &[one])?;
    concat(prefix, model, axis, &[mask, filling])
}
