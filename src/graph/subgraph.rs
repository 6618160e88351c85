//! Graphs that are translated at run time, when the values or sizes that they depend on are known.

use super::checks::checked_eval;
use super::translate::{Budget, Translation, cause};
use crate::error::Error;
use crate::onnx::pb::{GraphProto, NodeProto};
use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use tract_core::internal::*;
use tract_core::prelude::TypedSimplePlan;

/// Names that a node reads: its inputs, then what its subgraphs take from around them.
pub fn names_read(node: &NodeProto) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = node.input.iter().filter(|name| !name.is_empty()).cloned().collect();
    for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        names.extend(captured(graph));
    }
    names
}

/// Names that a graph uses and does not define.
pub fn captured(graph: &GraphProto) -> BTreeSet<String> {
    let inputs = graph.input.iter().map(|input| &input.name);
    let initializers = graph.initializer.iter().map(|initializer| &initializer.name);
    let outputs = graph.node.iter().flat_map(|node| &node.output);
    let defined: HashSet<&String> = inputs.chain(initializers).chain(outputs).collect();
    let read = graph.node.iter().flat_map(names_read);
    let read = read.chain(graph.output.iter().map(|output| output.name.clone()));
    read.filter(|name| !defined.contains(name)).collect()
}

/// A value that a graph is run on.
pub struct Argument {
    /// Name in the graph.
    pub name: String,
    /// The value.
    pub value: TValue,
    /// Whether the graph is translated for this very value, and not only for its type and shape.
    pub constant: bool,
}

/// A graph with the last plan made for it.
#[derive(Debug, Clone)]
pub struct Subgraph {
    graph: Arc<GraphProto>,
    opset: i64,
    /// Whether nodes inside may in turn be left to run time.
    may_defer: bool,
    budget: Budget,
    plan: Arc<Mutex<Option<Planned>>>,
}

/// A plan and what it was made for.
type Planned = (Vec<Key>, Arc<TypedSimplePlan>);

/// What a plan was made for.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    name: String,
    datum_type: DatumType,
    shape: TVec<usize>,
    value: Option<Arc<Tensor>>,
}

impl PartialEq for Subgraph {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.graph, &other.graph)
    }
}

impl Eq for Subgraph {}

impl Subgraph {
    /// A graph inside the one that is being translated.
    pub fn new(graph: GraphProto, outer: &Translation, may_defer: bool) -> Subgraph {
        let (opset, budget) = (outer.opset, outer.budget.clone());
        Subgraph { graph: Arc::new(graph), opset, may_defer, budget, plan: Arc::default() }
    }

    /// The graph.
    pub fn graph(&self) -> &GraphProto {
        &self.graph
    }

    /// Facts of the graph's outputs for inputs and captured values of these facts.
    pub fn output_facts(&self, symbols: &SymbolScope, inputs: &[(String, TypedFact)]) -> TractResult<TVec<TypedFact>> {
        self.budget.spend(self.graph.node.len())?;
        let mut translation = self.translation(symbols.clone());
        translation.budget = self.budget.clone();
        for (name, fact) in inputs {
            match &fact.konst {
                Some(constant) => translation.add_const(name, constant.clone())?,
                None => translation.add_source(name, fact.clone())?,
            };
        }
        let outputs = translation.graph("", &self.graph)?;
        outputs
            .iter()
            .map(|outlet| translation.model().outlet_fact(*outlet).map(|fact| run_time_fact(fact.clone())))
            .collect()
    }

    /// Runs the graph.
    pub fn run(&self, arguments: &[Argument]) -> TractResult<TVec<TValue>> {
        let plan = self.plan_for(arguments)?;
        work(1 + plan.order_without_consts().len());
        let inputs = arguments.iter().filter(|argument| !argument.constant).map(|argument| argument.value.clone());
        let mut outputs = plan.spawn()?.run_plan_with_eval(inputs.collect(), checked_eval)?;
        for output in &mut outputs {
            if output.datum_type() == TDim::datum_type() {
                *output = output.cast_to::<i64>()?.into_owned().into_tvalue();
            }
        }
        Ok(outputs)
    }

    fn plan_for(&self, arguments: &[Argument]) -> TractResult<Arc<TypedSimplePlan>> {
        let keys: Vec<Key> = arguments.iter().map(Argument::key).collect();
        let mut last = self.plan.lock().map_err(|_| Error::internal("another run of a subgraph panicked"))?;
        if let Some((made_for, plan)) = &*last
            && *made_for == keys
        {
            return Ok(plan.clone());
        }
        let mut translation = self.translation(SymbolScope::default());
        let mut inputs = vec![];
        for argument in arguments {
            if argument.constant {
                translation.add_const(&argument.name, argument.value.clone().into_arc_tensor())?;
            } else {
                let fact = argument.value.datum_type().fact(argument.value.shape());
                inputs.push(translation.add_source(&argument.name, fact)?);
            }
        }
        let outputs = translation.graph("", &self.graph)?;
        let model = translation.builder.finish(inputs, &outputs);
        let plan = TypedSimplePlan::new(model).map_err(|error| cause(&error))?;
        work(PLANNING * plan.model().nodes().len());
        *last = Some((keys, plan.clone()));
        Ok(plan)
    }

    fn translation(&self, symbols: SymbolScope) -> Translation<'static> {
        let mut translation = Translation::new(self.opset, symbols);
        translation.may_defer = self.may_defer;
        translation
    }
}

impl Argument {
    fn key(&self) -> Key {
        Key {
            name: self.name.clone(),
            datum_type: self.value.datum_type(),
            shape: self.value.shape().into(),
            value: self.constant.then(|| self.value.clone().into_arc_tensor()),
        }
    }
}

/// Work that planning a node is, where computing it is 1.
const PLANNING: usize = 32;

thread_local! {
    /// Loops that are running inside each other, and the work of their bodies.
    static RUNNING: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn work(more: usize) {
    let (depth, work) = RUNNING.get();
    RUNNING.set((depth, work + more));
}

/// A running loop. Nothing can interrupt it, so that it, and those that it is one of the turns of, must end by themselves.
pub struct RunningLoop(());

impl RunningLoop {
    /// Begins a loop.
    pub fn begin() -> RunningLoop {
        let (depth, work) = RUNNING.get();
        RUNNING.set((depth + 1, if depth == 0 { 0 } else { work }));
        RunningLoop(())
    }

    /// Allows one more turn.
    ///
    /// # Errors
    /// `UnsupportedOp` after more turns than any loop has that ends.
    pub fn turn(&self) -> TractResult<()> {
        const MOST_WORK: usize = 1 << 22;
        let (_, work) = RUNNING.get();
        if work <= MOST_WORK {
            return Ok(());
        }
        Err(Error::unsupported_op("it does not end, or not soon").remedy("export the model without its loops").into())
    }
}

impl Drop for RunningLoop {
    fn drop(&mut self) {
        let (depth, work) = RUNNING.get();
        RUNNING.set((depth - 1, work));
    }
}

/// The fact of a value at run time, when tract's symbolic sizes have become numbers.
pub fn run_time_fact(fact: TypedFact) -> TypedFact {
    let fact = fact.without_value();
    if fact.datum_type == TDim::datum_type() { i64::fact(fact.shape) } else { fact }
}

/// A value in which tract's symbolic sizes are numbers.
pub fn concrete(value: &TValue, context: &EvalContext) -> TractResult<TValue> {
    if value.datum_type() != TDim::datum_type() {
        return Ok(value.clone());
    }
    let sizes = value.try_as_plain_ram()?.as_slice::<TDim>()?;
    let sizes: Vec<i64> =
        sizes.iter().map(|size| Ok(size.eval(context.symbols).to_i64()?)).collect::<TractResult<_>>()?;
    Ok(Tensor::from_shape(value.shape(), &sizes)?.into_tvalue())
}
