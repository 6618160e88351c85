//! Refuses graphs that are not well formed, before tract sees them.
//! The rules are those of the ONNX IR specification, "Graphs" and "Names Within a Graph".

use super::index::ModelIndex;
use super::qualified_op_type;
use crate::error::{Error, Result};
use crate::onnx::pb;
use std::collections::{HashMap, HashSet};

/// Opset versions of ONNX's own domain whose operators are understood.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;
/// Inputs or outputs of a graph or of a node: the time that some things take grows with their square.
const MOST_VALUES: usize = 4096;

/// Checks that every name is defined, and only once, that no node depends on itself, that neither the graph nor a node has more
/// than `MOST_VALUES` inputs or outputs, and that the opset is known. Nodes may stand in any order: tools that convert graphs
/// do not always sort them.
///
/// # Errors
/// `InvalidModel` or, for an opset outside 7 to 28 and for more than 4096 inputs or outputs, `UnsupportedOp`.
pub fn validate(index: &ModelIndex) -> Result<()> {
    let version = index.model.opset_import.iter().find(|import| matches!(&*import.domain, "" | "ai.onnx"));
    let version = version.map(|import| import.version).ok_or_else(|| match index.model.opset_import.first() {
        Some(other) => {
            Error::unsupported_op(format!("a model of `{}`'s operators alone is not supported", other.domain))
        }
        None => Error::invalid_model("no ONNX opset is named"),
    })?;
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
    let mut names = HashSet::new();
    for initializer in &index.initializers {
        if initializer.name.is_empty() || !names.insert(&*initializer.name) {
            return Err(defined_twice(&initializer.name));
        }
    }
    refuse_many(graph.input.iter().filter(|input| !names.contains(&*input.name)).count(), "inputs")?;
    refuse_many(graph.output.len(), "outputs")?;
    validate_graph(graph, names, None)
}

fn refuse_many(count: usize, what: &str) -> Result<()> {
    if count <= MOST_VALUES {
        return Ok(());
    }
    Err(Error::unsupported_op(format!("{count} {what}, where {MOST_VALUES} are supported"))
        .remedy("export the model with fewer, for instance joined in one tensor"))
}

/// Names that a graph defines, and the graphs around it, whose names it may use and may define anew.
struct Scope<'a> {
    own: HashSet<&'a str>,
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn defines(&self, name: &str) -> bool {
        self.own.contains(name) || self.outer.is_some_and(|outer| outer.defines(name))
    }
}

/// `own` are names that the graph defines besides what stands in it.
fn validate_graph<'a>(
    graph: &'a pb::GraphProto,
    mut own: HashSet<&'a str>,
    outer: Option<&'a Scope<'a>>,
) -> Result<()> {
    let mut inputs = HashSet::new();
    for input in &graph.input {
        validate_type(input, outer.is_some())?;
        if input.name.is_empty() || !inputs.insert(&*input.name) {
            return Err(defined_twice(&input.name));
        }
    }
    own.extend(inputs);
    own.extend(graph.initializer.iter().map(|initializer| &*initializer.name));
    for node in &graph.node {
        define_outputs(node, &mut own).map_err(|error| at(error, node))?;
    }
    refuse_late_shadows(graph, outer)?;
    let scope = Scope { own, outer };
    for node in &graph.node {
        validate_node(node, &scope).map_err(|error| at(error, node))?;
    }
    refuse_cycles(graph)?;
    for output in &graph.output {
        if !scope.defines(&output.name) {
            return Err(Error::invalid_model("an output of the graph is computed by no node").tensor(&*output.name));
        }
    }
    Ok(())
}

/// The inputs of subgraphs may leave their type out. A type of which nothing is understood is a sequence, an optional or a map.
fn validate_type(input: &pb::ValueInfoProto, in_subgraph: bool) -> Result<()> {
    match &input.r#type {
        Some(kind) if kind.value.is_some() => Ok(()),
        Some(_) => Err(Error::unsupported_op("an input of the graph is not a tensor")
            .tensor(&*input.name)
            .remedy("export the model with tensors in place of sequences and optional values")),
        None if in_subgraph => Ok(()),
        None => Err(Error::invalid_model("an input of the graph has no type").tensor(&*input.name)),
    }
}

/// Nodes may stand in any order, so what an earlier one means by a name that stands for one tensor outside the graph and for
/// another one that a later node of it computes cannot be told.
fn refuse_late_shadows(graph: &pb::GraphProto, outer: Option<&Scope>) -> Result<()> {
    let Some(outer) = outer else { return Ok(()) };
    let outputs = graph.node.iter().flat_map(|node| &node.output);
    let mut late: HashSet<&str> = outputs.map(|name| &**name).filter(|name| outer.defines(name)).collect();
    for node in &graph.node {
        if late.is_empty() {
            return Ok(());
        }
        if let Some(name) = names_read(node).into_iter().find(|name| late.contains(name)) {
            return Err(at(
                Error::unsupported_op("a name is used before it is given to another tensor").tensor(name),
                node,
            ));
        }
        for name in &node.output {
            late.remove(&**name);
        }
    }
    Ok(())
}

/// Names that a node or a node of its subgraphs reads.
fn names_read(node: &pb::NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(|name| &**name).collect();
    for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        graph.node.iter().for_each(|node| names.extend(names_read(node)));
    }
    names
}

fn at(error: Error, node: &pb::NodeProto) -> Error {
    error.node(node_name(node)).op(qualified_op_type(&node.domain, &node.op_type))
}

fn define_outputs<'a>(node: &'a pb::NodeProto, own: &mut HashSet<&'a str>) -> Result<()> {
    match node.output.iter().find(|name| !name.is_empty() && !own.insert(name)) {
        Some(twice) => Err(defined_twice(twice)),
        None => Ok(()),
    }
}

fn validate_node<'a>(node: &'a pb::NodeProto, scope: &'a Scope<'a>) -> Result<()> {
    if node.op_type.is_empty() {
        return Err(Error::invalid_model("a node has no operator"));
    }
    refuse_many(node.input.len(), "inputs")?;
    refuse_many(node.output.len(), "outputs")?;
    if let Some(missing) = node.input.iter().find(|name| !name.is_empty() && !scope.defines(name)) {
        return Err(Error::invalid_model("an input is computed by no node")
            .tensor(&**missing)
            .remedy("the graph is corrupted: export it again"));
    }
    if let Some(reference) = node.attribute.iter().find(|attribute| !attribute.ref_attr_name.is_empty()) {
        return Err(Error::invalid_model(format!(
            "attribute `{}` refers to a function's, outside any",
            reference.name
        )));
    }
    let mut names = HashSet::new();
    if let Some(twice) = node.attribute.iter().find(|attribute| !names.insert(&*attribute.name)) {
        return Err(Error::invalid_model(format!("attribute `{}` is given twice", twice.name)));
    }
    if node.op_type == "Transpose" {
        validate_permutation(node)?;
    }
    let mut branches = node.attribute.iter().filter_map(|attribute| attribute.g.as_ref());
    if node.op_type == "If" && branches.any(|branch| branch.output.len() != node.output.len()) {
        return Err(Error::invalid_model("a branch has not as many outputs as the node"));
    }
    for attribute in &node.attribute {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            validate_graph(graph, HashSet::new(), Some(scope))?;
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
pub fn node_name(node: &pb::NodeProto) -> &str {
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
        let kind = pb::TypeProto { value };
        pb::ValueInfoProto { name: name.into(), r#type: Some(kind) }
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
    #[test]
    fn names_in_subgraphs() {
        let branch = |nodes: Vec<pb::NodeProto>| {
            let graph = pb::GraphProto { node: nodes, output: vec![value("y")], ..Default::default() };
            pb::AttributeProto { name: "then_branch".into(), g: Some(graph), ..Default::default() }
        };
        let relu = |input: &str, output: &str| node("Relu", &[input], &[output]);
        let cases = [
            // The branch gives the node's output the node's own name, as merged decoders do.
            (vec![relu("x", "y")], None),
            (vec![relu("x", "a"), relu("a", "y")], None),
            (vec![relu("x", "own"), relu("own", "y")], None),
            (vec![relu("own", "y"), relu("x", "own")], None),
            (vec![relu("a", "y"), relu("x", "a")], Some(ErrorCode::UnsupportedOp)),
            (vec![relu("x", "y"), relu("x", "y")], Some(ErrorCode::InvalidModel)),
            (vec![relu("nowhere", "y")], Some(ErrorCode::InvalidModel)),
        ];
        let mut choice = node("If", &["x"], &["y", "z"]);
        choice.attribute.push(branch(vec![relu("x", "y")]));
        assert!(validate(&model(17, vec![choice], &["y"])).is_err(), "a branch with too few outputs");
        for (nodes, expected) in cases {
            let choice = pb::NodeProto { attribute: vec![branch(nodes)], ..node("If", &["x"], &["y"]) };
            let index = model(17, vec![relu("x", "a"), choice], &["y"]);
            assert_eq!(validate(&index).err().map(|error| error.code), expected, "{:?}", index.model.graph);
        }
    }
}
