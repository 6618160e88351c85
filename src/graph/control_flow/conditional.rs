//! ONNX `If` (1 to 25): `cond` bool, one element; `then_branch` and `else_branch`. With a constant condition the branch stands in
//! place of the node. Otherwise it is chosen at run time; the branches' outputs must have the same types and ranks.

use super::{Captured, body, unsupported, wanted, wired};
use crate::error::{Error, Result};
use crate::graph::builder::fresh_symbol;
use crate::graph::subgraph::{Subgraph, captured};
use crate::graph::translate::{Translation, cause};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// Wires the node; gives an outlet for each output that has a name.
///
/// # Errors
/// What translating a branch gives; `UnsupportedOp` where the branches do not fit each other.
pub fn wire_if(translation: &mut Translation, name: &str, node: &NodeProto) -> Result<TVec<OutletId>> {
    let branches = [body(node, "then_branch")?, body(node, "else_branch")?];
    let Some(condition) = node.input.first().filter(|condition| !condition.is_empty()) else {
        return Err(Error::invalid_model("the condition is missing"));
    };
    let condition = translation.outlet(condition)?;
    let known = translation.model().outlet_fact(condition).ok().and_then(|fact| fact.konst.clone());
    let wanted = wanted(node);
    if let Some(known) = known {
        let branch = if wired_truth(&known)? { branches[0] } else { branches[1] };
        let outlets = translation.graph(&format!("{name}/"), branch)?;
        return pick(&wanted, &outlets);
    }
    let mut names = captured(branches[0]);
    names.extend(captured(branches[1]));
    let (captured, outlets) = Captured::new(translation, names)?;
    let branches = branches.map(|branch| Subgraph::new(branch.clone(), translation, true));
    let symbols = translation.model().symbols.clone();
    let facts = captured.facts(translation.model(), &outlets).and_then(|facts| {
        let [left, right] = &branches;
        join(&symbols, left.output_facts(&symbols, &facts)?, right.output_facts(&symbols, &facts)?)
    });
    let facts = facts.map_err(|error| cause(&error))?;
    let facts = pick(&wanted, &facts)?;
    let operator = Conditional { branches, captured, wanted, facts };
    let inputs: TVec<OutletId> = std::iter::once(condition).chain(outlets).collect();
    wired(translation.builder.wire_one(name, operator, &inputs))
}

fn pick<T: Clone>(wanted: &[usize], all: &[T]) -> Result<TVec<T>> {
    let missing = || Error::invalid_model("a branch has fewer outputs than the node");
    wanted.iter().map(|position| all.get(*position).cloned().ok_or_else(missing)).collect()
}

/// Facts that hold whichever branch runs.
fn join(symbols: &SymbolScope, left: TVec<TypedFact>, right: TVec<TypedFact>) -> TractResult<TVec<TypedFact>> {
    let one = |(left, right): (TypedFact, TypedFact)| {
        if left.datum_type != right.datum_type || left.rank() != right.rank() {
            return Err(unsupported("its branches give tensors of different types or ranks"));
        }
        let dims = left.shape.iter().zip(right.shape.iter());
        let dims = dims.map(
            |(left, right)| {
                if left == right { left.clone() } else { fresh_symbol(symbols, "branch").to_dim() }
            },
        );
        Ok(left.datum_type.fact(dims.collect::<TVec<TDim>>()))
    };
    left.into_iter().zip(right).map(one).collect()
}

fn wired_truth(condition: &Tensor) -> Result<bool> {
    truth(condition).map_err(|error| cause(&error))
}

/// The one boolean that a tensor holds.
pub fn truth(condition: &Tensor) -> TractResult<bool> {
    if condition.datum_type() != bool::datum_type() || condition.volume() != 1 {
        return Err(Error::invalid_model("a condition must be one boolean").into());
    }
    Ok(condition.try_as_plain_ram()?.as_slice::<bool>()?[0])
}

/// Runs one of two subgraphs. Inputs: the condition, then the captured values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Conditional {
    branches: [Subgraph; 2],
    captured: Captured,
    wanted: Vec<usize>,
    facts: TVec<TypedFact>,
}

impl Op for Conditional {
    fn name(&self) -> StaticName {
        "If".into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    op_as_typed_op!();
}

impl EvalOp for Conditional {
    not_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let branch = if truth(&inputs[0])? { &self.branches[0] } else { &self.branches[1] };
        // A branch may leave alone what the other one takes.
        let needed = captured(branch.graph());
        let arguments = self.captured.arguments(&inputs[1..], context)?;
        let arguments: Vec<_> = arguments.into_iter().filter(|argument| needed.contains(&argument.name)).collect();
        let outputs = branch.run(&arguments)?;
        Ok(pick(&self.wanted, &outputs)?)
    }
}

impl TypedOp for Conditional {
    as_op!();

    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.facts.clone())
    }
}
