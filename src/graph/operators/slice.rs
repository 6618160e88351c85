//! ONNX `Slice` (1 to 13), any type.
//!
//! Inputs: `data`, `starts`, `ends`, `axes` and `steps` (attributes below opset 10); `axes` and `steps` constant. A constant bound of a
//! symbolic axis must lie within it; the other bounds stop at its ends.

use super::{Wiring, arguments, constant, input, only_attributes};
use crate::graph::builder::fresh_symbol;
use crate::onnx::pb::NodeProto;
use crate::ops::resolve;
use tract_core::internal::*;
use tract_core::ops::{array, downsample::Downsample, identity::Identity};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub enum Slice {
    /// With constant bounds and axes.
    Attributes {
        /// First elements.
        starts: Vec<i64>,
        /// Elements before which the slice ends.
        ends: Vec<i64>,
        /// The sliced axes; the first ones where they are not given.
        axes: Option<Vec<i64>>,
    },
    /// With bounds and axes as inputs.
    Inputs {
        /// The input that holds the axes.
        axes: Option<usize>,
        /// The input that holds the steps.
        steps: Option<usize>,
    },
}

/// From this bound on a slice goes to the end, whatever its size.
const OPEN: i64 = i32::MAX as i64;

impl Wiring for Slice {
    const OPERATOR: &'static str = "Slice";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        if opset < 10 {
            only_attributes(node, &["axes", "ends", "starts"])?;
            let bounds = |name| arguments::ints(node, name).with_context(|| format!("there are no {name}"));
            return Ok(Slice::Attributes {
                starts: bounds("starts")?,
                ends: bounds("ends")?,
                axes: arguments::ints(node, "axes"),
            });
        }
        only_attributes(node, &[])?;
        ensure!(input(node, 1).is_some() && input(node, 2).is_some(), "starts or ends are missing");
        Ok(Slice::Inputs { axes: input(node, 3), steps: input(node, 4) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        match self {
            Slice::Attributes { starts, ends, axes } => {
                let axes = axes.clone().unwrap_or_else(|| (0..starts.len() as i64).collect());
                let (starts, ends, axes) = (to_dims(starts), to_dims(ends), from_start(&axes, rank)?);
                constant_bounds(prefix, model, inputs[0], &starts, &ends, &axes, &vec![1; axes.len()])
            }
            Slice::Inputs { axes, steps } => {
                let given = |model: &TypedModel, which: Option<usize>, what| {
                    which.map(|which| arguments::constant_ints(model, inputs[which], what)).transpose()
                };
                let count = model.outlet_fact(inputs[1])?.shape.volume().to_usize()?;
                let axes = given(model, *axes, "axes")?.unwrap_or_else(|| (0..count as i64).collect());
                let axes = from_start(&axes, rank)?;
                let steps = given(model, *steps, "steps")?.unwrap_or_else(|| vec![1; count]);
                ensure!(axes.len() == count && steps.len() == count, "{axes:?} by {steps:?} of {count} axes");
                match (constant(model, inputs[1])?, constant(model, inputs[2])?) {
                    (Some(starts), Some(ends)) => {
                        let (starts, ends) = (bounds(&starts)?, bounds(&ends)?);
                        constant_bounds(prefix, model, inputs[0], &starts, &ends, &axes, &steps)
                    }
                    _ => {
                        let lengths = axes.iter().map(|_| fresh_symbol(&model.symbols, "slice").to_dim()).collect();
                        model.wire_node(prefix, crate::ops::Slice { axes, steps, lengths }, &inputs[..3])
                    }
                }
            }
        }
    }
}

fn from_start(axes: &[i64], rank: usize) -> TractResult<Vec<usize>> {
    axes.iter().map(|axis| arguments::axis(*axis, rank)).collect()
}

fn constant_bounds(
    prefix: &str,
    model: &mut TypedModel,
    x: OutletId,
    starts: &[TDim],
    ends: &[TDim],
    axes: &[usize],
    steps: &[i64],
) -> TractResult<TVec<OutletId>> {
    ensure!(starts.len() == axes.len() && ends.len() == axes.len(), "{starts:?} to {ends:?} of {axes:?}");
    let mut outlet = x;
    for (position, axis) in axes.iter().enumerate() {
        let (start, end, step) = (&starts[position], &ends[position], steps[position]);
        let size = model.outlet_fact(outlet)?.shape[*axis].clone();
        let (Ok(start), Ok(end)) = (start.to_i64(), end.to_i64()) else {
            let (first, beyond) = symbolic_bounds(&size, start, end, step)?;
            outlet = sliced(prefix, model, outlet, *axis, (first, beyond), step)?;
            continue;
        };
        if size.to_usize().is_err() && step != 1 {
            let lengths = vec![strided_length(model, &size, start, end, step)];
            let start = model.add_const(format!("{prefix}.start_{axis}"), tensor1(&[start]))?;
            let end = model.add_const(format!("{prefix}.end_{axis}"), tensor1(&[end]))?;
            let slice = crate::ops::Slice { axes: vec![*axis], steps: vec![step], lengths };
            outlet = model.wire_node(format!("{prefix}.axis_{axis}"), slice, &[outlet, start, end])?[0];
            continue;
        }
        let (first, beyond) = match size.to_usize() {
            Ok(size) => {
                let (first, count) = resolve(size, start, end, step)?;
                let last = (first as i64 + (count as i64 - 1) * step) as usize;
                match count {
                    0 => (0.to_dim(), 0.to_dim()),
                    _ => (first.min(last).to_dim(), (first.max(last) + 1).to_dim()),
                }
            }
            Err(_) => symbolic(&size, start, end),
        };
        outlet = sliced(prefix, model, outlet, *axis, (first, beyond), step)?;
    }
    model.wire_node(prefix, Identity, &[outlet])
}

/// Every `step`-th element of a range of an axis; from its end where the step is negative.
fn sliced(
    prefix: &str,
    model: &mut TypedModel,
    x: OutletId,
    axis: usize,
    (first, beyond): (TDim, TDim),
    step: i64,
) -> TractResult<OutletId> {
    let slice = array::Slice::new(axis, first, beyond);
    let slice = model.wire_node(format!("{prefix}.axis_{axis}"), slice, &[x])?[0];
    if step == 1 {
        return Ok(slice);
    }
    let downsample = Downsample::new(axis, step as isize, 0);
    Ok(model.wire_node(format!("{prefix}.step_{axis}"), downsample, &[slice])?[0])
}

/// The bounds that a constant holds. tract cuts integers to 32 bits when it casts them to sizes.
fn bounds(constant: &Tensor) -> TractResult<Vec<TDim>> {
    if constant.datum_type().is_tdim() {
        return Ok(constant.try_as_plain_ram()?.as_slice::<TDim>()?.to_vec());
    }
    Ok(to_dims(&crate::ops::integers(constant)?))
}

fn to_dims(bounds: &[i64]) -> Vec<TDim> {
    bounds.iter().map(|bound| bound.to_dim()).collect()
}

/// Range of an axis that a slice reads, one of whose bounds is symbolic.
fn symbolic_bounds(size: &TDim, start: &TDim, end: &TDim, step: i64) -> TractResult<(TDim, TDim)> {
    ensure!(step != 0, "a slice with step 0");
    let is = |bound: &TDim, holds: fn(i64) -> bool| bound.as_i64().is_some_and(holds);
    let is_open = is(end, |end| end >= OPEN || end <= -OPEN);
    let (mut first, mut beyond) = (counted_from_start(start, size), counted_from_start(end, size));
    if is(&first, |first| first < 0) {
        first = 0.to_dim();
    }
    if step > 0 {
        let after = |bound: &TDim| bound.as_i64().zip(size.as_i64()).is_some_and(|(bound, size)| bound >= size);
        if is_open || after(&beyond) {
            beyond = size.clone();
        }
        let empty = after(&first) || is(&beyond, |beyond| beyond < 0);
        return Ok(if empty { (0.to_dim(), 0.to_dim()) } else { (first, beyond) });
    }
    if first.as_i64().zip(size.as_i64()).is_some_and(|(first, size)| first >= size) {
        first = size.clone() - 1;
    }
    let beyond = if is_open || is(&beyond, |beyond| beyond < 0) { (-1).to_dim() } else { beyond };
    Ok((beyond + 1, first + 1))
}

/// A bound that counts from the end where it is negative, however large its symbol is.
fn counted_from_start(bound: &TDim, size: &TDim) -> TDim {
    let symbols: Vec<Symbol> = bound.symbols().into_iter().collect();
    let negative = match &*symbols {
        [symbol] if !bound.prove_positive_or_zero() => {
            let large = SymbolValues::default().with(symbol, 100_000_000);
            bound.prove_negative_or_zero() || bound.eval(&large).to_i64().is_ok_and(|bound| bound < 0)
        }
        _ => !bound.prove_positive_or_zero() && bound.prove_negative_or_zero(),
    };
    if negative { bound.clone() + size } else { bound.clone() }
}

/// First element of a slice of a symbolic axis, and the one before which it ends.
fn symbolic(size: &TDim, start: i64, end: i64) -> (TDim, TDim) {
    let same_side = (start < 0) == (end < 0);
    if (same_side && start >= end) || start >= OPEN || end <= -OPEN {
        return (0.to_dim(), 0.to_dim());
    }
    let bound = |bound: i64| match bound {
        OPEN.. => size.clone(),
        0..OPEN => bound.to_dim(),
        ..0 => size.clone() + bound,
    };
    (if start <= -OPEN { 0.to_dim() } else { bound(start) }, bound(end))
}

/// Size of a slice with a step of a symbolic axis: in terms of the axis where all of it is sliced.
fn strided_length(model: &TypedModel, size: &TDim, start: i64, end: i64, step: i64) -> TDim {
    let whole = (step > 0 && start == 0 && end >= OPEN) || (step < 0 && start == -1 && end <= -OPEN);
    match whole {
        true => size.clone().divceil(step.unsigned_abs() as usize),
        false => fresh_symbol(&model.symbols, "slice").to_dim(),
    }
}
