//! From an ONNX graph to a plan of few, fat operators: `translate` goes forward through the nodes into tract's
//! `TypedModel`, [`fuse`] recognises the patterns of Transformers, `declutter` simplifies what is left.

mod control_flow;
mod declutter;
mod deferred;
mod fold;
pub mod fuse;
mod operators;
mod rewriter;
mod subgraph;
mod translate;

use crate::error::Result;
use crate::onnx::{ExternalFile, ReadAt, RewrittenModel, TensorInfo, WeightStore, index, rewrite, validate};
use serde::Serialize;
use std::collections::BTreeMap;
use tract_onnx::pb::GraphProto;
use tract_onnx::prelude::{SymbolScope, TypedModel};
use translate::{Translation, Weights, cause, input_facts, refuse_unknown_operators};

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
    let mut report = Report { operators_before: operators_of(&rewritten.graph), ..Report::default() };
    let store = WeightStore::new(source, external);
    let graph = translate(&rewritten, &store).map_err(|error| error.file(source.name()))?;
    let graph = fuse::fuse(graph, &mut report)?;
    let graph = declutter::declutter(graph, &mut report.not_simplified)?;
    report.operators_after = operators(&graph);
    Ok(CompiledModel { graph, inputs: rewritten.inputs, outputs: rewritten.outputs, report })
}

fn translate(rewritten: &RewrittenModel, store: &WeightStore) -> Result<TypedModel> {
    refuse_unknown_operators(&rewritten.graph)?;
    let weights = Weights::new(&rewritten.initializers, store);
    let symbols = SymbolScope::default();
    let facts = input_facts(&rewritten.inputs, &symbols)?;
    let mut translation = Translation::new(rewritten.opset, symbols).with_weights(&weights, rewritten.declared.clone());
    let mut sources = Vec::new();
    for (input, fact) in rewritten.inputs.iter().zip(facts) {
        sources.push(translation.add_source(&input.name, fact).map_err(|error| cause(&error).tensor(&*input.name))?);
    }
    let outputs = translation.graph("", &rewritten.graph)?;
    let mut model = translation.model;
    model.inputs = sources;
    model.select_output_outlets(&outputs).map_err(|error| cause(&error))?;
    Ok(model)
}

fn operators_of(graph: &GraphProto) -> BTreeMap<String, usize> {
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        *operators.entry(node.op_type.clone()).or_default() += 1;
    }
    operators
}

fn operators(graph: &TypedModel) -> BTreeMap<String, usize> {
    let mut operators = BTreeMap::new();
    for node in graph.nodes().iter().filter(|node| node.op.name() != "Const" && node.op.name() != "Source") {
        *operators.entry(node.op.name().to_string()).or_default() += 1;
    }
    operators
}
