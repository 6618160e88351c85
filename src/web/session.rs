//! A loaded model, for JavaScript.

use super::checkpoint::JsCheckpoint;
use super::errors::{promise, to_js};
use super::source::JsSource;
use super::values::{elements_to_js, json, property, string_property, tensor_from_js, tensor_to_js};
use crate::artefact;
use crate::error::{Error, Result};
use crate::exec::{self, DevicePreference, Feed, HeldTensor, Placement, RunCounters};
use crate::gpu::Counters;
use crate::onnx::{ExternalFile, TensorInfo, external_path};
use crate::tensor::Tensor;
use js_sys::{Array, Float32Array, Promise, Uint8Array};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// What can be told of a session at any time, also while it runs.
struct Known {
    placement: Placement,
    counters: (RunCounters, Counters),
}

struct Shared {
    /// `None` while a run has it, and after a run that could not give it back.
    session: RefCell<Option<exec::Session>>,
    /// The JSON of the model's inputs and outputs.
    info: String,
    /// Names of the model's inputs.
    inputs: Vec<String>,
    known: RefCell<Known>,
    held: RefCell<HeldTensors>,
}

/// Results that stay in the engine's memory, by the numbers that JavaScript knows them by.
#[derive(Default)]
struct HeldTensors {
    tensors: HashMap<u32, HeldTensor>,
    last: u32,
}

impl HeldTensors {
    fn next_number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn get(&self, number: u32) -> Result<HeldTensor> {
        let gone = || Error::invalid_input("the tensor was disposed of").remedy("keep it until it is no longer fed");
        self.tensors.get(&number).cloned().ok_or_else(gone)
    }
}

/// What a run is asked for. Crossing the border costs more than the text of it all: the rest are typed arrays.
#[derive(Deserialize)]
struct Request {
    /// In the order of the model's inputs.
    feeds: Vec<FeedHeader>,
    /// Positions of the outputs wanted; of all where it is missing.
    fetches: Option<Vec<usize>>,
    /// Positions of outputs that stay here.
    hold: Vec<usize>,
}

/// What is fed to an input, but for the elements.
#[derive(Deserialize)]
#[serde(untagged)]
enum FeedHeader {
    /// The number of what lies here.
    Held(u32),
    /// Type and dimensions.
    Tensor(String, Vec<f64>),
}

/// What a run gives for an output, but for the elements of those that do not stay here: its dimensions, and the number of one that
/// stays.
#[derive(Serialize)]
struct OutputHeader<'a>(&'a [usize], Option<u32>);

/// What JavaScript feeds.
enum Fed {
    Tensor(Tensor),
    Held(HeldTensor),
}

impl Fed {
    fn feed(&self) -> Feed<'_> {
        match self {
            Fed::Tensor(tensor) => Feed::Tensor(tensor),
            Fed::Held(tensor) => Feed::Held(tensor),
        }
    }
}

/// A loaded model.
#[wasm_bindgen]
pub struct Session(Rc<Shared>);

/// `info()`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    inputs: &'a [TensorInfo],
    outputs: &'a [TensorInfo],
    loaded_from: &'static str,
}

/// `state()`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    #[serde(flatten)]
    placement: &'a Placement,
    counters: AllCounters,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AllCounters {
    #[serde(flatten)]
    runs: RunCounters,
    dispatches: u64,
    submissions: u64,
    bytes_uploaded: u64,
    bytes_read_back: u64,
}

#[wasm_bindgen]
impl Session {
    /// Loads a model from `{ size, readAt }` with `{ device, externalData, artefact?, checkpoint }`: a promise of a `Session`.
    /// With `artefact: { digest? }` it must be what a session of this build saved, of the model with that digest if there is one.
    pub fn load(source: JsValue, options: JsValue) -> Promise {
        promise(async move {
            let preference = device(&string_property(&options, "device")?)?;
            let checkpoint = JsCheckpoint::new(&property(&options, "checkpoint")?);
            let external = external_files(&property(&options, "externalData")?)?;
            let source = JsSource::new("the model", source)?;
            let expected = property(&options, "artefact")?;
            if !expected.is_undefined() {
                artefact::check(&source, property(&expected, "digest")?.as_string().as_deref())?;
            }
            let session = exec::Session::load(&source, &external, preference, &checkpoint).await?;
            Ok(Session::new(session)?.into())
        })
    }

    /// Runs the model as the JSON `{ feeds, fetches?, hold }` says. Feeds are in the order of the model's inputs: `[type, dims]`, whose
    /// elements are the next of `data`, or the number of what an earlier run left here; `fetches` and `hold` are positions of outputs.
    /// A promise of an array: the JSON of the outputs, `[dims, null]` each, and the elements of each; those that are to be held stay
    /// here and have a number instead of `null`.
    pub fn run(&self, request: String, data: Array, checkpoint: JsValue) -> Promise {
        let shared = self.0.clone();
        promise(async move {
            let Request { feeds, fetches, hold } = serde_json::from_str(&request).map_err(|error| {
                Error::invalid_input(format!("the request of a run is not as it should be: {error}"))
            })?;
            let fed = shared.fed(feeds, &data)?;
            let feeds: Vec<Feed> = fed.iter().map(Fed::feed).collect();
            let checkpoint = JsCheckpoint::new(&checkpoint);
            let wanted = fetches.as_deref();
            let run = async |session: &mut exec::Session| session.run_holding(&feeds, wanted, &checkpoint).await;
            let outputs = borrowed(&shared, run).await?;
            Ok(shared.outputs(&outputs, wanted, &hold)?.into())
        })
    }

    /// A copy of what a run left here: `{ type, dims, data }`.
    pub fn download(&self, held: u32) -> Result<JsValue, JsValue> {
        let tensor = self.0.held.borrow().get(held).and_then(|tensor| tensor.to_tensor());
        tensor.and_then(|tensor| tensor_to_js(&tensor)).map_err(|error| to_js(&error))
    }

    /// Forgets what a run left here.
    pub fn discard(&self, held: u32) {
        self.0.held.borrow_mut().tensors.remove(&held);
    }

    /// What the same build loads the model from again, a `Uint8Array`. `digest` tells the model from others.
    pub fn save(&self, digest: Option<String>) -> Result<Uint8Array, JsValue> {
        let session = self.0.session.borrow();
        let saved = session.as_ref().ok_or_else(busy).and_then(|session| saved(session, digest.as_deref()));
        saved.map_err(|error| to_js(&error))
    }

    /// The JSON of the model's inputs and outputs, and of what it was loaded from.
    pub fn info(&self) -> String {
        self.0.info.clone()
    }

    /// The JSON of where the model runs, and of what the session has done.
    pub fn state(&self) -> Result<String, JsValue> {
        let Known { placement, counters } = &*self.0.known.borrow();
        let (runs, Counters { dispatches, submissions, bytes_uploaded, bytes_read_back }) = *counters;
        let counters = AllCounters { runs, dispatches, submissions, bytes_uploaded, bytes_read_back };
        json(&State { placement, counters }).map_err(|error| to_js(&error))
    }
}

impl Session {
    fn new(session: exec::Session) -> Result<Session> {
        let loaded_from = if session.is_from_artefact() { "artefact" } else { "model" };
        let info = json(&Info { inputs: session.inputs(), outputs: session.outputs(), loaded_from })?;
        let known = Known { placement: session.placement(), counters: session.counters() };
        let inputs = session.inputs().iter().map(|input| input.name.clone()).collect();
        Ok(Session(Rc::new(Shared {
            inputs,
            session: RefCell::new(Some(session)),
            info,
            known: RefCell::new(known),
            held: RefCell::default(),
        })))
    }

    /// Has `work` done by the session, if nothing else is.
    pub(super) fn lend<T>(
        &self,
        work: impl AsyncFnOnce(&mut exec::Session) -> Result<T> + 'static,
    ) -> impl Future<Output = Result<T>> + 'static
    where
        T: 'static,
    {
        let shared = self.0.clone();
        async move { borrowed(&shared, work).await }
    }
}

impl Shared {
    /// What is fed to each input; `data` holds the elements of those that do not lie here.
    fn fed(&self, feeds: Vec<FeedHeader>, data: &Array) -> Result<Vec<Fed>> {
        let mut data = data.iter();
        let mut fed = |feed: &FeedHeader| match feed {
            FeedHeader::Held(number) => Ok(Fed::Held(self.held.borrow().get(*number)?)),
            FeedHeader::Tensor(kind, dims) => {
                Ok(Fed::Tensor(tensor_from_js(kind, dims, &data.next().unwrap_or_default())?))
            }
        };
        let named = |error: Error, position: usize| match self.inputs.get(position) {
            Some(name) => error.tensor(name),
            None => error,
        };
        let feeds = feeds.iter().enumerate();
        feeds.map(|(position, feed)| fed(feed).map_err(|error| named(error, position))).collect()
    }

    /// What a run gives for the outputs `wanted`, as JavaScript gets it; those in `hold` stay here. Nothing is kept unless it gets all.
    fn outputs(&self, outputs: &[HeldTensor], wanted: Option<&[usize]>, hold: &[usize]) -> Result<Array> {
        let mut held = self.held.borrow_mut();
        let (data, mut headers, mut kept) = (Array::new(), Vec::new(), Vec::new());
        for (index, output) in outputs.iter().enumerate() {
            let position = wanted.map_or(index, |wanted| wanted[index]);
            let number = hold.contains(&position).then(|| held.next_number());
            match number {
                Some(number) => kept.push((number, output.clone())),
                None => {
                    data.push(&elements_of_held(output)?);
                }
            }
            headers.push(OutputHeader(output.dims(), number));
        }
        data.unshift(&json(&headers)?.into());
        held.tensors.extend(kept);
        Ok(data)
    }
}

/// The elements as a typed array, copied once where they are float32.
fn elements_of_held(tensor: &HeldTensor) -> Result<JsValue> {
    match tensor.as_float32()? {
        Some(elements) => Ok(Float32Array::from(elements).into()),
        None => elements_to_js(&tensor.to_tensor()?),
    }
}

async fn borrowed<T>(shared: &Shared, work: impl AsyncFnOnce(&mut exec::Session) -> Result<T>) -> Result<T> {
    let taken = shared.session.borrow_mut().take();
    let mut session = taken.ok_or_else(busy)?;
    let outcome = work(&mut session).await;
    {
        let mut known = shared.known.borrow_mut();
        known.placement = session.placement();
        known.counters = session.counters();
    }
    *shared.session.borrow_mut() = Some(session);
    outcome
}

fn busy() -> Error {
    Error::invalid_input("the session is busy with another run").remedy("wait for that run to end")
}

fn saved(session: &exec::Session, digest: Option<&str>) -> Result<Uint8Array> {
    let artefact = session.save(digest)?;
    let len = u32::try_from(artefact.size()).map_err(|_| Error::out_of_memory("an artefact of more than 4 GiB"))?;
    let (bytes, mut written) = (Uint8Array::new_with_length(len), 0);
    artefact.write(|piece| {
        let end = written + piece.len() as u32;
        bytes.subarray(written, end).copy_from(piece);
        written = end;
        Ok(())
    })?;
    Ok(bytes)
}

fn device(name: &str) -> Result<DevicePreference> {
    match name {
        "cpu" => Ok(DevicePreference::Cpu),
        "webgpu" => Ok(DevicePreference::Gpu),
        "auto" => Ok(DevicePreference::Auto),
        other => Err(Error::invalid_input(format!("there is no device `{other}`")).remedy("pass cpu, webgpu or auto")),
    }
}

fn external_files(files: &JsValue) -> Result<Vec<ExternalFile>> {
    let file = |file: JsValue| {
        let path =
            external_path(&string_property(&file, "path")?).map_err(|error| Error::invalid_input(&*error.message))?;
        let source = Box::new(JsSource::new(&path, property(&file, "source")?)?);
        Ok(ExternalFile { path, source })
    };
    if files.is_undefined() { Ok(Vec::new()) } else { Array::from(files).iter().map(file).collect() }
}
