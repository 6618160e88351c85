//! Simplifies a graph node by node. tract's own driver gives a whole model up when one node's rule fails, and one of its
//! passes is wrong on symbolic masks; this one leaves the node as it is.

use super::fold::{constant, twin, without_effect};
use super::rewriter::sweep;
use crate::error::{Error, Result};
use tract_core::internal::*;

/// Rules may undo each other: so many rounds are enough for every graph that settles.
const ROUNDS: usize = 60;

/// Folds constants and applies each operator's own rules until nothing changes. What could not be simplified is named in
/// `left_alone`.
pub fn declutter(mut model: TypedModel, left_alone: &mut Vec<String>) -> Result<TypedModel> {
    for _ in 0..ROUNDS {
        let mut failed = Vec::new();
        let (changes, next) = sweep(model, |model, node| simplified(model, node, &mut failed))
            .map_err(|error| Error::unsupported_op(format!("simplifying the graph failed: {error:#}")))?;
        model = next;
        if changes == 0 {
            left_alone.append(&mut failed);
            break;
        }
    }
    Ok(model)
}

fn simplified(model: &TypedModel, node: &TypedNode, failed: &mut Vec<String>) -> TractResult<Option<TypedModelPatch>> {
    for rule in [constant, without_effect, twin] {
        if let Some(patch) = rule(model, node)? {
            return Ok(Some(patch));
        }
    }
    Ok(node.op.declutter(model, node).unwrap_or_else(|error| {
        failed.push(format!("{} ({}): {}", node.name, node.op.name(), error.root_cause()));
        None
    }))
}
