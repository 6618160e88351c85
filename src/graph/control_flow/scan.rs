//! ONNX `Scan` (8 to 25): carried values, then tensors that are read slice by slice along `scan_input_axes` in
//! `scan_input_directions`; `body` takes the carried values and a slice of each, and gives the carried values and slices that
//! are stacked along `scan_output_axes` in `scan_output_directions`.
//!
//! Before opset 9 all of them have an axis of batches first, each batch is scanned by itself, and the only attribute beside the
//! body is `directions`. Sequences of different lengths (`sequence_lens`) are refused.

use super::{Captured, Carried, Slices, argument, body, settle, stack, stacked_fact, unsupported, wanted, wired};
use crate::error::{Error, Result};
use crate::graph::subgraph::{RunningLoop, Subgraph, captured, concrete};
use crate::graph::translate::{Translation, cause};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// How a tensor is cut into slices, or made of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Track {
    axis: usize,
    backwards: bool,
}

/// Wires the node; gives an outlet for each output that has a name.
///
/// # Errors
/// What translating the body gives; `InvalidModel` where the body does not fit the node.
pub fn wire_scan(translation: &mut Translation, name: &str, node: &NodeProto) -> Result<TVec<OutletId>> {
    let names = operands(node, translation.opset)?;
    let graph = body(node, "body")?;
    let inputs = names.iter().map(|input| translation.outlet(input)).collect::<Result<TVec<_>>>()?;
    let (captured, taken) = Captured::new(translation, captured(graph))?;
    let operator = scanning(translation, node, &inputs, captured, &taken).map_err(|error| cause(&error))?;
    let inputs: TVec<OutletId> = inputs.into_iter().chain(taken).collect();
    wired(translation.builder.wire_one(name, operator, &inputs))
}

/// The carried values and the tensors that are read.
fn operands(node: &NodeProto, opset: i64) -> Result<&[String]> {
    match node.input.split_first() {
        _ if opset >= 9 => Ok(&node.input),
        Some((lengths, operands)) if lengths.is_empty() => Ok(operands),
        _ => Err(cause(&unsupported("sequences of different lengths (`sequence_lens`) are not supported"))),
    }
}

fn scanning(
    translation: &Translation,
    node: &NodeProto,
    inputs: &[OutletId],
    captured: Captured,
    taken: &[OutletId],
) -> TractResult<Scanning> {
    let graph = body(node, "body")?;
    let model = translation.model();
    let scanned = node.attribute.iter().find(|attribute| attribute.name == "num_scan_inputs");
    let scanned = scanned.and_then(|attribute| usize::try_from(attribute.i).ok());
    let states = scanned.and_then(|scanned| inputs.len().checked_sub(scanned).filter(|_| scanned > 0));
    let states = states.ok_or_else(|| Error::invalid_model("num_scan_inputs does not fit its inputs"))?;
    if graph.input.len() != inputs.len() || graph.output.len() < states {
        return Err(Error::invalid_model("the body takes other values than the node is given").into());
    }
    let names: Vec<String> = graph.input.iter().map(|input| input.name.clone()).collect();
    let mut facts = inputs.iter().map(|outlet| model.outlet_fact(*outlet).cloned()).collect::<TractResult<Vec<_>>>()?;
    let batched = translation.opset < 9;
    let batch = if batched { Some(split_batch(&mut facts)?) } else { None };
    let ranks: Vec<usize> = facts[states..].iter().map(|fact| fact.rank()).collect();
    let directions = if batched { "directions" } else { "scan_input_directions" };
    let read = tracks(node, "scan_input_axes", directions, &ranks)?;
    let mut others = captured.facts(model, taken)?;
    for ((name, fact), track) in names[states..].iter().zip(&facts[states..]).zip(&read) {
        let mut shape = fact.shape.to_tvec();
        shape.remove(track.axis);
        others.push((name.clone(), fact.datum_type.fact(shape)));
    }
    let subgraph = Subgraph::new(graph.clone(), translation, true);
    let mut carried = Carried::new(facts[..states].iter().cloned().collect());
    let after = settle(&subgraph, &model.symbols, &mut carried, &names[..states], &others, 0)?;
    let ranks: Vec<usize> = after[states..].iter().map(|slice| slice.rank() + 1).collect();
    let written = tracks(node, "scan_output_axes", "scan_output_directions", &ranks)?;
    let slices = after[states..].iter().zip(&written);
    let slices = slices.map(|(slice, track)| stacked_fact(&model.symbols, slice, track.axis));
    let facts: TVec<TypedFact> = carried.facts.iter().cloned().chain(slices).collect();
    let wanted = wanted(node);
    if wanted.iter().any(|position| *position >= facts.len()) {
        return Err(Error::invalid_model("the body has fewer outputs than the node").into());
    }
    Ok(Scanning { body: subgraph, names, states, read, written, captured, wanted, batch, facts })
}

/// Takes the first axis, the same one of all, off the facts.
fn split_batch(facts: &mut [TypedFact]) -> TractResult<TDim> {
    let mut batch = None;
    for fact in facts {
        let mut shape = fact.shape.to_tvec();
        ensure!(!shape.is_empty(), "a scalar has no axis of batches");
        batch.get_or_insert(shape.remove(0));
        *fact = fact.datum_type.fact(shape);
    }
    batch.context("nothing is read")
}

fn tracks(node: &NodeProto, axes: &str, directions: &str, ranks: &[usize]) -> TractResult<Vec<Track>> {
    let ints = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name).map(|found| &found.ints);
    let one = |(position, rank): (usize, &usize)| {
        let at = |name| ints(name).map_or(Some(0), |ints: &Vec<i64>| ints.get(position).copied());
        let axis = at(axes).map(|axis| if axis < 0 { axis + *rank as i64 } else { axis });
        let axis = axis.and_then(|axis| usize::try_from(axis).ok()).filter(|axis| axis < rank);
        let backwards = at(directions).filter(|direction| matches!(direction, 0 | 1));
        match (axis, backwards) {
            (Some(axis), Some(direction)) => Ok(Track { axis, backwards: direction == 1 }),
            _ => Err(Error::invalid_model(format!("`{axes}` or `{directions}` do not fit the tensors")).into()),
        }
    };
    ranks.iter().enumerate().map(one).collect()
}

/// Runs a body once for each slice. Inputs: the carried values, the tensors to be cut, the captured values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scanning {
    body: Subgraph,
    names: Vec<String>,
    states: usize,
    read: Vec<Track>,
    written: Vec<Track>,
    captured: Captured,
    wanted: Vec<usize>,
    /// How many batches there are, each to be scanned by itself.
    batch: Option<TDim>,
    /// Facts of all outputs of a batch, wanted or not.
    facts: TVec<TypedFact>,
}

impl Scanning {
    /// The fact of an output.
    fn fact(&self, position: usize) -> TypedFact {
        let fact = &self.facts[position];
        let shape = self.batch.iter().cloned().chain(fact.shape.iter().cloned());
        fact.datum_type.fact(shape.collect::<TVec<TDim>>())
    }

    /// Scans one batch; gives all outputs, wanted or not.
    fn scan(&self, operands: &[TValue], taken: &[TValue], context: &EvalContext) -> TractResult<Vec<TValue>> {
        let (states, scanned) = operands.split_at(self.states);
        let mut states = states.to_vec();
        let turns = scanned[0].shape()[self.read[0].axis];
        if scanned.iter().zip(&self.read).any(|(tensor, track)| tensor.shape()[track.axis] != turns) {
            return Err(unsupported("the tensors that it reads have different lengths"));
        }
        let (turning, mut slices) = (RunningLoop::begin(), Slices::new(self.written.len()));
        for turn in 0..turns {
            turning.turn()?;
            let mut arguments = self.captured.arguments(taken, context)?;
            arguments.extend(self.names.iter().zip(&states).map(|(name, state)| argument(name, state.clone())));
            for ((name, tensor), track) in self.names[self.states..].iter().zip(scanned).zip(&self.read) {
                let at = if track.backwards { turns - 1 - turn } else { turn };
                arguments.push(argument(name, slice(tensor, track.axis, at)?));
            }
            let mut outputs = self.body.run(&arguments)?.into_iter();
            states = outputs.by_ref().take(self.states).collect();
            slices.push(outputs)?;
        }
        let mut outputs = states;
        let slices = slices.outputs.into_iter();
        for ((mut slices, track), fact) in slices.zip(&self.written).zip(&self.facts[self.states..]) {
            if track.backwards {
                slices.reverse();
            }
            outputs.push(stack(slices, track.axis, fact)?);
        }
        Ok(outputs)
    }

    /// Scans each batch by itself.
    fn scan_batches(&self, operands: &[TValue], taken: &[TValue], context: &EvalContext) -> TractResult<Vec<TValue>> {
        let batches = operands[0].shape()[0];
        if operands.iter().any(|operand| operand.shape()[0] != batches) {
            return Err(unsupported("its operands have different numbers of batches"));
        }
        let mut rows = vec![vec![]; self.facts.len()];
        for batch in 0..batches {
            let operands = operands.iter().map(|operand| slice(operand, 0, batch)).collect::<TractResult<Vec<_>>>()?;
            let outputs = self.scan(&operands, taken, context)?;
            rows.iter_mut().zip(outputs).for_each(|(rows, output)| rows.push(output));
        }
        rows.into_iter().enumerate().map(|(position, rows)| stack(rows, 0, &self.fact(position))).collect()
    }
}

/// The tensor at one index of an axis.
fn slice(tensor: &TValue, axis: usize, at: usize) -> TractResult<TValue> {
    let mut slice = tensor.slice(axis, at, at + 1)?;
    slice.remove_axis(axis)?;
    Ok(slice.into_tvalue())
}

impl Op for Scanning {
    fn name(&self) -> StaticName {
        "Scan".into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    op_as_typed_op!();
}

impl EvalOp for Scanning {
    not_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (operands, taken) = inputs.split_at(self.names.len());
        let operands = operands.iter().map(|operand| concrete(operand, context)).collect::<TractResult<Vec<_>>>()?;
        let outputs = match self.batch {
            Some(_) => self.scan_batches(&operands, taken, context)?,
            None => self.scan(&operands, taken, context)?,
        };
        Ok(self.wanted.iter().map(|position| outputs[*position].clone()).collect())
    }
}

impl TypedOp for Scanning {
    as_op!();

    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.wanted.iter().map(|position| self.fact(*position)).collect())
    }
}
