//! Simplifies a graph node by node. tract's own driver gives a whole model up when one node's rule fails, and one of its
//! passes is wrong on symbolic masks; this one leaves the node as it is.

use crate::error::{Error, Result};
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::optim::Optimizer;

/// Rules may undo each other: so many rounds are enough for every graph that settles.
const ROUNDS: usize = 60;

/// Folds constants and applies each operator's own rules until nothing changes. What could not be simplified is named in
/// `left_alone`.
pub fn declutter(mut model: TypedModel, left_alone: &mut Vec<String>) -> Result<TypedModel> {
    for _ in 0..ROUNDS {
        let mut failed = Vec::new();
        let (changed, next) = round(model, &mut failed)
            .map_err(|error| Error::unsupported_op(format!("simplifying the graph failed: {:#}", error)))?;
        model = next;
        if !changed {
            left_alone.append(&mut failed);
            break;
        }
    }
    Ok(model)
}

fn round(mut model: TypedModel, failed: &mut Vec<String>) -> TractResult<(bool, TypedModel)> {
    Optimizer { passes: Optimizer::prop_consts().passes, steps: None }.optimize(&mut model)?;
    let mut changed = false;
    for id in model.eval_order()? {
        let node = model.node(id);
        match node.op.declutter(&model, node) {
            Ok(Some(patch)) => {
                patch.apply(&mut model)?;
                changed = true;
            }
            Ok(None) => {}
            Err(error) => failed.push(format!("{} ({}): {}", node.name, node.op.name(), error.root_cause())),
        }
    }
    Ok((changed, model.into_compact()?))
}
