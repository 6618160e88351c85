//! The stepping executor: one node after the other, GPU operators encoded as they come, bytes fetched from the GPU only when
//! the CPU needs them.

use super::checkpoint::Checkpoint;
use super::guard::guarded;
use super::promises::Promises;
use super::session::RunCounters;
use crate::error::{Error, Result};
use crate::gpu::{BufferId, Gpu};
use crate::graph::checks::{OperandCheck, check_outputs, check_promises};
use crate::ops::plain::PlainOperator;
use crate::ops::{
    Attention, Embedding, Expert, GatedLinear, IntegerLinear, Linear, Lookup, MixtureOfExperts, QuantizedLinear,
    Shared, f32_slice, spare,
};
use std::collections::HashMap;
use std::sync::Arc;
use tract_core::internal::{OutletId, Symbol, SymbolValues, TDim, TractError, TurnState, TypedNode, TypedSimpleState};
use tract_core::ops::konst::Const;
use tract_core::prelude::{IntoTValue, TValue, TVec, Tensor, TypedModel, TypedSimplePlan, tvec};

/// A plan with its state.
pub struct Executor {
    plan: Arc<TypedSimplePlan>,
    state: TypedSimpleState,
    /// In the order in which they are taken.
    steps: Vec<Step>,
    promises: Promises,
    /// Inputs that tell what the model's symbols stand for: the symbol, the input's position, and its axis.
    symbols: Vec<(Symbol, usize, usize)>,
    /// Stands where a value was given up.
    nothing: TValue,
}

/// A node that is computed, with what need not be asked of it in every run.
struct Step {
    node: usize,
    operands: OperandCheck,
    is_attention: bool,
    /// Whether sizes are known from its results only.
    binds_symbols: bool,
    /// Values that nobody needs after it.
    flush: TVec<OutletId>,
}

impl Drop for Executor {
    fn drop(&mut self) {
        spare::clear();
    }
}

/// When others are let in again: steps of a language model are far shorter than letting somebody in takes.
struct Pause {
    nodes: usize,
    elements: usize,
}

/// A tensor that lies on the GPU.
struct OnGpu {
    buffer: BufferId,
    shape: TVec<usize>,
}

/// The GPU's part of a run.
struct GpuValues<'a> {
    gpu: Option<&'a mut Gpu>,
    /// Results of nodes, by node; each has one output.
    results: HashMap<usize, OnGpu>,
    /// Copies of values that the CPU has too.
    uploads: HashMap<OutletId, BufferId>,
}

impl Executor {
    /// Plans a graph.
    ///
    /// # Errors
    /// `UnsupportedOp` when the graph cannot be ordered.
    pub fn new(graph: TypedModel) -> Result<Executor> {
        let plan = TypedSimplePlan::new(graph).map_err(|error| Error::unsupported_op(format!("{error:#}")))?;
        let mut state = plan.spawn().map_err(|error| Error::unsupported_op(format!("{error:#}")))?;
        let model = plan.model();
        // tract does this when it is given inputs, which [`Executor::set_inputs`] puts in their places itself.
        state.turn_state.values = model.nodes().iter().map(constant_values).collect();
        let (steps, promises, symbols) = (steps(&plan), Promises::new(model), symbols_of_inputs(model));
        let nothing = Tensor::default().into_tvalue();
        Ok(Executor { plan, state, steps, promises, symbols, nothing })
    }

    /// The graph that is planned.
    pub fn graph(&self) -> &TypedModel {
        self.plan.model()
    }

    /// Bytes of the weights, as they lie in memory, by address: other plans may have the same ones.
    pub fn weight_bytes(&self) -> HashMap<usize, usize> {
        self.plan.model().nodes().iter().flat_map(weight_bytes).collect()
    }

    /// Runs the plan on inputs in the model's order; gives the outputs in the model's order, and the sizes that the symbols
    /// stood for.
    pub async fn run(
        &mut self,
        inputs: TVec<TValue>,
        gpu: Option<&mut Gpu>,
        counters: &mut RunCounters,
        checkpoint: &impl Checkpoint,
    ) -> Result<(TVec<TValue>, SymbolValues)> {
        let mut values = GpuValues { gpu, results: HashMap::new(), uploads: HashMap::new() };
        let outcome = self.take_steps(inputs, &mut values, counters, checkpoint).await;
        values.release_all();
        let symbols = self.state.turn_state.resolved_symbols.clone();
        self.state.reset_turn().map_err(|error| run_error(&error))?;
        spare::end_run();
        outcome.map(|outputs| (outputs, symbols))
    }

    async fn take_steps(
        &mut self,
        inputs: TVec<TValue>,
        values: &mut GpuValues<'_>,
        counters: &mut RunCounters,
        checkpoint: &impl Checkpoint,
    ) -> Result<TVec<TValue>> {
        self.set_inputs(inputs)?;
        let plan = self.plan.clone();
        let mut pause = Pause::default();
        for step in 0..self.steps.len() {
            if pause.is_due() {
                checkpoint.pass().await?;
            }
            let node = plan.model().node(self.steps[step].node);
            self.step(step, node, values, counters).await.map_err(|error| at(error, node))?;
            pause.add(self.state.turn_state.values[node.id].as_deref().unwrap_or_default());
            for flushed in &self.steps[step].flush {
                forget(&mut self.state.turn_state.values[flushed.node], flushed.slot, &self.nothing);
                values.release(*flushed);
            }
        }
        self.fetch(plan.model().outputs.iter().copied(), values).await?;
        self.state.outputs().map_err(|error| run_error(&error))
    }

    /// Begins a run: inputs, in the model's order, are what their nodes give.
    fn set_inputs(&mut self, inputs: TVec<TValue>) -> Result<()> {
        let TurnState { resolved_symbols, values, .. } = &mut self.state.turn_state;
        for (symbol, input, axis) in &self.symbols {
            if let Some(size) = inputs.get(*input).and_then(|input| input.shape().get(*axis)) {
                resolved_symbols.set(symbol, *size as i64);
            }
        }
        self.promises.resolve(resolved_symbols);
        for (outlet, input) in self.plan.model().inputs.iter().zip(inputs) {
            let input = tvec!(input);
            let checked = check_outputs(&input, self.promises.of(outlet.node));
            checked.map_err(|error| at(error, self.plan.model().node(outlet.node)))?;
            values[outlet.node] = Some(input);
        }
        Ok(())
    }

    async fn step(
        &mut self,
        step: usize,
        node: &TypedNode,
        values: &mut GpuValues<'_>,
        counters: &mut RunCounters,
    ) -> Result<()> {
        let Step { operands, is_attention, binds_symbols, .. } = self.steps[step];
        if is_attention {
            if self.attention_on_gpu(node, values)? {
                counters.attention_on_gpu += 1;
                return Ok(());
            }
            counters.attention_on_cpu += 1;
        }
        self.fetch(node.inputs.iter().copied(), values).await?;
        let Executor { state, promises, .. } = self;
        check_promises(promises.of(node.id))?;
        guarded("running the model", || {
            let inputs = inputs(node, state)?;
            operands.check(&inputs)?;
            state.compute_one_with_inputs(node.id, inputs).map_err(|error| run_error(&error))
        })?;
        if binds_symbols && bind_symbols(node, &mut state.turn_state) {
            promises.resolve(&state.turn_state.resolved_symbols);
        }
        check_outputs(state.turn_state.values[node.id].as_deref().unwrap_or_default(), promises.of(node.id))
    }

    /// Encodes an attention on the GPU; `false` if there is none or the call is not for it.
    fn attention_on_gpu(&mut self, node: &TypedNode, values: &mut GpuValues<'_>) -> Result<bool> {
        let Some(attention) = node.op_as::<Attention>() else { return Ok(false) };
        if values.gpu.is_none() || attention.scores.is_some() || !attention.steps.is_empty() {
            return Ok(false);
        }
        let shapes: Vec<TVec<usize>> =
            node.inputs.iter().map(|outlet| values.shape(&self.state, *outlet)).collect::<Result<_>>()?;
        let shapes: Vec<&[usize]> = shapes.iter().map(|shape| &**shape).collect();
        let (call, shape) = attention.call(&shapes).map_err(|error| run_error(&error))?;
        let empty = shape.contains(&0) || call.shape.keys == 0;
        let Some(gpu) = values.gpu.as_deref() else { return Ok(false) };
        if empty || gpu.supports_attention(&call).is_err() {
            return Ok(false);
        }
        let mut operands = Vec::new();
        for outlet in &node.inputs {
            operands.push(values.on_gpu(&self.state, *outlet)?);
        }
        let Some(gpu) = values.gpu.as_deref_mut() else { return Ok(false) };
        let buffer = gpu.allocate(shape.iter().product())?;
        values.results.insert(node.id, OnGpu { buffer, shape });
        gpu.attention(&call, operands[0], operands[1], operands[2], operands.get(3).copied(), buffer)?;
        Ok(true)
    }

    /// Makes the CPU have these values, with one wait for all that lie on the GPU.
    async fn fetch(&mut self, outlets: impl Iterator<Item = OutletId>, values: &mut GpuValues<'_>) -> Result<()> {
        if values.gpu.is_none() {
            return Ok(());
        }
        let wanted: Vec<usize> = outlets
            .map(|outlet| outlet.node)
            .filter(|id| values.results.contains_key(id) && self.state.turn_state.values[*id].is_none())
            .collect();
        let Some(gpu) = values.gpu.as_deref_mut().filter(|_| !wanted.is_empty()) else { return Ok(()) };
        let buffers: Vec<BufferId> = wanted.iter().map(|id| values.results[id].buffer).collect();
        for (id, elements) in wanted.iter().zip(gpu.read_many(&buffers).await?) {
            let tensor = Tensor::from_shape(&values.results[id].shape, &elements).map_err(|error| run_error(&error))?;
            self.state.turn_state.values[*id] = Some(tvec!(tensor.into_tvalue()));
        }
        Ok(())
    }
}

/// All nodes but constants and inputs, in the plan's order.
fn steps(plan: &TypedSimplePlan) -> Vec<Step> {
    let model = plan.model();
    let is_input = |id: &usize| model.inputs.iter().any(|input| input.node == *id);
    let order: Vec<usize> = plan.order_without_consts().iter().copied().filter(|id| !is_input(id)).collect();
    let step = |(id, flush): (&usize, TVec<OutletId>)| {
        let node = model.node(*id);
        Step {
            node: *id,
            operands: OperandCheck::of(node),
            is_attention: node.op_is::<Attention>(),
            binds_symbols: node.op.mints_runtime_symbols(),
            flush,
        }
    };
    order.iter().zip(flush_list(model, &order)).map(step).collect()
}

/// Of each symbol that is the size of an input the first such input and its axis.
fn symbols_of_inputs(model: &TypedModel) -> Vec<(Symbol, usize, usize)> {
    let mut found: Vec<(Symbol, usize, usize)> = Vec::new();
    for (input, outlet) in model.inputs.iter().enumerate() {
        for (axis, dim) in model.node(outlet.node).outputs[outlet.slot].fact.shape.iter().enumerate() {
            if let TDim::Sym(symbol) = dim
                && !found.iter().any(|(known, ..)| known == symbol)
            {
                found.push((symbol.clone(), input, axis));
            }
        }
    }
    found
}

/// The values of a node's inputs.
fn inputs(node: &TypedNode, state: &TypedSimpleState) -> Result<TVec<TValue>> {
    let mut inputs = TVec::with_capacity(node.inputs.len());
    for outlet in &node.inputs {
        inputs.push(value(state, *outlet)?.clone());
    }
    Ok(inputs)
}

/// Binds symbols to sizes that only a node's result tells. Gives whether there were any that stood for none.
fn bind_symbols(node: &TypedNode, turn: &mut TurnState) -> bool {
    let mut binds = false;
    let Some(values) = turn.values[node.id].as_ref() else { return binds };
    for (output, value) in node.outputs.iter().zip(values) {
        for (dim, size) in output.fact.shape.iter().zip(value.shape()) {
            if let TDim::Sym(symbol) = dim
                && turn.resolved_symbols.get(symbol).is_none()
            {
                turn.resolved_symbols.set(symbol, *size as i64);
                binds = true;
            }
        }
    }
    binds
}

impl Default for Pause {
    /// Due at once.
    fn default() -> Pause {
        Pause { nodes: Pause::NODES, elements: 0 }
    }
}

impl Pause {
    /// Nodes between two pauses at most.
    const NODES: usize = 64;
    /// Elements of outputs between two pauses: no more than a few milliseconds' work in the layers of a model.
    const ELEMENTS: usize = 1 << 15;

    /// Whether a pause is due; counts from here then.
    fn is_due(&mut self) -> bool {
        let due = self.nodes >= Pause::NODES || self.elements >= Pause::ELEMENTS;
        if due {
            *self = Pause { nodes: 0, elements: 0 };
        }
        due
    }

    /// Counts a node that gave these values.
    fn add(&mut self, outputs: &[TValue]) {
        self.nodes += 1;
        self.elements += outputs.iter().map(|output| output.len()).sum::<usize>();
    }
}

/// Of each step of an order the values that are read there for the last time, and those that nobody reads; neither constants
/// nor outputs of the model.
fn flush_list(model: &TypedModel, order: &[usize]) -> Vec<TVec<OutletId>> {
    let mut last: HashMap<OutletId, usize> = HashMap::new();
    for (step, id) in order.iter().enumerate() {
        let node = model.node(*id);
        let own = (0..node.outputs.len()).map(|slot| OutletId::new(*id, slot));
        last.extend(own.chain(node.inputs.iter().copied()).map(|outlet| (outlet, step)));
    }
    let mut flush = vec![tvec!(); order.len()];
    for (outlet, step) in last {
        if !model.node(outlet.node).op_is::<Const>() && !model.outputs.contains(&outlet) {
            flush[step].push(outlet);
        }
    }
    flush
}

/// Gives one of a node's values up, with `nothing` in its place.
fn forget(values: &mut Option<TVec<TValue>>, slot: usize, nothing: &TValue) {
    match values.as_deref_mut() {
        Some([_]) | None => values.take().into_iter().flatten().for_each(spare::keep),
        Some(several) => spare::keep(std::mem::replace(&mut several[slot], nothing.clone())),
    }
}

/// What a node gives before any run.
fn constant_values(node: &TypedNode) -> Option<TVec<TValue>> {
    node.op_as::<Const>().map(|constant| tvec!(constant.val().clone().into_tvalue()))
}

impl GpuValues<'_> {
    fn shape(&self, state: &TypedSimpleState, outlet: OutletId) -> Result<TVec<usize>> {
        match self.results.get(&outlet.node) {
            Some(result) => Ok(result.shape.clone()),
            None => Ok(value(state, outlet)?.shape().into()),
        }
    }

    /// The buffer that holds a value, which is uploaded unless it is there.
    fn on_gpu(&mut self, state: &TypedSimpleState, outlet: OutletId) -> Result<BufferId> {
        if let Some(result) = self.results.get(&outlet.node) {
            return Ok(result.buffer);
        }
        if let Some(buffer) = self.uploads.get(&outlet) {
            return Ok(*buffer);
        }
        let Some(gpu) = self.gpu.as_deref_mut() else { return Err(Error::device_lost("there is no GPU")) };
        let value = value(state, outlet)?;
        let buffer = gpu.upload(f32_slice(value).map_err(|error| run_error(&error))?)?;
        self.uploads.insert(outlet, buffer);
        Ok(buffer)
    }

    fn release(&mut self, outlet: OutletId) {
        let Some(gpu) = self.gpu.as_deref_mut() else { return };
        let result = self.results.remove(&outlet.node).map(|result| result.buffer);
        for buffer in result.into_iter().chain(self.uploads.remove(&outlet)) {
            gpu.release(buffer);
        }
    }

    fn release_all(&mut self) {
        let results = self.results.keys().map(|node| OutletId::new(*node, 0));
        let outlets: Vec<OutletId> = results.chain(self.uploads.keys().copied()).collect();
        for outlet in outlets {
            self.release(outlet);
        }
    }
}

/// Addresses and bytes of a node's weights.
fn weight_bytes(node: &TypedNode) -> Vec<(usize, usize)> {
    let bias = |bias: &Option<Shared<Vec<f32>>>| bias.as_ref().map(|bias| (bias.address(), size_of_val(&bias[..])));
    if let Some(linear) = node.op_as::<Linear>() {
        let weights = (linear.weights.address(), linear.weights.bytes());
        [weights].into_iter().chain(bias(&linear.bias)).collect()
    } else if let Some(linear) = node.op_as::<GatedLinear>() {
        let weights = [&linear.gate, &linear.up].map(|weights| (weights.address(), weights.bytes()));
        weights.into_iter().chain(bias(&linear.gate_bias)).chain(bias(&linear.up_bias)).collect()
    } else if let Some(linear) = node.op_as::<QuantizedLinear>() {
        let weights = (linear.weights.address(), linear.weights.bytes());
        let scales = (linear.scales.address(), size_of_val(&linear.scales[..]));
        [weights, scales].into_iter().chain(bias(&linear.bias)).collect()
    } else if let Some(embedding) = node.op_as::<Embedding>() {
        vec![(embedding.table.address(), embedding.table.bytes())]
    } else if let Some(PlainOperator(linear)) = node.op_as::<PlainOperator<IntegerLinear>>() {
        vec![(linear.weights.address(), linear.weights.bytes())]
    } else if let Some(PlainOperator(mixture)) = node.op_as::<PlainOperator<MixtureOfExperts>>() {
        vec![(mixture.experts.address(), mixture.experts.iter().map(Expert::bytes).sum())]
    } else if let Some(PlainOperator(lookup)) = node.op_as::<PlainOperator<Lookup>>() {
        vec![(lookup.table.address(), lookup.table.as_bytes().len())]
    } else if let Some(constant) = node.op_as::<Const>() {
        let bytes = constant.val().as_plain_ram().map_or(0, |plain| plain.as_bytes().len());
        vec![(Arc::as_ptr(constant.val()) as usize, bytes)]
    } else {
        vec![]
    }
}

fn value(state: &TypedSimpleState, outlet: OutletId) -> Result<&TValue> {
    let values = state.turn_state.values[outlet.node].as_ref();
    values.and_then(|values| values.get(outlet.slot)).ok_or_else(|| Error::internal("a value was dropped too early"))
}

fn at(error: Error, node: &TypedNode) -> Error {
    match error.code {
        crate::error::ErrorCode::Aborted => error,
        _ => error
            .node(&*node.name)
            .op(node.op.name().to_string())
            .doing("running the model")
            .remedy("check the inputs; if they are those that the model was made for, export it again"),
    }
}

/// Our own error inside tract's. Other failures at run time come from sizes that do not fit each other.
fn run_error(error: &TractError) -> Error {
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(own) => own.clone(),
        None => Error::invalid_input(error.root_cause().to_string()).remedy(
            "check that the inputs' sizes are those that the model was made for, and not more tokens than it allows",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::Uninterrupted;
    use super::*;
    use crate::error::ErrorCode;
    use crate::kernels::activation::Activation;
    use crate::kernels::linear::LinearWeights;
    use tract_core::internal::DatumType::{F32, I64};
    use tract_core::ops::dummy::Dummy;
    use tract_core::prelude::DatumTypeExt;

    #[test]
    fn inputs_say_what_symbols_stand_for() {
        let mut graph = TypedModel::default();
        let [batch, length] = ["batch", "length"].map(|name| graph.symbols.sym(name));
        let facts = [
            F32.fact(tvec!(TDim::from(&length), 2.into())),
            F32.fact(tvec!(TDim::from(&batch), TDim::from(&length) + 1, TDim::from(&length))),
        ];
        let sources = facts.into_iter().enumerate().map(|(at, fact)| graph.add_source(format!("x{at}"), fact));
        let sources: Vec<OutletId> = sources.collect::<Result<_, _>>().unwrap();
        graph.select_output_outlets(&sources).unwrap();
        let mut executor = Executor::new(graph).unwrap();
        let cases = [
            ([4, 2], [3, 5, 4], Some([3, 4])),
            ([0, 2], [1, 1, 0], Some([1, 0])),
            ([4, 2], [3, 4, 4], None),
            ([4, 2], [3, 5, 5], None),
            ([4, 3], [3, 5, 4], None),
        ];
        for (first, second, expected) in cases {
            let shapes: [&[usize]; 2] = [&first, &second];
            let inputs = shapes.map(|shape| Tensor::zero_dt(F32, shape).unwrap().into_tvalue());
            let (mut counters, what) = (RunCounters::default(), format!("{first:?} and {second:?}"));
            let run = executor.run(inputs.into_iter().collect(), None, &mut counters, &Uninterrupted);
            match (pollster::block_on(run), expected) {
                (Ok((outputs, symbols)), Some(expected)) => {
                    assert_eq!([outputs[0].shape(), outputs[1].shape()], shapes, "{what}");
                    assert_eq!([&batch, &length].map(|symbol| symbols.get(symbol)), expected.map(Some), "{what}");
                }
                (Err(error), None) => assert_eq!(error.code, ErrorCode::InvalidInput, "{what}"),
                (result, _) => panic!("{what}: {:?}", result.map(|(outputs, _)| outputs)),
            }
        }
        let wrong = [I64, F32].map(|datum_type| Tensor::zero_dt(datum_type, &[1, 2]).unwrap().into_tvalue());
        let run = pollster::block_on(executor.run(
            wrong.into_iter().collect(),
            None,
            &mut RunCounters::default(),
            &Uninterrupted,
        ));
        assert_eq!(run.err().map(|error| error.code), Some(ErrorCode::InvalidModel));
    }

    #[test]
    fn symbols_are_bound_once() {
        let mut graph = TypedModel::default();
        let count = graph.symbols.sym("count");
        let facts = tvec!(F32.fact(tvec!(TDim::from(&count), 3.into())));
        let id = graph.add_node("some", Dummy::new(), facts).unwrap();
        let value = |rows: usize| Some(tvec!(Tensor::zero_dt(F32, &[rows, 3]).unwrap().into_tvalue()));
        let mut turn = TurnState { values: vec![None], ..TurnState::default() };
        for (rows, binds, bound) in [(None, false, None), (Some(5), true, Some(5)), (Some(6), false, Some(5))] {
            turn.values[id] = rows.and_then(value);
            assert_eq!(bind_symbols(graph.node(id), &mut turn), binds, "{rows:?}");
            assert_eq!(turn.resolved_symbols.get(&count), bound, "{rows:?}");
        }
    }

    #[test]
    fn weights_of_a_gated_layer_are_counted_once() {
        let weights = || Shared::new(LinearWeights::from_f32(&[0.5; 16], 2, 8, 8, 1));
        let (gate, other) = (weights(), weights());
        for (up, up_bias, bytes) in
            [(other, None, 2 * 64 + 32), (gate.clone(), None, 64 + 32), (weights(), Some(vec![1.0; 8]), 2 * (64 + 32))]
        {
            let linear = GatedLinear {
                inputs: 2,
                outputs: 8,
                gate: gate.clone(),
                gate_bias: Some(Shared::new(vec![1.0; 8])),
                activation: Activation::Silu,
                up,
                up_bias: up_bias.map(Shared::new),
            };
            let op = Box::new(linear);
            let node = TypedNode { id: 0, name: "node".into(), inputs: vec![], op, outputs: tvec!() };
            let counted: HashMap<usize, usize> = weight_bytes(&node).into_iter().collect();
            assert_eq!(counted.values().sum::<usize>(), bytes);
        }
    }
}
