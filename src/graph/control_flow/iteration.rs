//! ONNX `Loop` (1 to 25): `M` int64 and `cond` bool, both optional, then the carried values; `body` takes the turn's number, the
//! condition and the carried values, and gives the condition, the carried values and the slices to be stacked.

use super::conditional::truth;
use super::{Captured, Carried, Slices, argument, body, settle, stack, stacked_fact, unsupported, wanted, wired};
use crate::error::{Error, Result};
use crate::graph::subgraph::{self, Subgraph, captured, concrete};
use crate::graph::translate::{Translation, cause};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// A loop that turns more often than this is taken for one that does not end.
const MOST_TURNS: i64 = 1 << 16;

/// Wires the node; gives an outlet for each output that has a name.
///
/// # Errors
/// What translating the body gives; `UnsupportedOp` where a carried value changes its type or rank.
pub fn wire_loop(translation: &mut Translation, name: &str, node: &NodeProto) -> Result<TVec<OutletId>> {
    let graph = body(node, "body")?;
    let given = |position: usize| node.input.get(position).is_some_and(|input| !input.is_empty());
    let (limited, conditional) = (given(0), given(1));
    let states = graph.input.len().saturating_sub(2);
    if graph.input.len() < 2 || node.input.len().saturating_sub(2) != states {
        return Err(Error::invalid_model("the body takes other values than the node is given"));
    }
    let inputs = node.input.iter().filter(|input| !input.is_empty());
    let mut outlets = inputs.map(|input| translation.outlet(input)).collect::<Result<TVec<_>>>()?;
    if outlets.len() != limited as usize + conditional as usize + states {
        return Err(Error::invalid_model("a carried value is missing"));
    }
    let (captured, taken) = Captured::new(translation, captured(graph))?;
    let operator = turning(translation, node, limited, conditional, &outlets, captured, &taken);
    outlets.extend(taken);
    wired(translation.builder.wire_one(name, operator.map_err(|error| cause(&error))?, &outlets))
}

fn turning(
    translation: &Translation,
    node: &NodeProto,
    limited: bool,
    conditional: bool,
    outlets: &[OutletId],
    captured: Captured,
    taken: &[OutletId],
) -> TractResult<Turning> {
    let graph = body(node, "body")?;
    let names: Vec<String> = graph.input.iter().map(|input| input.name.clone()).collect();
    let subgraph = Subgraph::new(graph.clone(), translation, true);
    let model = translation.model();
    let states = &outlets[limited as usize + conditional as usize..];
    let facts = states.iter().map(|outlet| model.outlet_fact(*outlet).cloned()).collect::<TractResult<_>>()?;
    let mut carried = Carried::new(facts);
    let mut others = captured.facts(model, taken)?;
    others.push((names[0].clone(), i64::scalar_fact()));
    others.push((names[1].clone(), bool::scalar_fact()));
    let after = settle(&subgraph, &model.symbols, &mut carried, &names[2..], &others, 1)?;
    let slices = after[1 + states.len()..].iter().map(|slice| stacked_fact(&model.symbols, slice, 0));
    let facts: TVec<TypedFact> = carried.facts.iter().cloned().chain(slices).collect();
    let wanted = wanted(node);
    if wanted.iter().any(|position| *position >= facts.len()) {
        return Err(Error::invalid_model("the body has fewer outputs than the node").into());
    }
    Ok(Turning { body: subgraph, names, limited, conditional, captured, wanted, facts })
}

/// Runs a body again and again. Inputs: the limit and the condition where given, the carried values, the captured values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Turning {
    body: Subgraph,
    /// The body's inputs: turn, condition, carried values.
    names: Vec<String>,
    limited: bool,
    conditional: bool,
    captured: Captured,
    wanted: Vec<usize>,
    /// Facts of all outputs, wanted or not.
    facts: TVec<TypedFact>,
}

impl Op for Turning {
    fn name(&self) -> StaticName {
        "Loop".into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    op_as_typed_op!();
}

impl EvalOp for Turning {
    not_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut inputs = inputs.into_iter();
        let mut next = |given: bool| if given { inputs.next() } else { None };
        let limit = next(self.limited).map(|limit| concrete(&limit, context)?.cast_to_scalar::<i64>()).transpose()?;
        let mut going = next(self.conditional).map(|condition| truth(&condition)).transpose()?.unwrap_or(true);
        let rest: Vec<TValue> = inputs.collect();
        let (states, taken) = rest.split_at(self.names.len() - 2);
        let mut states = states.iter().map(|state| concrete(state, context)).collect::<TractResult<Vec<_>>>()?;
        let mut slices = Slices::new(self.facts.len() - states.len());
        let (turning, mut turn) = (subgraph::RunningLoop::begin(), 0i64);
        while going && limit.is_none_or(|limit| turn < limit) {
            if turn == MOST_TURNS {
                return Err(unsupported("it does not end within 65536 turns"));
            }
            turning.turn()?;
            let mut arguments = self.captured.arguments(taken, context)?;
            arguments.push(argument(&self.names[0], tensor0(turn).into_tvalue()));
            arguments.push(argument(&self.names[1], tensor0(going).into_tvalue()));
            arguments.extend(self.names[2..].iter().zip(&states).map(|(name, state)| argument(name, state.clone())));
            let mut outputs = self.body.run(&arguments)?.into_iter();
            going = outputs.next().map(|condition| truth(&condition)).transpose()?.unwrap_or(false);
            states = outputs.by_ref().take(states.len()).collect();
            slices.push(outputs)?;
            turn += 1;
        }
        let stacked =
            slices.outputs.into_iter().zip(&self.facts[states.len()..]).map(|(slices, fact)| stack(slices, 0, fact));
        let stacked = stacked.collect::<TractResult<Vec<_>>>()?;
        let outputs: Vec<TValue> = states.into_iter().chain(stacked).collect();
        Ok(self.wanted.iter().map(|position| outputs[*position].clone()).collect())
    }
}

impl TypedOp for Turning {
    as_op!();

    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.wanted.iter().map(|position| self.facts[*position].clone()).collect())
    }
}
