//! Values at run time.

use super::sizes::{check_memory, check_shape};
use crate::error::{Error, Result};
use crate::ops::{GatedLinear, Linear};
use std::fmt::Debug;
use tract_core::internal::{EvalContext, OpState, TDim, TypedNode};
use tract_core::ops::array::{Gather, GatherElements, ScatterElements, ScatterNd, Trilu};
use tract_core::ops::binary::TypedBinOp;
use tract_core::plan::eval;
use tract_core::prelude::{DatumType, TValue, TVec, Tensor, TractResult};

/// What a fact promises of a value.
pub struct Promise<'a> {
    /// Its type.
    pub datum_type: DatumType,
    /// The sizes of its axes; `None` where a symbol is not bound.
    pub sizes: Option<&'a [i64]>,
}

/// Checks a node before it computes: that its outputs, of which `promised` tells, can be held.
///
/// # Errors
/// `OutOfMemory`; `InvalidModel` for a negative size.
pub fn check_promises<'a>(promised: impl Iterator<Item = Promise<'a>>) -> Result<()> {
    for Promise { datum_type, sizes } in promised {
        if let Some(sizes) = sizes {
            check_shape(sizes, datum_type)?;
            check_memory(sizes, datum_type)?;
        }
    }
    Ok(())
}

/// What is to be checked of the inputs of an operator that would read or write elsewhere, or panic, where sizes that were not known
/// before do not fit each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperandCheck {
    /// Nothing.
    Nothing,
    /// The first one has so many columns.
    Columns(usize),
    /// Positions along this axis, for slices.
    Gather(usize),
    /// Positions along this axis, for elements.
    GatherElements(usize),
    /// As [`OperandCheck::GatherElements`], with what is put there.
    ScatterElements(usize),
    /// A diagonal.
    Trilu,
    /// Positions of slices, with what is put there.
    ScatterNd,
    /// A division of integers.
    Division,
}

impl OperandCheck {
    /// What is to be checked of a node's inputs.
    pub fn of(node: &TypedNode) -> OperandCheck {
        if let Some(linear) = node.op_as::<Linear>() {
            OperandCheck::Columns(linear.inputs)
        } else if let Some(linear) = node.op_as::<GatedLinear>() {
            OperandCheck::Columns(linear.inputs)
        } else if let Some(gather) = node.op_as::<Gather>() {
            OperandCheck::Gather(gather.axis)
        } else if let Some(gather) = node.op_as::<GatherElements>() {
            OperandCheck::GatherElements(gather.axis)
        } else if let Some(scatter) = node.op_as::<ScatterElements>() {
            OperandCheck::ScatterElements(scatter.axis)
        } else if node.op_is::<Trilu>() {
            OperandCheck::Trilu
        } else if node.op_is::<ScatterNd>() {
            OperandCheck::ScatterNd
        } else if is_division(node) {
            OperandCheck::Division
        } else {
            OperandCheck::Nothing
        }
    }

    /// Checks that the operator reads and writes within its inputs.
    ///
    /// # Errors
    /// `InvalidInput` for sizes that do not fit each other, and for a position outside the tensor that it is a position of.
    pub fn check(self, inputs: &[TValue]) -> Result<()> {
        match (self, inputs) {
            (OperandCheck::Columns(columns), [x, ..]) => same_size(x.shape().last().copied(), Some(columns)),
            (OperandCheck::Gather(axis), [table, indices]) => check_indices(indices, table.shape().get(axis).copied()),
            (OperandCheck::GatherElements(axis), [table, indices]) => {
                check_covered(indices, table, axis)?;
                check_indices(indices, table.shape().get(axis).copied())
            }
            (OperandCheck::ScatterElements(axis), [table, indices, updates]) => {
                same_size(indices.shape(), updates.shape())?;
                check_covered(indices, table, axis)?;
                check_indices(indices, table.shape().get(axis).copied())
            }
            (OperandCheck::Trilu, [_, diagonal]) => check_indices(diagonal, Some(i32::MAX as usize)),
            (OperandCheck::ScatterNd, [table, indices, updates]) => check_slices(table, indices, updates),
            (OperandCheck::Division, [dividend, divisor]) => check_division(dividend, divisor),
            _ => Ok(()),
        }
    }
}

fn is_division(node: &TypedNode) -> bool {
    node.op_as::<TypedBinOp>().is_some_and(|operator| matches!(operator.0.name(), "Div" | "Rem"))
}

/// Integers have no quotient by zero, nor the lowest one by -1.
fn check_division(dividend: &Tensor, divisor: &Tensor) -> Result<()> {
    let holds = |tensor: &Tensor, value: i64| {
        let wide = tensor.cast_to::<i64>().ok();
        wide.and_then(|wide| Some(wide.try_as_plain_ram().ok()?.as_slice::<i64>().ok()?.contains(&value)))
    };
    let lowest = match divisor.datum_type() {
        DatumType::I8 => i64::from(i8::MIN),
        DatumType::I16 => i64::from(i16::MIN),
        DatumType::I32 => i64::from(i32::MIN),
        DatumType::I64 => i64::MIN,
        DatumType::U8 | DatumType::U16 | DatumType::U32 | DatumType::U64 => 0,
        _ => return Ok(()),
    };
    let overflows = lowest < 0 && holds(divisor, -1) == Some(true) && holds(dividend, lowest) == Some(true);
    if overflows || holds(divisor, 0) == Some(true) {
        return Err(Error::invalid_input("an integer is divided by zero, or the lowest one by -1")
            .remedy("feed values that the model can compute on"));
    }
    Ok(())
}

/// Off the axis that they are positions along, `indices` are no larger than the table.
fn check_covered(indices: &Tensor, table: &Tensor, axis: usize) -> Result<()> {
    same_size(indices.rank(), table.rank())?;
    for (at, (size, limit)) in indices.shape().iter().zip(table.shape()).enumerate() {
        if at != axis && size > limit {
            return same_size(size, limit);
        }
    }
    Ok(())
}

/// `indices` are positions, in their last dimension, of slices of `table` that `updates` replace.
fn check_slices(table: &Tensor, indices: &Tensor, updates: &Tensor) -> Result<()> {
    let (Some((depth, places)), shape) = (indices.shape().split_last(), table.shape()) else { return Ok(()) };
    if *depth > shape.len() {
        return same_size(*depth, shape.len());
    }
    same_size(updates.shape(), &[places, &shape[*depth..]].concat())?;
    let Ok(view) = indices.to_plain_array_view::<i64>() else { return Ok(()) };
    let outside = |(place, index): (usize, &i64)| {
        let length = shape[place % depth] as i64;
        !(-length..length).contains(index)
    };
    match view.iter().enumerate().any(outside) {
        true => Err(outside_of(&format!("a position of {shape:?}"))),
        false => Ok(()),
    }
}

fn same_size<T: PartialEq + Debug>(given: T, wanted: T) -> Result<()> {
    if given == wanted {
        return Ok(());
    }
    Err(Error::invalid_input(format!("sizes that do not fit: {given:?} and {wanted:?}"))
        .remedy("check that the inputs' sizes are those that the model was made for"))
}

/// Checks that a node computed what its facts promise: what comes after relies on them.
///
/// # Errors
/// `InvalidInput`, since a model that is right by itself has such sizes for inputs that it was not made for.
pub fn check_outputs<'a>(outputs: &[TValue], promised: impl Iterator<Item = Promise<'a>>) -> Result<()> {
    let number = |datum_type: DatumType| if datum_type == DatumType::TDim { DatumType::I64 } else { datum_type };
    for (Promise { datum_type, sizes }, value) in promised.zip(outputs) {
        let (wanted, found) = (number(datum_type.unquantized()), number(value.datum_type().unquantized()));
        if wanted != found {
            return Err(Error::invalid_model(format!(
                "its result is of type {found:?}, not {wanted:?} as the model says"
            ))
            .remedy("the model is corrupted or written wrongly: fetch or export it again"));
        }
        let Some(sizes) = sizes else { continue };
        let right = sizes.len() == value.rank()
            && sizes.iter().zip(value.shape()).all(|(size, actual)| *size == *actual as i64);
        if !right {
            let actual = value.shape();
            return Err(Error::invalid_input(format!("sizes that do not fit: {sizes:?} were to come, not {actual:?}"))
                .remedy("check that the inputs' sizes are those that the model was made for"));
        }
    }
    Ok(())
}

/// Computes a node of a plan that tract runs by itself, between both checks.
///
/// # Errors
/// What [`check_promises`], [`OperandCheck::check`], the operator and [`check_outputs`] give.
pub fn checked_eval(
    context: &EvalContext,
    state: Option<&mut (dyn OpState + 'static)>,
    node: &TypedNode,
    inputs: TVec<TValue>,
) -> TractResult<TVec<TValue>> {
    let known = |dim: &TDim| dim.eval_to_i64(context.symbols).ok();
    let sizes = node.outputs.iter().map(|output| output.fact.shape.iter().map(known).collect());
    let sizes: TVec<Option<TVec<i64>>> = sizes.collect();
    let facts = node.outputs.iter().map(|output| output.fact.datum_type).zip(&sizes);
    let promised = facts.map(|(datum_type, sizes)| Promise { datum_type, sizes: sizes.as_deref() });
    check_promises(promised.clone())?;
    OperandCheck::of(node).check(&inputs)?;
    let outputs = eval(context, state, node, inputs)?;
    check_outputs(&outputs, promised)?;
    Ok(outputs)
}

fn check_indices(indices: &Tensor, length: Option<usize>) -> Result<()> {
    let (Some(length), Ok(plain)) = (length, indices.try_as_plain_ram()) else { return Ok(()) };
    let Ok(indices) = plain.as_slice::<i64>() else { return Ok(()) };
    let length = length as i64;
    match indices.iter().find(|index| !(-length..length).contains(*index)) {
        Some(index) => Err(outside_of(&format!("position {index} of {length}"))),
        None => Ok(()),
    }
}

fn outside_of(what: &str) -> Error {
    Error::invalid_input(format!("{what} lies outside"))
        .remedy("check the ids that are fed: they may belong to another model's vocabulary")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::activation::Activation;
    use crate::kernels::linear::LinearWeights;
    use crate::ops::Shared;
    use tract_core::internal::{IntoTValue, TypedOp, tvec};
    use tract_core::prelude::tensor1;

    #[test]
    fn columns_of_layers() {
        let weights = Shared::new(LinearWeights::from_f32(&[0.5; 6], 2, 3, 3, 1));
        let gated = GatedLinear {
            inputs: 2,
            outputs: 3,
            gate: weights.clone(),
            gate_bias: None,
            activation: Activation::Silu,
            up: weights.clone(),
            up_bias: None,
        };
        let layers: [Box<dyn TypedOp>; 2] = [Box::new(Linear::new(2, 3, weights)), Box::new(gated)];
        for op in layers {
            let node = TypedNode { id: 0, name: "node".into(), inputs: vec![], op, outputs: tvec!() };
            for (columns, right) in [(2, true), (1, false), (3, false)] {
                let x = Tensor::zero::<f32>(&[4, columns]).unwrap().into_tvalue();
                assert_eq!(OperandCheck::of(&node).check(&[x]).is_ok(), right, "{columns} of {node:?}");
            }
        }
    }

    #[test]
    fn indices() {
        let cases: &[(&[i64], usize, bool)] = &[
            (&[0, 7, -8], 8, true),
            (&[8], 8, false),
            (&[-9], 8, false),
            (&[1 << 62], 8, false),
            (&[i64::MIN], 8, false),
            (&[0], 0, false),
            (&[], 0, true),
        ];
        for (values, length, right) in cases {
            assert_eq!(check_indices(&tensor1(values), Some(*length)).is_ok(), *right, "{values:?} of {length}");
        }
    }
}
