//! ONNX `If`, `Loop` and `Scan`. A branch whose condition is known is translated in place; everything else runs its
//! subgraphs one by one, each planned for the sizes that it meets.

mod conditional;
mod iteration;
mod scan;

pub use conditional::wire_if;
pub use iteration::wire_loop;
pub use scan::wire_scan;

use super::subgraph::{Argument, Subgraph, concrete, run_time_fact};
use super::translate::{Translation, cause};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

/// The subgraph that an attribute of the node holds.
fn body<'a>(node: &'a NodeProto, name: &str) -> Result<&'a GraphProto> {
    let attribute = node.attribute.iter().find(|attribute| attribute.name == name);
    attribute
        .and_then(|attribute| attribute.g.as_ref())
        .ok_or_else(|| Error::invalid_model(format!("the subgraph `{name}` is missing")))
}

/// Positions of the outputs that somebody may read.
fn wanted(node: &NodeProto) -> Vec<usize> {
    (0..node.output.len()).filter(|position| !node.output[*position].is_empty()).collect()
}

/// Values that subgraphs take from around them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Captured {
    names: Vec<String>,
}

impl Captured {
    /// What these graphs take, with the outlets that give it.
    fn new(translation: &mut Translation, names: BTreeSet<String>) -> Result<(Captured, TVec<OutletId>)> {
        let outlets = names.iter().map(|name| translation.outlet(name)).collect::<Result<_>>()?;
        Ok((Captured { names: names.into_iter().collect() }, outlets))
    }

    fn facts(&self, model: &TypedModel, outlets: &[OutletId]) -> TractResult<Vec<(String, TypedFact)>> {
        let fact = |(name, outlet): (&String, &OutletId)| Ok((name.clone(), model.outlet_fact(*outlet)?.clone()));
        self.names.iter().zip(outlets).map(fact).collect()
    }

    fn arguments(&self, values: &[TValue], context: &EvalContext) -> TractResult<Vec<Argument>> {
        let argument = |(name, value): (&String, &TValue)| {
            Ok(Argument { name: name.clone(), value: concrete(value, context)?, constant: false })
        };
        self.names.iter().zip(values).map(argument).collect()
    }
}

fn argument(name: &str, value: TValue) -> Argument {
    Argument { name: name.to_string(), value, constant: false }
}

/// Facts of values that a loop carries from one turn to the next: sizes that a turn changes are not known.
struct Carried {
    facts: TVec<TypedFact>,
    free: Vec<Vec<bool>>,
}

impl Carried {
    fn new(facts: TVec<TypedFact>) -> Carried {
        let facts: TVec<TypedFact> = facts.into_iter().map(run_time_fact).collect();
        let free = facts.iter().map(|fact| vec![false; fact.rank()]).collect();
        Carried { facts, free }
    }

    /// Frees the sizes that differ after a turn; says whether there were any.
    fn widen(&mut self, symbols: &SymbolScope, after: &[TypedFact]) -> TractResult<bool> {
        let mut widened = false;
        for ((before, free), after) in self.facts.iter_mut().zip(&mut self.free).zip(after) {
            if before.datum_type != after.datum_type || before.rank() != after.rank() {
                return Err(unsupported("a value changes its type or rank from one turn to the next"));
            }
            for (axis, free) in free.iter_mut().enumerate() {
                if !*free && before.shape[axis] != after.shape[axis] {
                    before.shape.set(axis, symbols.new_with_prefix("carried").to_dim());
                    *free = true;
                    widened = true;
                }
            }
        }
        Ok(widened)
    }

    fn named(&self, names: &[String]) -> Vec<(String, TypedFact)> {
        names.iter().cloned().zip(self.facts.iter().cloned()).collect()
    }
}

/// The facts of a body's outputs once those of the carried values hold for every turn. `others` are the body's other inputs
/// and captured values; `first` is the position of the first carried value among the body's outputs.
fn settle(
    body: &Subgraph,
    symbols: &SymbolScope,
    carried: &mut Carried,
    names: &[String],
    others: &[(String, TypedFact)],
    first: usize,
) -> TractResult<TVec<TypedFact>> {
    loop {
        let mut inputs = carried.named(names);
        inputs.extend_from_slice(others);
        let outputs = body.output_facts(symbols, &inputs)?;
        if outputs.len() < first + names.len() {
            return Err(Error::invalid_model("the body has too few outputs").into());
        }
        if !carried.widen(symbols, &outputs[first..first + names.len()])? {
            return Ok(outputs);
        }
    }
}

/// The fact of `slice`s stacked along a new axis.
fn stacked_fact(symbols: &SymbolScope, slice: &TypedFact, axis: usize) -> TypedFact {
    let fresh = || symbols.new_with_prefix("turns").to_dim();
    let mut shape: TVec<TDim> =
        slice.shape.iter().map(|dim| if dim.to_usize().is_ok() { dim.clone() } else { fresh() }).collect();
    shape.insert(axis, fresh());
    slice.datum_type.fact(shape)
}

/// Tensors stacked along a new axis; `empty` is what no tensors make.
fn stack(slices: Vec<TValue>, axis: usize, empty: &TypedFact) -> TractResult<TValue> {
    if slices.is_empty() {
        let mut shape: TVec<usize> = empty.shape.iter().map(|dim| dim.to_usize().unwrap_or(0)).collect();
        shape[axis] = 0;
        return Ok(Tensor::zero_dt(empty.datum_type, &shape)?.into_tvalue());
    }
    let mut tensors = vec![];
    for slice in slices {
        let mut tensor = slice.into_tensor();
        tensor.insert_axis(axis)?;
        tensors.push(tensor);
    }
    Ok(Tensor::stack_tensors(axis, &tensors)?.into_tvalue())
}

fn unsupported(message: &str) -> TractError {
    Error::unsupported_op(message).remedy("export the model without this use of the operator").into()
}

fn wired(outlets: TractResult<TVec<OutletId>>) -> Result<TVec<OutletId>> {
    outlets.map_err(|error| cause(&error))
}
