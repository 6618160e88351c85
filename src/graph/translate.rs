//! ONNX nodes, one by one, forward into tract's `TypedModel`. No shape solver runs: each node is wired on
//! the facts of its inputs, and small constants fold as they are wired, so that shape arithmetic over symbols resolves.

use super::builder::{Builder, shortened};
use super::checks::{check_node, check_wired};
use super::control_flow::{wire_if, wire_loop, wire_scan};
use super::deferred::Deferred;
use super::operators;
use super::sequences::{self, Value, wire_sequence};
use crate::error::{Error, Result};
use crate::onnx::pb::{GraphProto, NodeProto};
use crate::onnx::{Dimension, Initializer, TensorInfo, WeightStore, node_name, tensor_from_proto};
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tract_core::internal::*;
use tract_core::prelude::DatumType;

/// Where names that the graph itself does not define come from.
pub struct Weights<'a> {
    initializers: HashMap<&'a str, &'a Initializer>,
    store: &'a WeightStore<'a>,
    /// What has been read, where several graphs share the weights.
    shared: Option<RefCell<HashMap<String, Arc<Tensor>>>>,
}

impl<'a> Weights<'a> {
    /// The weights of the main graph; `shared` if more than one graph is made of them.
    pub fn new(initializers: &'a [Initializer], store: &'a WeightStore<'a>, shared: bool) -> Weights<'a> {
        let initializers = initializers.iter().map(|initializer| (&*initializer.name, initializer)).collect();
        Weights { initializers, store, shared: shared.then(RefCell::default) }
    }

    fn read(&self, name: &str) -> Result<Arc<Tensor>> {
        if let Some(tensor) = self.shared.as_ref().and_then(|shared| shared.borrow().get(name).cloned()) {
            return Ok(tensor);
        }
        let Some(initializer) = self.initializers.get(name) else {
            return Err(Error::invalid_model("a tensor is computed by no node").tensor(name));
        };
        let tensor = self.store.read(initializer)?.into_arc_tensor();
        if let Some(shared) = &self.shared {
            shared.borrow_mut().insert(name.to_string(), tensor.clone());
        }
        Ok(tensor)
    }
}

/// What a tensor of the graph is known to be before it is translated: element type and rank.
pub type Declared = HashMap<String, (DatumType, usize)>;

/// A graph on its way into a `TypedModel`.
pub struct Translation<'a> {
    /// What has been translated.
    pub builder: Builder,
    /// Version of ONNX's operators.
    pub opset: i64,
    weights: Option<&'a Weights<'a>>,
    declared: Rc<Declared>,
    scopes: Vec<HashMap<String, Value>>,
    /// How often a name is still to be read, where that is counted.
    uses: HashMap<String, usize>,
    /// Names of the weights that an outlet stands for, where it stands for nothing else.
    weights_at: HashMap<OutletId, Vec<String>>,
    /// Whether nodes whose values are not known yet may be left to run time.
    pub may_defer: bool,
    /// Nodes of subgraphs that have been translated, to see what comes of them.
    pub budget: Budget,
}

/// Counts the nodes of subgraphs that are translated: loops in loops are translated again and again, until what they carry has
/// settled.
#[derive(Debug, Clone, Default)]
pub struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// Counts the nodes of a subgraph.
    ///
    /// # Errors
    /// `UnsupportedOp` when there were too many.
    pub fn spend(&self, nodes: usize) -> Result<()> {
        const MOST: usize = 1 << 17;
        if self.0.fetch_add(nodes, Ordering::Relaxed) <= MOST {
            return Ok(());
        }
        Err(Error::unsupported_op("its subgraphs are too large, or nested too deeply")
            .remedy("export the model with its control flow inlined"))
    }
}

impl<'a> Translation<'a> {
    /// An empty model.
    pub fn new(opset: i64, symbols: SymbolScope) -> Translation<'a> {
        Translation {
            builder: Builder::new(symbols),
            opset,
            weights: None,
            declared: Rc::default(),
            scopes: vec![HashMap::new()],
            uses: HashMap::new(),
            weights_at: HashMap::new(),
            may_defer: true,
            budget: Budget::default(),
        }
    }

    /// Takes names that nothing else defines from the weights.
    pub fn with_weights(self, weights: &'a Weights<'a>, declared: Declared) -> Translation<'a> {
        Translation { weights: Some(weights), declared: Rc::new(declared), ..self }
    }

    /// Counts what a graph and its subgraphs read, so that a weight is given up when it has been packed by all who read it.
    pub fn count_uses(&mut self, graph: &GraphProto) {
        for node in &graph.node {
            for name in &node.input {
                *self.uses.entry(name.clone()).or_default() += 1;
            }
            for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
                self.count_uses(graph);
            }
        }
        for output in &graph.output {
            *self.uses.entry(output.name.clone()).or_default() += 1;
        }
    }

    /// Gives up those weights that `node` was the last one to read, and that are no constants of the graph.
    fn give_up_weights(&mut self, node: &NodeProto) {
        for name in &node.input {
            let Some(uses) = self.uses.get_mut(name) else { continue };
            *uses = uses.saturating_sub(1);
            let Some(Value::Tensor(outlet)) = self.scopes[0].get(name).filter(|_| *uses == 0).cloned() else {
                continue;
            };
            let names = self.weights_at.get(&outlet).map_or(&[][..], |names| names);
            let all_read = names.iter().all(|name| self.uses.get(name) == Some(&0));
            if !names.is_empty() && all_read && self.builder.give_up(outlet) {
                for name in names {
                    self.scopes[0].remove(name);
                }
            }
        }
    }

    /// What has been translated.
    pub fn model(&self) -> &TypedModel {
        self.builder.model()
    }

    /// Gives a name to an outlet.
    pub fn define(&mut self, name: &str, outlet: OutletId) {
        self.define_value(name, Value::Tensor(outlet));
    }

    /// Gives a name to a value, whose tensors then stand for more than weights.
    fn define_value(&mut self, name: &str, value: Value) {
        for tensor in value.tensors() {
            self.weights_at.remove(tensor);
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_string(), value);
        }
    }

    /// Adds an input under its own name.
    pub fn add_source(&mut self, name: &str, fact: TypedFact) -> TractResult<OutletId> {
        let outlet = self.builder.add_source(name, fact)?;
        self.define(name, outlet);
        Ok(outlet)
    }

    /// Adds a constant under its own name.
    pub fn add_const(&mut self, name: &str, tensor: impl IntoArcTensor) -> TractResult<OutletId> {
        let outlet = self.builder.add_const(name, tensor.into_arc_tensor())?;
        self.define(name, outlet);
        Ok(outlet)
    }

    /// The tensor of that name; a weight is read when it is first asked for.
    ///
    /// # Errors
    /// `UnsupportedOp` for a sequence or an optional value; those of reading the weight.
    pub fn outlet(&mut self, name: &str) -> Result<OutletId> {
        match self.value(name)? {
            Value::Tensor(outlet) => Ok(outlet),
            _ => Err(Error::unsupported_op("a sequence or an optional value is used where only tensors are supported")
                .tensor(name)
                .remedy("export the model with tensors in place of sequences and optional values")),
        }
    }

    /// What that name stands for; a weight is read when it is first asked for.
    ///
    /// # Errors
    /// Those of reading the weight.
    pub fn value(&mut self, name: &str) -> Result<Value> {
        if let Some(value) = self.scopes.iter().rev().find_map(|scope| scope.get(name)) {
            return Ok(value.clone());
        }
        let tensor = match self.weights {
            Some(weights) => weights.read(name)?,
            None => return Err(Error::invalid_model("a tensor is computed by no node").tensor(name)),
        };
        let next = self.model().nodes().len();
        let outlet = self.builder.add_const(name, tensor).map_err(|error| cause(&error).tensor(name))?;
        self.scopes[0].insert(name.to_string(), Value::Tensor(outlet));
        if outlet.node == next || self.weights_at.contains_key(&outlet) {
            self.weights_at.entry(outlet).or_default().push(name.to_string());
        }
        Ok(Value::Tensor(outlet))
    }

    /// Element type and rank of a tensor, where the model declares them.
    pub fn declared(&self, name: &str) -> Option<(DatumType, usize)> {
        self.declared.get(name).copied()
    }

    /// Translates a graph whose inputs are defined; gives its outputs. What it defines is not seen outside it.
    pub fn graph(&mut self, prefix: &str, graph: &GraphProto) -> Result<TVec<OutletId>> {
        self.scopes.push(HashMap::new());
        let outputs = self.graph_in_scope(prefix, graph);
        self.scopes.pop();
        outputs
    }

    fn graph_in_scope(&mut self, prefix: &str, graph: &GraphProto) -> Result<TVec<OutletId>> {
        for initializer in &graph.initializer {
            let tensor = tensor_from_proto(initializer).map_err(|error| error.tensor(&*initializer.name))?;
            self.add_const(&initializer.name, tensor).map_err(|error| cause(&error).tensor(&*initializer.name))?;
        }
        for position in evaluation_order(graph) {
            let node = &graph.node[position];
            self.node(prefix, node).map_err(|error| {
                let error = if error.node.is_none() { error.node(node_name(node)).op(&*node.op_type) } else { error };
                error.doing("translating the graph")
            })?;
        }
        graph.output.iter().map(|output| self.outlet(&output.name)).collect()
    }

    fn node(&mut self, prefix: &str, node: &NodeProto) -> Result<()> {
        let name = format!("{prefix}{}", shortened(node_name(node)));
        let name = shortened(&name);
        if sequences::is_known(&node.op_type) {
            check_node(node, self.model(), &[])?;
            let value = wire_sequence(self, name, node)?;
            node.output.iter().for_each(|output| self.define_value(output, value.clone()));
            return Ok(());
        }
        let outlets = match &*node.op_type {
            "If" => wire_if(self, name, node)?,
            "Loop" => wire_loop(self, name, node)?,
            "Scan" => wire_scan(self, name, node)?,
            _ => self.operator(name, node)?,
        };
        let outputs: Vec<&String> = node.output.iter().filter(|output| !output.is_empty()).collect();
        if outlets.len() < outputs.len() {
            return Err(Error::unsupported_op(format!("its output {} is not supported", outlets.len() + 1)));
        }
        for (output, outlet) in outputs.iter().zip(outlets) {
            self.define(output, outlet);
        }
        self.give_up_weights(node);
        Ok(())
    }

    fn operator(&mut self, name: &str, node: &NodeProto) -> Result<TVec<OutletId>> {
        let inputs = node.input.iter().filter(|input| !input.is_empty());
        let inputs = inputs.map(|input| self.outlet(input)).collect::<Result<TVec<_>>>()?;
        check_node(node, self.model(), &inputs)?;
        let error = match self.wire(node, name, &inputs) {
            Ok(outlets) => return check_wired(self.model(), &outlets).map(|()| outlets),
            Err(error) => error,
        };
        if own(&error).is_none()
            && self.may_defer
            && let Some(deferred) = Deferred::new(self, node, &inputs)
        {
            return self.builder.wire_one(name, deferred, &inputs).map_err(|error| cause(&error));
        }
        Err(cause(&error))
    }

    /// tract panics on some operands that no exporter writes.
    fn wire(&mut self, node: &NodeProto, name: &str, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let opset = self.opset;
        self.builder.wire(inputs, |fragment, inputs| {
            let wire = AssertUnwindSafe(|| operators::wire_node(node, opset, name, fragment, inputs));
            catch_unwind(wire).unwrap_or_else(|_| {
                Err(Error::unsupported_op("operands of this form are not supported")
                    .remedy("the model may be corrupted: fetch or export it again")
                    .into())
            })
        })
    }
}

/// Refuses a graph that uses operators that are not known, before any of its weights is read.
///
/// # Errors
/// `UnsupportedOp`.
pub fn refuse_unknown_operators(graph: &GraphProto) -> Result<()> {
    for node in &graph.node {
        let is_known = |op_type: &str| operators::is_known(op_type) || sequences::is_known(op_type);
        if !is_known(&node.op_type) && !matches!(&*node.op_type, "If" | "Loop" | "Scan") {
            return Err(Error::unsupported_op("this operator is not supported")
                .op(&*node.op_type)
                .node(node_name(node))
                .remedy(remedy_for_operator(&node.op_type)));
        }
        for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
            refuse_unknown_operators(graph)?;
        }
    }
    Ok(())
}

fn remedy_for_operator(op_type: &str) -> &'static str {
    match op_type.strip_prefix("com.microsoft.") {
        Some("BeamSearch" | "GreedySearch" | "Sampling" | "WhisperBeamSearch") => {
            "export the encoder and the decoder themselves, without the search around them"
        }
        _ => "export the model with other operators, for instance without fusing",
    }
}

/// The facts of the model's inputs: a symbol for each distinct name of a dimension, one of its own where it has no name.
///
/// # Errors
/// `UnsupportedOp` for an input whose rank the model does not say.
pub fn input_facts(inputs: &[TensorInfo], symbols: &SymbolScope) -> Result<Vec<TypedFact>> {
    let mut named: HashMap<&str, TDim> = HashMap::new();
    let mut count = 0;
    let mut facts = Vec::new();
    for input in inputs {
        let Some(shape) = &input.shape else {
            return Err(Error::unsupported_op("the model does not say this input's rank")
                .tensor(&*input.name)
                .remedy("export the model with the input's shape, symbolic or not"));
        };
        let mut fresh = || {
            count += 1;
            symbols.sym(&format!("symbol_{count}")).to_dim()
        };
        let dims: TVec<TDim> = shape
            .iter()
            .map(|dimension| match dimension {
                Dimension::Fixed(size) => size.to_dim(),
                Dimension::Symbol(name) if name.is_empty() => fresh(),
                Dimension::Symbol(name) => named.entry(name).or_insert_with(&mut fresh).clone(),
            })
            .collect();
        facts.push(input.datum_type().fact(dims));
    }
    Ok(facts)
}

/// The nodes in an order in which each stands after those that it depends on, through its subgraphs too.
fn evaluation_order(graph: &GraphProto) -> Vec<usize> {
    let producers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(position, node)| node.output.iter().map(move |name| (&**name, position)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let mut order = Vec::with_capacity(graph.node.len());
    let mut placed = vec![false; graph.node.len()];
    for first in 0..graph.node.len() {
        let mut stack = vec![(first, false)];
        while let Some((position, dependencies_placed)) = stack.pop() {
            if dependencies_placed {
                order.push(position);
                continue;
            }
            if std::mem::replace(&mut placed[position], true) {
                continue;
            }
            stack.push((position, true));
            let names = super::subgraph::names_read(&graph.node[position]);
            let dependencies = names.iter().rev().filter_map(|name| producers.get(&**name));
            stack
                .extend(dependencies.filter(|dependency| !placed[**dependency]).map(|dependency| (*dependency, false)));
        }
    }
    order
}

/// Our own error inside tract's.
pub fn own(error: &TractError) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref::<Error>())
}

/// Our own error inside tract's, or else an `UnsupportedOp` with tract's words.
pub fn cause(error: &TractError) -> Error {
    match own(error) {
        Some(own) => own.clone(),
        None => Error::unsupported_op(error.root_cause().to_string())
            .remedy("export the model in another way, for instance with another opset"),
    }
}
