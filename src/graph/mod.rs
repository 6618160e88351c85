//! From an ONNX graph to a plan of few, fat operators: `translate` goes forward through the nodes into tract's
//! `TypedModel`, [`fuse`] recognises the patterns of Transformers, `declutter` simplifies what is left.

mod declutter;
pub mod fuse;
mod operators;
mod translate;

use crate::error::Result;
use crate::onnx::{ExternalFile, ReadAt, TensorInfo, WeightStore, index, rewrite, validate};
use serde::Serialize;
use std::collections::BTreeMap;
use tract_onnx::prelude::TypedModel;

/// A model translated, fused and simplified, ready to be planned.
pub struct CompiledModel {
    /// The graph; inputs and outputs in the order of `inputs` and `outputs`.
    pub graph: TypedModel,
    /// The model's inputs.
    pub inputs: Vec<TensorInfo>,
    /// The model's outputs.
    pub outputs: Vec<TensorInfo>,
    /// What became of the nodes.
    pub report: Report,
}

/// What became of a model's nodes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Nodes of the ONNX graph, by operator.
    pub operators_before: BTreeMap<String, usize>,
    /// Nodes of the compiled graph, by operator; constants are left out.
    pub operators_after: BTreeMap<String, usize>,
    /// Patterns that were recognised.
    pub fused: BTreeMap<String, usize>,
    /// Patterns that look like one of those but were not recognised, with the reason.
    pub not_fused: Vec<NotFused>,
    /// Nodes whose simplification failed and that run as they are, with the reason.
    pub not_simplified: Vec<String>,
}

/// A pattern that was not recognised.
#[derive(Debug, Clone, Serialize)]
pub struct NotFused {
    /// What it would have become.
    pub pattern: &'static str,
    /// Node where it was looked for.
    pub node: String,
    /// Why it was not recognised.
    pub reason: String,
}

/// Reads, translates, fuses and simplifies a model.
///
/// # Errors
/// `InvalidModel`, `UnsupportedOp`, `InvalidInput` for missing external data, `OutOfMemory`.
pub fn compile(source: &dyn ReadAt, external: &[ExternalFile]) -> Result<CompiledModel> {
    let index = index(source)?;
    validate(&index).map_err(|error| error.file(source.name()))?;
    let rewritten = rewrite(index).map_err(|error| error.file(source.name()))?;
    let mut report = Report { operators_before: translate::operators(&rewritten.model), ..Report::default() };
    let weights = WeightStore::new(source, external);
    let graph = translate::translate(&rewritten, &weights).map_err(|error| error.file(source.name()))?;
    let graph = fuse::fuse(graph, &mut report)?;
    let graph = declutter::declutter(graph, &mut report.not_simplified)?;
    report.operators_after = operators(&graph);
    Ok(CompiledModel { graph, inputs: rewritten.inputs, outputs: rewritten.outputs, report })
}

fn operators(graph: &TypedModel) -> BTreeMap<String, usize> {
    let mut operators = BTreeMap::new();
    for node in graph.nodes().iter().filter(|node| node.op.name() != "Const" && node.op.name() != "Source") {
        *operators.entry(node.op.name().to_string()).or_default() += 1;
    }
    operators
}
