//! ONNX nodes, one by one, forward into tract's `TypedModel`. tract-hir's shape solver does not run: each node is wired on
//! the facts of its inputs, and small constants fold as they are wired, so that shape arithmetic over symbols resolves.

use super::operators::onnx;
use crate::error::{Error, Result};
use crate::onnx::{RewrittenModel, WeightStore};
use std::collections::{BTreeMap, HashMap};
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::tract_hir::internal::*;

/// Nodes of the main graph, by operator.
pub fn operators(model: &ModelProto) -> BTreeMap<String, usize> {
    let mut operators = BTreeMap::new();
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        *operators.entry(node.op_type.clone()).or_default() += 1;
    }
    operators
}

/// Translates a model; its weights are read from `weights` as they are wired.
///
/// # Errors
/// `UnsupportedOp` for an operator, or a use of one, that cannot be translated; what [`WeightStore::read`] gives.
pub fn translate(rewritten: &RewrittenModel, weights: &WeightStore) -> Result<TypedModel> {
    let onnx = onnx();
    if let Some(graph) = &rewritten.model.graph {
        refuse_unknown_operators(graph, &onnx.op_register)?;
    }
    let source = onnx.parse(&rewritten.model, None).map_err(|error| cause(&error))?.model;
    let mut typed = TypedModel { symbols: source.symbols.clone(), ..TypedModel::default() };
    let mut mapping: HashMap<OutletId, OutletId> = HashMap::new();
    let order = source.eval_order().map_err(|error| cause(&error))?;
    let operator_of: HashMap<&str, &str> =
        rewritten.model.graph.iter().flat_map(|graph| &graph.node).map(|node| (&*node.name, &*node.op_type)).collect();
    let initializers: HashMap<&str, _> =
        rewritten.initializers.iter().map(|initializer| (&*initializer.name, initializer)).collect();
    for id in order {
        let node = source.node(id);
        let outlets = if let Some(initializer) = initializers.get(&*node.name) {
            let tensor = weights.read(initializer)?;
            typed.add_const(node.name.clone(), tensor).map(|outlet| tvec!(outlet))
        } else if source.inputs.contains(&OutletId::new(id, 0)) {
            TypedFact::try_from(&node.outputs[0].fact)
                .and_then(|fact| typed.add_source(node.name.clone(), fact))
                .map(|outlet| tvec!(outlet))
        } else {
            node.op.to_typed(&source, node, &mut typed, &mapping)
        };
        let outlets = outlets.map_err(|error| {
            let operator = operator_of.get(&*node.name).map_or_else(|| node.op.name().to_string(), |op| op.to_string());
            cause(&error).node(&*node.name).op(operator).doing("translating the graph")
        })?;
        for (slot, outlet) in outlets.iter().enumerate() {
            mapping.insert(OutletId::new(id, slot), *outlet);
        }
    }
    connect(rewritten, &source, &mapping, typed).map_err(|error| cause(&error))
}

/// Inputs and outputs in the model's own order: sources were added in evaluation order.
fn connect(
    rewritten: &RewrittenModel,
    source: &InferenceModel,
    mapping: &HashMap<OutletId, OutletId>,
    mut typed: TypedModel,
) -> TractResult<TypedModel> {
    let mapped = |outlet: &OutletId| mapping.get(outlet).copied().context("an input or output was not translated");
    let mut inputs = Vec::new();
    for input in &rewritten.inputs {
        let id = source.node_id_by_name(&input.name)?;
        let outlet = OutletId::new(id, 0);
        // An input that no node reads is not visited, yet callers may feed it.
        inputs.push(match mapping.get(&outlet) {
            Some(outlet) => *outlet,
            None => typed.add_source(input.name.clone(), TypedFact::try_from(source.outlet_fact(outlet)?)?)?,
        });
    }
    typed.inputs = inputs;
    let outputs = source.output_outlets()?.iter().map(mapped).collect::<TractResult<Vec<_>>>()?;
    typed.select_output_outlets(&outputs)?;
    Ok(typed)
}

fn refuse_unknown_operators(graph: &GraphProto, known: &OnnxOpRegister) -> Result<()> {
    for node in &graph.node {
        if !known.0.contains_key(&node.op_type) {
            return Err(Error::unsupported_op("this operator is not supported")
                .op(&*node.op_type)
                .node(&*node.name)
                .remedy("export the model with other operators, for instance without fusing"));
        }
        for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
            refuse_unknown_operators(graph, known)?;
        }
    }
    Ok(())
}

/// Our own error inside tract's, or else an `UnsupportedOp` with tract's words.
fn cause(error: &TractError) -> Error {
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(own) => own.clone(),
        None => Error::unsupported_op(error.root_cause().to_string())
            .remedy("export the model in another way, for instance with another opset"),
    }
}
