//! Local functions (`ModelProto.functions`): every call is replaced by the function's nodes, so that nothing further on needs to
//! know of functions. The rules are those of the ONNX IR specification, "Functions".
//!
//! Refused: recursion, calls nested too deeply, expansions that are larger than any exporter's graph, and functions written for
//! another version of ONNX's own operators than the model, since an operator may mean something else there.

use super::validate::node_name;
use super::{MICROSOFT, qualified_op_type};
use crate::error::{Error, Result};
use crate::onnx::pb;
use prost::Message;
use std::collections::{HashMap, HashSet};

/// Calls and subgraphs inside each other; protobuf decoders allow as many messages.
const DEEPEST: usize = 100;
/// Nodes that calls may expand to, over all.
const MOST_NODES: usize = 1 << 15;
/// Encoded size of those nodes.
const MOST_BYTES: usize = 128 << 20;
/// Characters of a call's name that the names in its expansion begin with.
const LONGEST_PREFIX: usize = 256;

/// A local function.
#[derive(Clone, PartialEq, Message)]
pub struct Function {
    /// Operator type of the nodes that call it.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Names of its inputs inside it.
    #[prost(string, repeated, tag = "4")]
    pub input: Vec<String>,
    /// Names of its outputs inside it.
    #[prost(string, repeated, tag = "5")]
    pub output: Vec<String>,
    /// Names of its attributes without a default.
    #[prost(string, repeated, tag = "6")]
    pub attribute: Vec<String>,
    /// Its nodes.
    #[prost(message, repeated, tag = "7")]
    pub node: Vec<pb::NodeProto>,
    /// Versions of the operators that it was written for.
    #[prost(message, repeated, tag = "9")]
    pub opset_import: Vec<pb::OperatorSetIdProto>,
    /// Domain of the nodes that call it.
    #[prost(string, tag = "10")]
    pub domain: String,
    /// Its attributes that have a default, with it.
    #[prost(message, repeated, tag = "11")]
    pub attribute_proto: Vec<pb::AttributeProto>,
    /// Tells functions of one name apart.
    #[prost(string, tag = "13")]
    pub overload: String,
}

/// The functions of a model: a `ModelProto` with all but them left out.
#[derive(Clone, PartialEq, Message)]
pub struct Library {
    /// The functions.
    #[prost(message, repeated, tag = "25")]
    pub functions: Vec<Function>,
}

/// `NodeProto.overload` of a graph's or function's nodes, which [`pb`] lacks.
#[derive(Clone, PartialEq, Message)]
struct GraphOverloads {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeOverload>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeOverload {
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeOverloads>,
    #[prost(string, tag = "8")]
    overload: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeOverloads {
    #[prost(message, optional, tag = "6")]
    g: Option<GraphOverloads>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphOverloads>,
}

#[derive(Clone, PartialEq, Message)]
struct FunctionOverloads {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeOverload>,
}

#[derive(Clone, PartialEq, Message)]
struct ModelOverloads {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphOverloads>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionOverloads>,
}

/// Puts the overload of functions, and of the nodes that call them, into their type. `encoded` is what the two were decoded from.
pub fn qualify_overloads(model: &mut pb::ModelProto, library: &mut Library, encoded: &[u8]) -> Result<()> {
    if library.functions.iter().all(|function| function.overload.is_empty()) {
        return Ok(());
    }
    let overloads = ModelOverloads::decode(encoded)
        .map_err(|error| Error::invalid_model(format!("the overloads of its functions: {error}")))?;
    if let (Some(graph), Some(graph_overloads)) = (&mut model.graph, &overloads.graph) {
        qualify_nodes(&mut graph.node, &graph_overloads.node);
    }
    for (function, own) in library.functions.iter_mut().zip(&overloads.functions) {
        qualify_nodes(&mut function.node, &own.node);
        qualify(&mut function.name, &function.overload);
    }
    Ok(())
}

fn qualify(op_type: &mut String, overload: &str) {
    if !overload.is_empty() {
        *op_type = format!("{op_type}:{overload}");
    }
}

fn qualify_nodes(nodes: &mut [pb::NodeProto], overloads: &[NodeOverload]) {
    for (node, own) in nodes.iter_mut().zip(overloads) {
        qualify(&mut node.op_type, &own.overload);
        for (attribute, own) in node.attribute.iter_mut().zip(&own.attribute) {
            let graphs = attribute.g.iter_mut().chain(&mut attribute.graphs);
            for (graph, own) in graphs.zip(own.g.iter().chain(&own.graphs)) {
                qualify_nodes(&mut graph.node, &own.node);
            }
        }
    }
}

/// Replaces every call in `model` of a function of `library`. `initializers` are the names of the main graph's.
///
/// # Errors
/// `InvalidModel` for functions that are not well formed or call themselves, `UnsupportedOp` for one written for another opset
/// than the model, `OutOfMemory` for an expansion beyond all measure.
pub fn inline_functions<'a>(
    model: &mut pb::ModelProto,
    library: &Library,
    initializers: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let opset = onnx_opset(&model.opset_import);
    let Some(graph) = model.graph.as_mut().filter(|_| !library.functions.is_empty()) else { return Ok(()) };
    let mut functions = HashMap::new();
    for function in library.functions.iter().filter(|function| !is_built_in(&function.domain)) {
        let id = qualified_op_type(&function.domain, &function.name);
        if functions.insert(id.clone(), function).is_some() {
            return Err(Error::invalid_model("a local function is defined twice").op(id));
        }
    }
    let mut taken = initializers.map(str::to_string).collect();
    collect_names(graph, &mut taken);
    let mut inliner = Inliner { functions, opset, taken, next_number: 1, calls: Vec::new(), nodes: 0, bytes: 0 };
    inliner.expand_graph(graph, 0)
}

/// Version of ONNX's own operators.
fn onnx_opset(imports: &[pb::OperatorSetIdProto]) -> Option<i64> {
    imports.iter().find(|import| is_onnx(&import.domain)).map(|import| import.version)
}

/// Every name of a tensor in the graph and its subgraphs.
fn collect_names(graph: &pb::GraphProto, names: &mut HashSet<String>) {
    names.extend(graph.input.iter().map(|input| input.name.clone()));
    names.extend(graph.initializer.iter().map(|initializer| initializer.name.clone()));
    for node in &graph.node {
        names.extend(node.input.iter().chain(&node.output).cloned());
        for attribute in &node.attribute {
            attribute.g.iter().chain(&attribute.graphs).for_each(|graph| collect_names(graph, names));
        }
    }
}

struct Inliner<'a> {
    functions: HashMap<String, &'a Function>,
    opset: Option<i64>,
    /// Names of tensors that are in use.
    taken: HashSet<String>,
    /// Number that the next name gets that would else be taken.
    next_number: usize,
    /// Functions being expanded, outermost first.
    calls: Vec<String>,
    /// Nodes made so far.
    nodes: usize,
    /// Their encoded size.
    bytes: usize,
}

impl Inliner<'_> {
    fn expand_graph(&mut self, graph: &mut pb::GraphProto, depth: usize) -> Result<()> {
        graph.node = self.expand_nodes(std::mem::take(&mut graph.node), depth)?;
        Ok(())
    }

    fn expand_nodes(&mut self, nodes: Vec<pb::NodeProto>, depth: usize) -> Result<Vec<pb::NodeProto>> {
        if depth > DEEPEST {
            return Err(Error::invalid_model(format!("calls and subgraphs are nested over {DEEPEST} deep")));
        }
        let mut expanded = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            let id = qualified_op_type(&node.domain, &node.op_type);
            if let Some(function) = self.functions.get(&id).copied() {
                let body = self.call(function, &node, &id, depth);
                expanded.extend(body.map_err(|error| error.node(node_name(&node)).op(id))?);
                continue;
            }
            for graph in subgraphs_mut(&mut node) {
                self.expand_graph(graph, depth + 1)?;
            }
            expanded.push(node);
        }
        Ok(expanded)
    }

    fn call(
        &mut self,
        function: &Function,
        call: &pb::NodeProto,
        id: &str,
        depth: usize,
    ) -> Result<Vec<pb::NodeProto>> {
        if self.calls.iter().any(|caller| caller == id) {
            return Err(Error::invalid_model("a local function calls itself"));
        }
        self.refuse_other_opset(function)?;
        self.count(1 + count_nodes(&function.node), function.encoded_len())?;
        let body = self.instantiate(function, call)?;
        self.calls.push(id.to_string());
        let expanded = self.expand_nodes(body, depth + 1)?;
        self.calls.pop();
        Ok(expanded)
    }

    fn refuse_other_opset(&self, function: &Function) -> Result<()> {
        let own = onnx_opset(&function.opset_import);
        let uses_onnx = function.node.iter().any(|node| is_onnx(&node.domain));
        if own.is_none() || own == self.opset || !uses_onnx {
            return Ok(());
        }
        let [own, model] = [own, self.opset].map(|version| version.map_or("none".to_string(), |v| v.to_string()));
        Err(Error::unsupported_op(format!("a local function is written for opset {own}, the model for {model}"))
            .remedy("export again, or inline the functions and convert them (onnx.inliner, onnx.version_converter)"))
    }

    /// Keeps functions that call others many times, level by level, from filling the memory.
    fn count(&mut self, nodes: usize, bytes: usize) -> Result<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > MOST_NODES || self.bytes > MOST_BYTES {
            return Err(Error::out_of_memory("the local functions expand to a graph that is too large")
                .remedy("export the model without functions"));
        }
        Ok(())
    }

    /// The function's nodes under names of the caller.
    fn instantiate(&mut self, function: &Function, call: &pb::NodeProto) -> Result<Vec<pb::NodeProto>> {
        let attributes = bind_attributes(function, call)?;
        let prefix: String = node_name(call).chars().take(LONGEST_PREFIX).collect();
        let (names, mut copies) = self.bind_names(function, call, &prefix)?;
        let mut instance = Instance { inliner: self, prefix: &prefix, attributes: &attributes, scopes: vec![names] };
        let mut body = instance.nodes(&function.node)?;
        body.append(&mut copies);
        Ok(body)
    }

    /// The caller's names of the function's inputs, outputs and inner tensors, and nodes for the outputs that are copies.
    fn bind_names(
        &mut self,
        function: &Function,
        call: &pb::NodeProto,
        prefix: &str,
    ) -> Result<(Scope, Vec<pb::NodeProto>)> {
        if call.input.len() > function.input.len() || call.output.len() > function.output.len() {
            return Err(Error::invalid_model("a local function is called with too many inputs or outputs"));
        }
        let mut scope = Scope::new();
        for (position, formal) in function.input.iter().enumerate() {
            let actual = call.input.get(position).cloned().unwrap_or_default();
            if formal.is_empty() || scope.insert(formal.clone(), actual).is_some() {
                return Err(Error::invalid_model("an input of a local function has no name of its own").tensor(formal));
            }
        }
        let computed: HashSet<&String> =
            function.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty()).collect();
        if let Some(twice) = computed.iter().find(|name| scope.contains_key(**name)) {
            return Err(Error::invalid_model("a tensor of a local function is defined twice").tensor(&***twice));
        }
        let mut copies = Vec::new();
        for (formal, actual) in function.output.iter().zip(&call.output).filter(|(_, actual)| !actual.is_empty()) {
            match scope.get(formal) {
                None if computed.contains(formal) => {
                    scope.insert(formal.clone(), actual.clone());
                }
                Some(source) if !source.is_empty() => copies.push(copy(source, actual)),
                _ => return Err(undefined(formal)),
            }
        }
        for name in computed {
            if !scope.contains_key(name) {
                scope.insert(name.clone(), self.fresh(prefix, name));
            }
        }
        Ok((scope, copies))
    }

    /// A name that no tensor has.
    fn fresh(&mut self, prefix: &str, name: &str) -> String {
        let mut fresh = format!("{prefix}/{name}");
        while !self.taken.insert(fresh.clone()) {
            fresh = format!("{prefix}/{name}#{}", self.next_number);
            self.next_number += 1;
        }
        fresh
    }
}

/// Names in the caller of the names in the function.
type Scope = HashMap<String, String>;

/// One expansion of a function.
struct Instance<'a, 'b> {
    inliner: &'a mut Inliner<'b>,
    prefix: &'a str,
    /// Values of the function's attributes; `None` where it has no value.
    attributes: &'a HashMap<&'a str, Option<&'a pb::AttributeProto>>,
    /// Of the function, then of the subgraphs that are being renamed, outermost first.
    scopes: Vec<Scope>,
}

impl Instance<'_, '_> {
    fn nodes(&mut self, nodes: &[pb::NodeProto]) -> Result<Vec<pb::NodeProto>> {
        nodes.iter().map(|node| self.node(node).map_err(|error| error.node(node_name(node)))).collect()
    }

    fn node(&mut self, node: &pb::NodeProto) -> Result<pb::NodeProto> {
        let mut attribute = Vec::with_capacity(node.attribute.len());
        for own in &node.attribute {
            attribute.extend(self.attribute(own)?);
        }
        Ok(pb::NodeProto {
            input: node.input.iter().map(|name| self.name(name)).collect::<Result<_>>()?,
            output: node.output.iter().map(|name| self.name(name)).collect::<Result<_>>()?,
            name: format!("{}/{}", self.prefix, node_name(node)),
            op_type: node.op_type.clone(),
            domain: node.domain.clone(),
            attribute,
        })
    }

    /// The attribute with its value; `None` where it refers to one that has none.
    fn attribute(&mut self, own: &pb::AttributeProto) -> Result<Option<pb::AttributeProto>> {
        if !own.ref_attr_name.is_empty() {
            return self.referred(own);
        }
        let mut attribute = own.clone();
        for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            self.graph(graph)?;
        }
        Ok(Some(attribute))
    }

    fn referred(&mut self, own: &pb::AttributeProto) -> Result<Option<pb::AttributeProto>> {
        let value = self.attributes.get(&*own.ref_attr_name).ok_or_else(|| {
            Error::invalid_model(format!("a local function has no attribute `{}`", own.ref_attr_name))
        })?;
        let Some(value) = *value else { return Ok(None) };
        if own.r#type != 0 && own.r#type != value.r#type {
            return Err(wrong_type(&own.ref_attr_name));
        }
        let graphs = value.g.iter().chain(&value.graphs);
        self.inliner.count(graphs.map(|graph| count_nodes(&graph.node)).sum(), value.encoded_len())?;
        Ok(Some(pb::AttributeProto { name: own.name.clone(), ..value.clone() }))
    }

    fn graph(&mut self, graph: &mut pb::GraphProto) -> Result<()> {
        let outputs = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
        let inputs = graph.input.iter().map(|input| &input.name);
        let weights = graph.initializer.iter().map(|initializer| &initializer.name);
        let own = inputs.chain(weights).chain(outputs);
        self.scopes.push(own.map(|name| (name.clone(), self.inliner.fresh(self.prefix, name))).collect());
        graph.node = self.nodes(&graph.node)?;
        graph.value_info.clear();
        let values = graph.input.iter_mut().chain(&mut graph.output).map(|value| &mut value.name);
        for name in values.chain(graph.initializer.iter_mut().map(|initializer| &mut initializer.name)) {
            *name = self.name(name)?;
        }
        self.scopes.pop();
        Ok(())
    }

    /// The caller's name of a tensor; a function sees no tensors but its own.
    fn name(&self, name: &str) -> Result<String> {
        if name.is_empty() {
            return Ok(String::new());
        }
        self.scopes.iter().rev().find_map(|scope| scope.get(name).cloned()).ok_or_else(|| undefined(name))
    }
}

fn subgraphs_mut(node: &mut pb::NodeProto) -> impl Iterator<Item = &mut pb::GraphProto> {
    node.attribute.iter_mut().flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs))
}

/// Nodes, and those of their subgraphs.
fn count_nodes(nodes: &[pb::NodeProto]) -> usize {
    let attributes = nodes.iter().flat_map(|node| &node.attribute);
    let subgraphs = attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    nodes.len() + subgraphs.map(|graph| count_nodes(&graph.node)).sum::<usize>()
}

/// Whether the operators of a domain are known: a function under the name of one only says what the operator does.
fn is_built_in(domain: &str) -> bool {
    is_onnx(domain) || domain == MICROSOFT
}

fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Values of the function's attributes at a call.
fn bind_attributes<'a>(
    function: &'a Function,
    call: &'a pb::NodeProto,
) -> Result<HashMap<&'a str, Option<&'a pb::AttributeProto>>> {
    let plain = function.attribute.iter().map(|name| (&**name, None));
    let with_default = function.attribute_proto.iter().map(|default| (&*default.name, Some(default)));
    let mut values: HashMap<&str, Option<&pb::AttributeProto>> = plain.chain(with_default).collect();
    for given in &call.attribute {
        match values.insert(&given.name, Some(given)) {
            Some(Some(default)) if default.r#type != given.r#type => return Err(wrong_type(&given.name)),
            Some(_) => {}
            None => {
                return Err(Error::unsupported_op(format!("the local function has no attribute `{}`", given.name)));
            }
        }
    }
    Ok(values)
}

fn wrong_type(attribute: &str) -> Error {
    Error::invalid_model(format!("attribute `{attribute}` of a local function has another type than where it is used"))
}

fn copy(source: &str, target: &str) -> pb::NodeProto {
    pb::NodeProto {
        op_type: "Identity".into(),
        input: vec![source.into()],
        output: vec![target.into()],
        ..Default::default()
    }
}

fn undefined(name: &str) -> Error {
    Error::invalid_model("a tensor of a local function is computed by no node of it").tensor(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    /// `output, output = op_type(input, input)`; a name that begins with `local.` is of that domain.
    fn node(text: &str) -> pb::NodeProto {
        let (output, call) = text.split_once(" = ").unwrap();
        let (op_type, input) = call.trim_end_matches(')').split_once('(').unwrap();
        let names = |text: &str| text.split(", ").map(str::to_string).filter(|name| !name.is_empty()).collect();
        let (domain, op_type) = op_type.rsplit_once('.').unwrap_or(("", op_type));
        pb::NodeProto {
            op_type: op_type.into(),
            domain: domain.into(),
            input: names(input),
            output: names(output),
            ..Default::default()
        }
    }

    fn text(node: &pb::NodeProto) -> String {
        let op_type = qualified_op_type(&node.domain, &node.op_type);
        format!("{} = {op_type}({})", node.output.join(", "), node.input.join(", "))
    }

    /// `name(input, input) => output, output`, then its nodes.
    fn function(signature: &str, nodes: &[&str]) -> Function {
        let (call, output) = signature.split_once(" => ").unwrap();
        let (name, input) = call.trim_end_matches(')').split_once('(').unwrap();
        let names = |text: &str| text.split(", ").map(str::to_string).collect();
        Function {
            name: name.into(),
            domain: "local".into(),
            input: names(input),
            output: names(output),
            node: nodes.iter().map(|text| node(text)).collect(),
            ..Default::default()
        }
    }

    fn model(nodes: Vec<pb::NodeProto>) -> pb::ModelProto {
        let opset_import = vec![pb::OperatorSetIdProto { domain: String::new(), version: 18 }];
        let graph = Some(pb::GraphProto { node: nodes, ..Default::default() });
        pb::ModelProto { opset_import, graph, ..Default::default() }
    }

    #[test]
    fn calls_become_nodes() {
        struct Case {
            nodes: &'static [&'static str],
            functions: Vec<Function>,
            expected: Result<&'static [&'static str], ErrorCode>,
        }
        let double = |name: usize| {
            let callee = name + 1;
            let nodes = [format!("t = local.f{callee}(x)"), format!("y = local.f{callee}(t)")];
            function(&format!("f{name}(x) => y"), &[&nodes[0], &nodes[1]])
        };
        let chain = |name: usize| function(&format!("f{name}(x) => y"), &[&format!("y = local.f{}(x)", name + 1)]);
        let opset = |version: i64| vec![pb::OperatorSetIdProto { domain: "ai.onnx".into(), version }];
        let negate = || function("f(x) => y", &["y = Neg(x)"]);
        let cases = [
            Case { nodes: &["b = local.f(a)"], functions: vec![negate()], expected: Ok(&["b = Neg(a)"]) },
            Case { nodes: &["b = Relu(a)"], functions: vec![negate()], expected: Ok(&["b = Relu(a)"]) },
            Case {
                nodes: &["b = local.f(a)", "c = local.f(b)"],
                functions: vec![
                    function("f(x) => y", &["t = Exp(x)", "y = local.g(t, x)"]),
                    function("g(p, q) => r", &["r = Sub(p, q)"]),
                ],
                expected: Ok(&["b/t = Exp(a)", "b = Sub(b/t, a)", "c/t = Exp(b)", "c = Sub(c/t, b)"]),
            },
            Case {
                nodes: &["b/t = Relu(a)", "b = local.f(b/t)"],
                functions: vec![function("f(x) => y", &["t = Exp(x)", "y = Neg(t)"])],
                expected: Ok(&["b/t = Relu(a)", "b/t#1 = Exp(b/t)", "b = Neg(b/t#1)"]),
            },
            Case {
                nodes: &["b = local.f(a)"],
                functions: vec![function("f(x, low) => y, z", &["y = Clip(x, low)", "z = Exp(x)"])],
                expected: Ok(&["b = Clip(a, )", "b/z = Exp(a)"]),
            },
            Case {
                nodes: &["b, c, d = local.f(a)"],
                functions: vec![function("f(x) => x, y, y", &["y = Exp(x)"])],
                expected: Ok(&["c = Exp(a)", "b = Identity(a)", "d = Identity(c)"]),
            },
            Case { nodes: &["b = local.f(a, a)"], functions: vec![negate()], expected: Err(ErrorCode::InvalidModel) },
            Case { nodes: &["b, c = local.f(a)"], functions: vec![negate()], expected: Err(ErrorCode::InvalidModel) },
            Case {
                nodes: &["b = local.f(a)"],
                functions: vec![negate(), negate()],
                expected: Err(ErrorCode::InvalidModel),
            },
            Case {
                nodes: &["b = local.f(a)"],
                functions: vec![function("f(x) => y", &["y = Add(x, a)"])],
                expected: Err(ErrorCode::InvalidModel),
            },
            Case {
                nodes: &["b = local.f(a)"],
                functions: vec![function("f(x) => z", &["y = Neg(x)"])],
                expected: Err(ErrorCode::InvalidModel),
            },
            Case {
                nodes: &["b = local.f(a)"],
                functions: vec![function("f(x) => y", &["y = local.g(x)"]), function("g(x) => y", &["y = local.f(x)"])],
                expected: Err(ErrorCode::InvalidModel),
            },
            Case {
                nodes: &["b = local.f(a)"],
                functions: vec![Function { opset_import: opset(18), ..negate() }],
                expected: Ok(&["b = Neg(a)"]),
            },
            Case {
                nodes: &["b = local.f(a)"],
                functions: vec![Function { opset_import: opset(17), ..negate() }],
                expected: Err(ErrorCode::UnsupportedOp),
            },
            Case {
                nodes: &["b = local.f0(a)"],
                functions: (0..60).map(double).chain([function("f60(x) => x", &[])]).collect(),
                expected: Err(ErrorCode::OutOfMemory),
            },
            Case {
                nodes: &["b = local.f0(a)"],
                functions: (0..500).map(chain).chain([function("f500(x) => x", &[])]).collect(),
                expected: Err(ErrorCode::InvalidModel),
            },
            Case {
                nodes: &["b = Relu(a)"],
                functions: vec![Function { domain: String::new(), ..function("Relu(x) => y", &["y = Neg(x)"]) }],
                expected: Ok(&["b = Relu(a)"]),
            },
        ];
        for Case { nodes, functions, expected } in cases {
            let mut model = model(nodes.iter().map(|text| node(text)).collect());
            let outcome = inline_functions(&mut model, &Library { functions }, std::iter::empty());
            let nodes = outcome.map(|()| model.graph.unwrap().node.iter().map(text).collect::<Vec<_>>());
            let expected = expected.map(|nodes| nodes.iter().map(|text| text.to_string()).collect());
            assert_eq!(nodes.map_err(|error| error.code), expected);
        }
    }

    #[test]
    fn attributes() {
        let float = |name: &str, f: f32| pb::AttributeProto { name: name.into(), r#type: 1, f, ..Default::default() };
        let int = |name: &str, i: i64| pb::AttributeProto { name: name.into(), r#type: 2, i, ..Default::default() };
        let reference =
            pb::AttributeProto { name: "alpha".into(), r#type: 1, ref_attr_name: "slope".into(), ..Default::default() };
        let leaky = pb::NodeProto { attribute: vec![reference], ..node("y = LeakyRelu(x)") };
        let none = Function { node: vec![leaky], ..function("f(x) => y", &[]) };
        let plain = Function { attribute: vec!["slope".into()], ..none.clone() };
        let default = Function { attribute_proto: vec![float("slope", 0.5)], ..none.clone() };
        let cases = [
            (&plain, vec![], Ok(vec![])),
            (&plain, vec![float("slope", 0.25)], Ok(vec![float("alpha", 0.25)])),
            (&default, vec![], Ok(vec![float("alpha", 0.5)])),
            (&default, vec![float("slope", 0.25)], Ok(vec![float("alpha", 0.25)])),
            (&plain, vec![int("slope", 1)], Err(ErrorCode::InvalidModel)),
            (&default, vec![int("slope", 1)], Err(ErrorCode::InvalidModel)),
            (&plain, vec![float("slope", 0.25), float("other", 1.0)], Err(ErrorCode::UnsupportedOp)),
            (&none, vec![], Err(ErrorCode::InvalidModel)),
        ];
        for (function, attribute, expected) in cases {
            let mut model = model(vec![pb::NodeProto { attribute, ..node("b = local.f(a)") }]);
            let library = Library { functions: vec![function.clone()] };
            let outcome = inline_functions(&mut model, &library, std::iter::empty());
            let attributes = outcome.map(|()| model.graph.unwrap().node.remove(0).attribute);
            assert_eq!(attributes.map_err(|error| error.code), expected);
        }
    }

    #[test]
    fn names_in_subgraphs() {
        // Inside the branch `t` is its own, `x` the function's input, `u` a tensor of the function.
        let branch = pb::GraphProto {
            node: vec![node("t = Add(u, x)"), node("r = local.g(t)")],
            output: vec![pb::ValueInfoProto { name: "r".into(), ..Default::default() }],
            ..Default::default()
        };
        let then = pb::AttributeProto { name: "then_branch".into(), g: Some(branch), ..Default::default() };
        let condition = pb::NodeProto { attribute: vec![then], ..node("y = If(u)") };
        let outer = Function { node: vec![node("u = Exp(x)"), condition], ..function("f(x) => y", &[]) };
        let library = Library { functions: vec![outer, function("g(t) => r", &["r = Neg(t)"])] };
        let mut model = model(vec![node("b = local.f(a)")]);
        inline_functions(&mut model, &library, std::iter::empty()).unwrap();
        let nodes = model.graph.unwrap().node;
        let branch = nodes[1].attribute[0].g.as_ref().unwrap();
        let texts: Vec<String> = nodes.iter().chain(&branch.node).map(text).collect();
        assert_eq!(texts, ["b/u = Exp(a)", "b = If(b/u)", "b/t = Add(b/u, a)", "b/r = Neg(b/t)"]);
        assert_eq!(branch.output[0].name, "b/r");
    }

    #[test]
    fn overloads_tell_functions_apart() {
        // Field 8 of a node and 13 of a function hold the overload (onnx.proto).
        let overload = |number: u8, name: &str| [&[number << 3 | 2, name.len() as u8], name.as_bytes()].concat();
        let encoded = |number: u32, parts: &[Vec<u8>]| {
            let mut bytes = Vec::new();
            super::super::wire::put_bytes(number, &parts.concat(), &mut bytes);
            bytes
        };
        let node_bytes = |text: &str, name: &str| encoded(1, &[node(text).encode_to_vec(), overload(8, name)]);
        let graph = encoded(7, &[node_bytes("b = local.f(a)", "second"), node_bytes("c = local.f(b)", "first")]);
        let functions = [("Neg", "first"), ("Exp", "second")].map(|(op_type, name)| {
            let body = function("f(x) => y", &[&format!("y = {op_type}(x)")]);
            Function { overload: name.into(), ..body }
        });
        let library = Library { functions: functions.to_vec() };
        let bytes = [graph, library.encode_to_vec()].concat();
        let mut model = pb::ModelProto::decode(&*bytes).unwrap();
        let mut library = Library::decode(&*bytes).unwrap();
        qualify_overloads(&mut model, &mut library, &bytes).unwrap();
        inline_functions(&mut model, &library, std::iter::empty()).unwrap();
        let texts: Vec<String> = model.graph.unwrap().node.iter().map(text).collect();
        assert_eq!(texts, ["b = Exp(a)", "c = Neg(b)"]);
    }
}
