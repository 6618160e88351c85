//! Refuses graphs that are not well formed, before tract sees them.
//! The rules are those of the ONNX IR specification, "Graphs" and "Names Within a Graph".

use super::index::ModelIndex;
use super::qualified_op_type;
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};
use tract_onnx::pb;

/// Opset versions of ONNX's own domain whose operators are understood.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;

/// Checks that every name is defined, and only once, that no node depends on itself, and that the opset is known. Nodes may
/// stand in any order: tools that convert graphs do not always sort them.
///
/// # Errors
/// `InvalidModel` or, for an opset outside 7 to 28, `UnsupportedOp`.
pub fn validate(index: &ModelIndex) -> Result<()> {
    let version = index.model.opset_import.iter().find(|import| matches!(&*import.domain, "" | "ai.onnx"));
    let version = version.map(|import| import.version).ok_or_else(|| Error::invalid_model("no ONNX opset is named"))?;
    if !OPSETS.contains(&version) {
        return Err(Error::unsupported_op(format!("opset {version} is not supported")).remedy(format!(
            "export with an opset from {} to {}",
            OPSETS.start(),
            OPSETS.end()
        )));
    }
    let graph = index.model.graph.as_ref().ok_or_else(|| Error::invalid_model("the model holds no graph"))?;
    if !graph.sparse_initializer.is_empty() {
        return Err(Error::unsupported_op("sparse initializers are not supported").remedy("store the weights dense"));
    }
    let mut defined = HashSet::new();
    for initializer in &index.initializers {
        if initializer.name.is_empty() || !defined.insert(initializer.name.clone()) {
            return Err(defined_twice(&initializer.name));
        }
    }
    validate_graph(graph, defined)
}

fn validate_graph(graph: &pb::GraphProto, mut defined: HashSet<String>) -> Result<()> {
    let mut inputs = HashSet::new();
    for input in &graph.input {
        let is_tensor = input.r#type.as_ref().is_some_and(|kind| kind.value.is_some());
        if !is_tensor {
            return Err(Error::invalid_model("an input of the graph is not a tensor").tensor(&*input.name));
        }
        if input.name.is_empty() || !inputs.insert(&*input.name) {
            return Err(defined_twice(&input.name));
        }
        defined.insert(input.name.clone());
    }
    for initializer in &graph.initializer {
        defined.insert(initializer.name.clone());
    }
    for node in &graph.node {
        define_outputs(node, &mut defined).map_err(|error| at(error, node))?;
    }
    for node in &graph.node {
        validate_node(node, &defined).map_err(|error| at(error, node))?;
    }
    refuse_cycles(graph)?;
    for output in &graph.output {
        if !defined.contains(&output.name) {
            return Err(Error::invalid_model("an output of the graph is computed by no node").tensor(&*output.name));
        }
    }
    Ok(())
}

fn at(error: Error, node: &pb::NodeProto) -> Error {
    error.node(node_name(node)).op(qualified_op_type(&node.domain, &node.op_type))
}

fn define_outputs(node: &pb::NodeProto, defined: &mut HashSet<String>) -> Result<()> {
    match node.output.iter().find(|name| !name.is_empty() && !defined.insert((*name).clone())) {
        Some(twice) => Err(defined_twice(twice)),
        None => Ok(()),
    }
}

fn validate_node(node: &pb::NodeProto, defined: &HashSet<String>) -> Result<()> {
    if node.op_type.is_empty() {
        return Err(Error::invalid_model("a node has no operator"));
    }
    if let Some(missing) = node.input.iter().find(|name| !name.is_empty() && !defined.contains(*name)) {
        return Err(Error::invalid_model("an input is computed by no node")
            .tensor(&**missing)
            .remedy("the graph is corrupted: export it again"));
    }
    let mut names = HashSet::new();
    if let Some(twice) = node.attribute.iter().find(|attribute| !names.insert(&*attribute.name)) {
        return Err(Error::invalid_model(format!("attribute `{}` is given twice", twice.name)));
    }
    if node.op_type == "Transpose" {
        validate_permutation(node)?;
    }
    for attribute in &node.attribute {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            validate_graph(graph, defined.clone())?;
        }
    }
    Ok(())
}

/// tract would follow a broken permutation without end.
fn validate_permutation(node: &pb::NodeProto) -> Result<()> {
    let Some(permutation) = node.attribute.iter().find(|attribute| attribute.name == "perm") else { return Ok(()) };
    let mut axes = permutation.ints.clone();
    axes.sort_unstable();
    if axes.iter().enumerate().any(|(position, axis)| *axis != position as i64) {
        return Err(Error::invalid_model(format!("{:?} is no permutation of axes", permutation.ints)));
    }
    Ok(())
}

/// Removes nodes that depend on no other until none is left; what remains is a cycle.
fn refuse_cycles(graph: &pb::GraphProto) -> Result<()> {
    let producers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(position, node)| node.output.iter().map(move |name| (&**name, position)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let mut readers = vec![Vec::new(); graph.node.len()];
    let mut waiting = vec![0usize; graph.node.len()];
    for (position, node) in graph.node.iter().enumerate() {
        for producer in node.input.iter().filter_map(|name| producers.get(&**name)) {
            readers[*producer].push(position);
            waiting[position] += 1;
        }
    }
    let mut ready: Vec<usize> = (0..waiting.len()).filter(|position| waiting[*position] == 0).collect();
    while let Some(position) = ready.pop() {
        for reader in &readers[position] {
            waiting[*reader] -= 1;
            if waiting[*reader] == 0 {
                ready.push(*reader);
            }
        }
    }
    match waiting.iter().position(|count| *count > 0) {
        Some(position) => Err(at(Error::invalid_model("a node depends on itself"), &graph.node[position])),
        None => Ok(()),
    }
}

fn defined_twice(name: &str) -> Error {
    match name {
        "" => Error::invalid_model("a tensor has no name"),
        name => Error::invalid_model("a tensor is defined twice").tensor(name),
    }
}

/// A node's name, or that of its first output where it has none.
pub(super) fn node_name(node: &pb::NodeProto) -> &str {
    match &*node.name {
        "" => node.output.iter().find(|name| !name.is_empty()).map_or("", |name| name),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn node(op_type: &str, input: &[&str], output: &[&str]) -> pb::NodeProto {
        pb::NodeProto {
            op_type: op_type.into(),
            input: input.iter().map(|name| name.to_string()).collect(),
            output: output.iter().map(|name| name.to_string()).collect(),
            ..Default::default()
        }
    }

    fn value(name: &str) -> pb::ValueInfoProto {
        let tensor = pb::type_proto::Tensor { elem_type: 1, shape: None };
        let value = Some(pb::type_proto::Value::TensorType(tensor));
        let kind = pb::TypeProto { value, ..Default::default() };
        pb::ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
    }

    fn model(opset: i64, node: Vec<pb::NodeProto>, outputs: &[&str]) -> ModelIndex {
        let output = outputs.iter().map(|name| value(name)).collect();
        let graph = pb::GraphProto { node, input: vec![value("x")], output, ..Default::default() };
        let opset_import = vec![pb::OperatorSetIdProto { domain: String::new(), version: opset }];
        let model = pb::ModelProto { opset_import, graph: Some(graph), ..Default::default() };
        ModelIndex { model, initializers: vec![] }
    }

    #[test]
    fn well_formed_and_not() {
        let relu = || node("Relu", &["x"], &["y"]);
        let cases = [
            (model(17, vec![relu()], &["y"]), None),
            (model(6, vec![relu()], &["y"]), Some(ErrorCode::UnsupportedOp)),
            (model(17, vec![relu()], &["z"]), Some(ErrorCode::InvalidModel)),
            (model(17, vec![relu(), relu()], &["y"]), Some(ErrorCode::InvalidModel)),
            (model(17, vec![node("Relu", &["y"], &["y"])], &["y"]), Some(ErrorCode::InvalidModel)),
            (model(17, vec![node("Relu", &["z"], &["y"]), node("Relu", &["x"], &["z"])], &["y"]), None),
            (
                model(17, vec![node("Relu", &["z"], &["y"]), node("Relu", &["y"], &["z"])], &["y"]),
                Some(ErrorCode::InvalidModel),
            ),
            (model(17, vec![node("Relu", &["w"], &["y"])], &["y"]), Some(ErrorCode::InvalidModel)),
            (model(17, vec![node("", &["x"], &["y"])], &["y"]), Some(ErrorCode::InvalidModel)),
        ];
        for (index, expected) in cases {
            assert_eq!(validate(&index).err().map(|error| error.code), expected, "{:?}", index.model.graph);
        }
    }
}
