//! What a model claims of sizes, types and positions, checked before anything is allocated for it or read by it. ONNX Runtime
//! refuses the same; tract trusts its caller.

mod arity;
mod attributes;
mod operands;
mod sizes;
mod values;

pub use values::{OperandCheck, Promise, check_outputs, check_promises, checked_eval};

use crate::error::{Error, Result};
use crate::onnx::pb::NodeProto;
use tract_core::prelude::{DatumType, OutletId, TypedFact, TypedModel};

/// Checks a node's operands before it is wired.
///
/// # Errors
/// `InvalidModel` for operands that the operator does not take, `OutOfMemory` for sizes that nothing can hold.
pub fn check_node(node: &NodeProto, model: &TypedModel, inputs: &[OutletId]) -> Result<()> {
    arity::check(node)?;
    attributes::check(node)?;
    let facts = facts(model, inputs);
    // By position in the node, with `None` where an input is left out.
    let mut present = facts.into_iter();
    let operands: Vec<Option<&TypedFact>> =
        node.input.iter().map(|name| if name.is_empty() { None } else { present.next() }).collect();
    operands::check(node, &operands)?;
    sizes::check_parameters(node, &operands)
}

/// Checks the facts of what a node was wired to.
///
/// # Errors
/// `InvalidModel` for a negative size, `OutOfMemory` for a value that nothing can hold.
pub fn check_wired(model: &TypedModel, outlets: &[OutletId]) -> Result<()> {
    facts(model, outlets).into_iter().try_for_each(sizes::check_fact)
}

/// Checks that a value is of the type that the model says.
///
/// # Errors
/// `InvalidModel`.
pub fn check_declared(model: &TypedModel, outlet: OutletId, declared: DatumType) -> Result<()> {
    let computed = facts(model, &[outlet]).first().map_or(declared, |fact| operands::element(fact));
    if computed == declared {
        return Ok(());
    }
    Err(Error::invalid_model(format!("it is said to be {declared:?} and computed as {computed:?}")))
}

fn facts<'a>(model: &'a TypedModel, outlets: &[OutletId]) -> Vec<&'a TypedFact> {
    outlets.iter().filter_map(|outlet| model.outlet_fact(*outlet).ok()).collect()
}
