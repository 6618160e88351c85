//! [`Session`]: a model ready to run.

use super::checkpoint::Checkpoint;
use super::feeds::{Feed, check_symbols, in_order, values};
use super::guard::guarded;
use super::held::HeldTensor;
use super::step::Executor;
use crate::artefact::{self, Artefact, SavedModel, is_artefact};
use crate::attention::{AttentionCall, AttentionOperands, AttentionShape, HeadStrides, MaskStrides, Window};
use crate::error::{Error, ErrorCode, Result};
use crate::gpu::{AdapterSummary, Counters, Gpu};
use crate::graph::{CompiledGraph, CompiledModel, Report, compile};
use crate::kernels::attention::attention;
use crate::onnx::{ExternalFile, ReadAt, TensorInfo};
use crate::tensor::Tensor;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::HashMap;
use tract_core::prelude::TValue;

/// What an error of a run says that was being done.
const RUNNING: &str = "running the model";

/// Where the caller wants a model to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevicePreference {
    /// On the CPU.
    Cpu,
    /// On the GPU; an error if that is not possible.
    Gpu,
    /// On the GPU if that is possible, else on the CPU.
    Auto,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Everything on the CPU.
    Cpu,
    /// The attention on the GPU, the rest on the CPU.
    WebGpu,
}

/// What a session has done.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunCounters {
    /// Runs that ended well.
    pub runs: u64,
    /// Attentions computed on the GPU.
    pub attention_on_gpu: u64,
    /// Attentions computed on the CPU.
    pub attention_on_cpu: u64,
}

/// Where a session runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The device.
    pub device: Device,
    /// Why it runs there.
    pub device_reason: String,
    /// The GPU, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
}

/// A plan for some of a model's feeds.
struct Plan {
    /// Values of boolean inputs, by position, that it is for.
    when: Vec<(usize, bool)>,
    /// Positions of the inputs that it reads.
    reads: Vec<usize>,
    executor: Executor,
}

impl Plan {
    fn saved(&self) -> artefact::Graph<'_> {
        artefact::Graph { when: &self.when, reads: &self.reads, graph: self.executor.graph() }
    }
}

/// A loaded model.
pub struct Session {
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    report: Report,
    plans: Vec<Plan>,
    gpu: Option<Gpu>,
    preference: DevicePreference,
    device_reason: String,
    counters: RunCounters,
    /// What tells the model from others, as an artefact says it.
    digest: Option<String>,
    from_artefact: bool,
    /// Counters of a GPU that was given up.
    past_gpu: Counters,
    /// Set after a panic: the state can no longer be trusted.
    closed: bool,
}

impl Session {
    /// Loads a model, or what [`Session::save`] gave of one.
    ///
    /// # Errors
    /// `InvalidModel`, `UnsupportedOp`, `InvalidInput` for missing external data, `OutOfMemory`; `DeviceLost` when the GPU is
    /// demanded and cannot be had. Of an artefact also `IntegrityError`.
    pub async fn load(
        source: &dyn ReadAt,
        external: &[ExternalFile],
        preference: DevicePreference,
        checkpoint: &impl Checkpoint,
    ) -> Result<Session> {
        const LOADING: &str = "loading the model";
        let (gpu, device_reason) = choose_device(preference).await.map_err(|error| error.doing(LOADING))?;
        checkpoint.pass().await?;
        let from_artefact = is_artefact(source)?;
        let (compiled, plans) = guarded(LOADING, || {
            let SavedModel { model, digest } = match from_artefact {
                true => artefact::read(source)?,
                false => SavedModel { model: compile(source, external)?, digest: None },
            };
            let CompiledModel { graphs, inputs, outputs, report } = model;
            let plan = |CompiledGraph { when, reads, graph }| Ok(Plan { when, reads, executor: Executor::new(graph)? });
            Ok(((inputs, outputs, report, digest), graphs.into_iter().map(plan).collect::<Result<Vec<_>>>()?))
        })
        .map_err(|error| error.file(source.name()).doing(LOADING))?;
        checkpoint.pass().await?;
        let (inputs, outputs, report, digest) = compiled;
        Ok(Session {
            inputs,
            outputs,
            report,
            plans,
            gpu,
            preference,
            device_reason,
            counters: RunCounters::default(),
            digest,
            from_artefact,
            past_gpu: Counters::default(),
            closed: false,
        })
    }

    /// The plans and packed weights, from which the same build loads the model again without compiling it. `digest` tells the
    /// model from others, unless the session was itself loaded from an artefact that says it.
    ///
    /// # Errors
    /// `UnsupportedOp` for an operator that cannot be saved.
    pub fn save(&self, digest: Option<&str>) -> Result<Artefact<'_>> {
        let model = artefact::Model {
            graphs: self.plans.iter().map(Plan::saved).collect(),
            inputs: &self.inputs,
            outputs: &self.outputs,
            report: &self.report,
        };
        Artefact::of(&model, self.digest.as_deref().or(digest)).map_err(|error| error.doing("saving the model"))
    }

    /// Whether what was loaded is what [`Session::save`] gave of a model.
    pub fn is_from_artefact(&self) -> bool {
        self.from_artefact
    }

    /// The model's inputs.
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// The model's outputs.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// Where the session runs.
    pub fn placement(&self) -> Placement {
        Placement {
            device: if self.gpu.is_some() { Device::WebGpu } else { Device::Cpu },
            device_reason: self.device_reason.clone(),
            adapter: self.gpu.as_ref().map(|gpu| gpu.adapter().name.clone()),
        }
    }

    /// What became of the model's nodes.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Bytes of the weights, as they lie in memory; those that several plans share count once.
    pub fn weight_bytes(&self) -> usize {
        let weights: HashMap<usize, usize> = self.plans.iter().flat_map(|plan| plan.executor.weight_bytes()).collect();
        weights.values().sum()
    }

    /// What the session has done, on the whole and on the GPU.
    pub fn counters(&self) -> (RunCounters, Counters) {
        let now = self.gpu.as_ref().map(Gpu::counters).unwrap_or_default();
        (self.counters, sum(now, self.past_gpu))
    }

    /// Runs the model. `fetches` names the outputs wanted; empty means all.
    ///
    /// # Errors
    /// As [`Session::run_holding`]; `InvalidInput` for names that are not the model's.
    pub async fn run(
        &mut self,
        feeds: &[(String, Tensor)],
        fetches: &[String],
        checkpoint: &impl Checkpoint,
    ) -> Result<Vec<(String, Tensor)>> {
        let wanted = self.wanted(fetches)?;
        let feeds = in_order(&self.inputs, feeds).map_err(|error| error.doing(RUNNING))?;
        let outputs = self.run_holding(&feeds, Some(&wanted), checkpoint).await?;
        let named =
            |(position, output): (&usize, HeldTensor)| Ok((self.outputs[*position].name.clone(), output.to_tensor()?));
        wanted.iter().zip(outputs).map(named).collect()
    }

    /// Runs the model on tensors that the caller has or the engine holds, in the order of the model's inputs. `wanted` are positions of
    /// outputs, of all if it is `None`; what it gives for each stays in the engine's memory as long as the caller keeps it.
    ///
    /// # Errors
    /// `InvalidInput` for feeds or positions that do not fit; `Aborted`; `DeviceLost` when the GPU was demanded and is lost.
    pub async fn run_holding(
        &mut self,
        feeds: &[Feed<'_>],
        wanted: Option<&[usize]>,
        checkpoint: &impl Checkpoint,
    ) -> Result<Vec<HeldTensor>> {
        if self.closed {
            return Err(
                Error::invalid_input("the session was closed by an earlier failure").remedy("load the model again")
            );
        }
        let mut outcome = self.run_once(feeds, wanted, checkpoint).await;
        if self.gave_up_gpu(&outcome) {
            outcome = self.run_once(feeds, wanted, checkpoint).await;
        }
        match &outcome {
            Ok(_) => self.counters.runs += 1,
            Err(error) => self.closed = error.code == ErrorCode::InternalError,
        }
        outcome
    }

    /// Positions of the outputs to give.
    fn wanted(&self, fetches: &[String]) -> Result<Vec<usize>> {
        if fetches.is_empty() {
            return Ok((0..self.outputs.len()).collect());
        }
        let position = |name: &String| {
            self.outputs.iter().position(|output| output.name == *name).ok_or_else(|| {
                let names: Vec<&str> = self.outputs.iter().map(|output| &*output.name).collect();
                Error::invalid_input("the model has no output of this name")
                    .tensor(name)
                    .remedy(format!("the outputs are {}", names.join(", ")))
            })
        };
        fetches.iter().map(position).collect()
    }

    async fn run_once(
        &mut self,
        feeds: &[Feed<'_>],
        wanted: Option<&[usize]>,
        checkpoint: &impl Checkpoint,
    ) -> Result<Vec<HeldTensor>> {
        let running = |error: Error| error.doing(RUNNING);
        let fed = values(&self.inputs, feeds).map_err(running)?;
        let fits = |plan: &&mut Plan| plan.when.iter().all(|(position, value)| is(&fed[*position], *value));
        let plan = self.plans.iter_mut().find(fits).ok_or_else(|| {
            running(
                Error::invalid_input("an input that chooses between branches must hold one boolean")
                    .remedy("feed one boolean"),
            )
        })?;
        let read = |position: &usize| (&self.inputs[*position], fed[*position].shape());
        check_symbols(plan.reads.iter().map(read)).map_err(running)?;
        let inputs = plan.reads.iter().map(|position| fed[*position].clone()).collect();
        let (results, symbols) = plan.executor.run(inputs, self.gpu.as_mut(), &mut self.counters, checkpoint).await?;
        let output = |position: usize| {
            let Some((TensorInfo { name, dtype, .. }, result)) = self.outputs.get(position).zip(results.get(position))
            else {
                return Err(running(Error::invalid_input(format!("the model has no output number {position}"))));
            };
            HeldTensor::keep(result, *dtype, &symbols).map_err(|error| error.tensor(name))
        };
        match wanted {
            Some(wanted) => wanted.iter().copied().map(output).collect(),
            None => (0..self.outputs.len()).map(output).collect(),
        }
    }

    /// A lost GPU is given up where the caller allows the CPU; the session says so from then on.
    fn gave_up_gpu(&mut self, outcome: &Result<Vec<HeldTensor>>) -> bool {
        let lost = matches!(outcome, Err(error) if error.code == ErrorCode::DeviceLost);
        if !lost || self.preference != DevicePreference::Auto {
            return false;
        }
        let Some(gpu) = self.gpu.take() else { return false };
        self.past_gpu = sum(self.past_gpu, gpu.counters());
        self.device_reason = format!("the GPU was lost: {}", gpu.lost().unwrap_or_else(|| "no reason given".into()));
        true
    }
}

/// Whether a tensor holds that one boolean.
fn is(tensor: &TValue, value: bool) -> bool {
    tensor.try_as_plain_ram().and_then(|plain| plain.as_slice::<bool>()).is_ok_and(|elements| elements == [value])
}

fn sum(left: Counters, right: Counters) -> Counters {
    Counters {
        dispatches: left.dispatches + right.dispatches,
        submissions: left.submissions + right.submissions,
        bytes_uploaded: left.bytes_uploaded + right.bytes_uploaded,
        bytes_read_back: left.bytes_read_back + right.bytes_read_back,
    }
}

async fn choose_device(preference: DevicePreference) -> Result<(Option<Gpu>, String)> {
    if preference == DevicePreference::Cpu {
        return Ok((None, "the CPU was asked for".into()));
    }
    match trusted_gpu().await {
        Ok(gpu) => {
            let reason = format!("a WebGPU adapter was found: {}", gpu.adapter().name);
            Ok((Some(gpu), reason))
        }
        Err(error) if preference == DevicePreference::Auto => Ok((None, error.message.clone())),
        Err(error) => Err(error),
    }
}

thread_local! {
    /// Adapters that were found to compute rightly: once is enough, and the next session need not wait for a shader to be compiled.
    static TRUSTED: RefCell<Vec<AdapterSummary>> = const { RefCell::new(Vec::new()) };
}

/// A GPU whose attention agrees with the CPU's on a small call.
async fn trusted_gpu() -> Result<Gpu> {
    let mut gpu = Gpu::request().await?;
    if TRUSTED.with_borrow(|trusted| trusted.contains(gpu.adapter())) {
        return Ok(gpu);
    }
    let call = probe();
    let wave = |len: usize, phase: f32| (0..len).map(|at| (at as f32 * 0.7 + phase).sin()).collect::<Vec<f32>>();
    let (query, key, value) = (wave(48, 0.0), wave(80, 1.0), wave(80, 2.0));
    let mask = [0.0, 0.0, -1.5, 0.0, f32::NEG_INFINITY, 0.0, f32::MIN, 0.0, 0.5, 0.0];
    let mut expected = vec![0.0; query.len()];
    let operands = AttentionOperands { mask: Some(&mask), ..AttentionOperands::new(&query, &key, &value) };
    attention(&call, &operands, &mut expected);
    let [q, k, v, m] = [gpu.upload(&query)?, gpu.upload(&key)?, gpu.upload(&value)?, gpu.upload(&mask)?];
    let out = gpu.allocate(expected.len())?;
    gpu.attention(&call, q, k, v, Some(m), out)?;
    let actual = gpu.read(out).await?;
    for buffer in [q, k, v, m, out] {
        gpu.release(buffer);
    }
    let agrees = |(actual, expected): (&f32, &f32)| (actual - expected).abs() <= 1e-3;
    if !actual.iter().zip(&expected).all(agrees) {
        return Err(Error::device_lost(format!("the GPU {} computes wrongly", gpu.adapter().name))
            .remedy("update the browser or the graphics driver, or run on the CPU"));
    }
    TRUSTED.with_borrow_mut(|trusted| trusted.push(gpu.adapter().clone()));
    Ok(gpu)
}

/// Two sequences, two heads of 4, 3 queries and 5 keys, packed.
fn probe() -> AttentionCall {
    let shape = AttentionShape { batch: 2, heads: 2, kv_heads: 2, queries: 3, keys: 5, head_dim: 4, value_dim: 4 };
    let queries = HeadStrides { start: 0, batch: 24, head: 4, position: 8 };
    let keys = HeadStrides { start: 0, batch: 40, head: 4, position: 8 };
    AttentionCall {
        shape,
        scale: 0.5,
        softcap: 0.0,
        window: Window::default(),
        sequences: false,
        sinks: false,
        query: queries,
        key: keys,
        value: keys,
        output: queries,
        mask: Some(MaskStrides { batch: 5, head: 0, query: 0, key: 1 }),
        zero_when_all_masked: false,
    }
}
