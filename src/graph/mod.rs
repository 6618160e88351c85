//! From an ONNX graph to a plan of few, fat operators: `translate` goes forward through the nodes into tract's
//! `TypedModel`, [`fuse`] recognises the patterns of Transformers, `declutter` simplifies what is left.

mod builder;
pub mod checks;
mod control_flow;
mod declutter;
mod deferred;
mod fold;
pub mod fuse;
mod operators;
mod rewriter;
mod sequences;
mod subgraph;
#[cfg(test)]
mod testing;
mod translate;

use crate::error::{Error, ErrorCode, Result};
use crate::onnx::pb::GraphProto;
use crate::onnx::{ExternalFile, ReadAt, RewrittenModel, TensorInfo, WeightStore, index, rewrite, validate};
use crate::ops::{Embedding, GatedLinear, Linear, QuantizedLinear, Sharing};
use crate::tensor::DType;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use tract_core::internal::{OutletId, Symbol, TractResult};
use tract_core::prelude::{SymbolScope, TypedModel, tensor1};
use translate::{Translation, Weights, cause, input_facts, refuse_unknown_operators};

/// A model translated, fused and simplified, ready to be planned.
pub struct CompiledModel {
    /// One graph, or one for each value of the inputs that choose between branches.
    pub graphs: Vec<CompiledGraph>,
    /// The model's inputs.
    pub inputs: Vec<TensorInfo>,
    /// The model's outputs.
    pub outputs: Vec<TensorInfo>,
    /// What became of the nodes.
    pub report: Report,
}

/// A graph for some of a model's feeds.
pub struct CompiledGraph {
    /// Values of boolean inputs, by position, for which the graph was compiled.
    pub when: Vec<(usize, bool)>,
    /// Positions of the inputs that the graph reads.
    pub reads: Vec<usize>,
    /// The graph; its inputs are those it reads, its outputs the model's, both in the model's order.
    pub graph: TypedModel,
}

/// What became of a model's nodes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Nodes of the ONNX graph.
    pub nodes_before: usize,
    /// Nodes of the compiled graph; constants are left out.
    pub nodes_after: usize,
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotFused {
    /// What it would have become.
    pub pattern: Cow<'static, str>,
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
    compile_source(source, external).map_err(|error| with_remedy(error.file(source.name())))
}

/// A remedy for errors that are not given one where they arise.
fn with_remedy(error: Error) -> Error {
    match error.code {
        ErrorCode::InvalidModel => error.remedy("the model is corrupted or written wrongly: fetch or export it again"),
        ErrorCode::UnsupportedOp => error.remedy("export the model in another way, for instance with another opset"),
        ErrorCode::OutOfMemory => error.remedy("use a smaller model"),
        _ => error,
    }
}

fn compile_source(source: &dyn ReadAt, external: &[ExternalFile]) -> Result<CompiledModel> {
    let index = index(source)?;
    validate(&index)?;
    let rewritten = rewrite(index)?;
    refuse_unknown_operators(&rewritten.graph)?;
    let mut report = Report { operators_before: operators_of(&rewritten.graph), ..Report::default() };
    report.nodes_before = report.operators_before.values().sum();
    let graphs = compile_graphs(&rewritten, &WeightStore::new(source, external), &mut report)?;
    report.nodes_after = report.operators_after.values().sum();
    graphs.iter().for_each(pack_weights);
    Ok(CompiledModel { graphs, inputs: rewritten.inputs, outputs: rewritten.outputs, report })
}

/// The graphs, whose weights are still to be packed: what several of them share is packed once, and then no plain weight is
/// held for another graph.
fn compile_graphs(rewritten: &RewrittenModel, store: &WeightStore, report: &mut Report) -> Result<Vec<CompiledGraph>> {
    let _sharing = Sharing::begin();
    let choices = choices(rewritten);
    let weights = Weights::new(&rewritten.initializers, store, choices.len() > 1);
    let compile = |when: Vec<(usize, bool)>| {
        let graph = translate(rewritten, &weights, &when)?;
        let graph = fuse::fuse(graph, report)?;
        let mut graph = declutter::declutter(graph, &mut report.not_simplified)?;
        count_operators(&graph, &mut report.operators_after);
        let reads = drop_unread_inputs(&mut graph).map_err(|error| cause(&error))?;
        Ok(CompiledGraph { when, reads, graph })
    };
    choices.into_iter().map(compile).collect()
}

/// Packs the weights one by one; each is held plain no longer than until then.
fn pack_weights(graph: &CompiledGraph) {
    for node in graph.graph.nodes() {
        if let Some(linear) = node.op_as::<Linear>() {
            linear.weights.make();
        } else if let Some(linear) = node.op_as::<GatedLinear>() {
            linear.gate.make();
            linear.up.make();
        } else if let Some(linear) = node.op_as::<QuantizedLinear>() {
            linear.weights.make();
        } else if let Some(embedding) = node.op_as::<Embedding>() {
            embedding.table.make();
        }
    }
}

/// What the inputs that choose between branches may be: merged decoders take `use_cache_branch`. Each choice becomes a graph
/// of its own, in which only one branch stands.
fn choices(rewritten: &RewrittenModel) -> Vec<Vec<(usize, bool)>> {
    /// Graphs double with each input; more than these are left to run time.
    const MOST: usize = 2;
    let branching = rewritten.graph.node.iter().filter(|node| node.op_type == "If");
    let read: HashSet<&String> = branching.filter_map(|node| node.input.first()).collect();
    let conditions = rewritten.inputs.iter().enumerate();
    let conditions =
        conditions.filter(|(_, input)| input.dtype == DType::Bool && read.contains(&input.name)).take(MOST);
    conditions.fold(vec![vec![]], |choices, (position, _)| {
        let both = |choice: Vec<_>| [true, false].map(|value| [choice.clone(), vec![(position, value)]].concat());
        choices.into_iter().flat_map(both).collect()
    })
}

fn translate(rewritten: &RewrittenModel, weights: &Weights, when: &[(usize, bool)]) -> Result<TypedModel> {
    let symbols = SymbolScope::default();
    let facts = input_facts(&rewritten.inputs, &symbols)?;
    let mut translation = Translation::new(rewritten.opset, symbols).with_weights(weights, rewritten.declared.clone());
    let mut sources = Vec::new();
    for (input, fact) in rewritten.inputs.iter().zip(facts) {
        sources.push(translation.add_source(&input.name, fact).map_err(|error| cause(&error).tensor(&*input.name))?);
    }
    for (position, value) in when {
        let name = &rewritten.inputs[*position].name;
        translation.add_const(name, tensor1(&[*value])).map_err(|error| cause(&error).tensor(&**name))?;
    }
    translation.count_uses(&rewritten.graph);
    let outputs = translation.graph("", &rewritten.graph)?;
    let model = translation.builder.finish(sources, &outputs);
    for (output, outlet) in rewritten.outputs.iter().zip(&outputs) {
        checks::check_declared(&model, *outlet, output.datum_type()).map_err(|error| error.tensor(&*output.name))?;
    }
    model.into_compact().map_err(|error| cause(&error))
}

fn operators_of(graph: &GraphProto) -> BTreeMap<String, usize> {
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        *operators.entry(node.op_type.clone()).or_default() += 1;
    }
    operators
}

/// Leaves only those inputs that a node or an output reads, or whose size nothing else tells; gives their positions. What is
/// fed to the others has no bearing, not even on the sizes that symbols stand for.
fn drop_unread_inputs(graph: &mut TypedModel) -> TractResult<Vec<usize>> {
    let is_read = |input: &OutletId| !graph.outlet_successors(*input).is_empty() || graph.outputs.contains(input);
    let symbols = |input: &OutletId| -> TractResult<Vec<Symbol>> {
        Ok(graph.outlet_fact(*input)?.shape.iter().flat_map(|dim| dim.symbols()).collect())
    };
    let mut reads: Vec<usize> = (0..graph.inputs.len()).filter(|position| is_read(&graph.inputs[*position])).collect();
    let mut told = HashSet::new();
    for position in &reads {
        told.extend(symbols(&graph.inputs[*position])?);
    }
    for position in 0..graph.inputs.len() {
        let own = symbols(&graph.inputs[position])?;
        if !reads.contains(&position) && own.iter().any(|symbol| !told.contains(symbol)) {
            told.extend(own);
            reads.push(position);
        }
    }
    reads.sort_unstable();
    graph.inputs = reads.iter().map(|position| graph.inputs[*position]).collect();
    Ok(reads)
}

fn count_operators(graph: &TypedModel, operators: &mut BTreeMap<String, usize>) {
    for node in graph.nodes().iter().filter(|node| node.op.name() != "Const" && node.op.name() != "Source") {
        *operators.entry(node.op.name().to_string()).or_default() += 1;
    }
}
