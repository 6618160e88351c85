//! A loaded model, for JavaScript.

use super::checkpoint::JsCheckpoint;
use super::errors::{promise, to_js};
use super::source::JsSource;
use super::values::{held_to_js, plain, property, string_property, tensor_from_js, tensor_to_js};
use crate::error::{Error, Result};
use crate::exec::{self, DevicePreference, Feed, HeldTensor, Output, RunCounters, SessionInfo};
use crate::gpu::Counters;
use crate::onnx::{ExternalFile, external_path};
use crate::tensor::Tensor;
use js_sys::{Array, Promise};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// What can be told of a session at any time, also while it runs.
#[derive(Clone)]
struct Known {
    info: SessionInfo,
    counters: (RunCounters, Counters),
    weight_bytes: usize,
}

struct Shared {
    /// `None` while a run has it, and after a run that could not give it back.
    session: RefCell<Option<exec::Session>>,
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
struct Info {
    #[serde(flatten)]
    session: SessionInfo,
    weight_bytes: usize,
    heap_bytes: usize,
}

/// `counters()`.
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
    /// Loads a model from `{ size, readAt }` with `{ device, externalData, checkpoint }`: a promise of a `Session`.
    pub fn load(source: JsValue, options: JsValue) -> Promise {
        promise(async move {
            let preference = device(&string_property(&options, "device")?)?;
            let checkpoint = JsCheckpoint::new(&property(&options, "checkpoint")?);
            let external = external_files(&property(&options, "externalData")?)?;
            let source = JsSource::new("the model", source)?;
            let session = exec::Session::load(&source, &external, preference, &checkpoint).await?;
            Ok(Session::new(session).into())
        })
    }

    /// Runs the model on `[{ name, type, dims, data }]`, or `{ name, held }` for what an earlier run left here; a promise of the
    /// outputs, of which those named by `hold` stay here and come as `{ name, type, dims, held }`.
    pub fn run(&self, feeds: Array, fetches: Option<Vec<String>>, hold: Vec<String>, checkpoint: JsValue) -> Promise {
        let shared = self.0.clone();
        promise(async move {
            let fed = feeds.iter().map(|feed| shared.fed(&feed)).collect::<Result<Vec<_>>>()?;
            let feeds: Vec<_> = fed.iter().map(|(name, fed)| (name.clone(), fed.feed())).collect();
            let fetches = fetches.unwrap_or_default();
            let checkpoint = JsCheckpoint::new(&checkpoint);
            let run =
                async |session: &mut exec::Session| session.run_holding(&feeds, &fetches, &hold, &checkpoint).await;
            let outputs = borrowed(&shared, run).await?;
            Ok(shared.outputs(outputs)?.into())
        })
    }

    /// A copy of what a run left here: `{ type, dims, data }`.
    pub fn download(&self, held: u32) -> Result<JsValue, JsValue> {
        let tensor = self.0.held.borrow().get(held).and_then(|tensor| tensor.to_tensor());
        tensor.and_then(|tensor| tensor_to_js(None, &tensor)).map_err(|error| to_js(&error))
    }

    /// Forgets what a run left here.
    pub fn discard(&self, held: u32) {
        self.0.held.borrow_mut().tensors.remove(&held);
    }

    /// Inputs, outputs, device and memory.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        let Known { info, weight_bytes, .. } = self.0.known.borrow().clone();
        plain(&Info { session: info, weight_bytes, heap_bytes: heap_bytes() }).map_err(|error| to_js(&error))
    }

    /// What the session has done.
    pub fn counters(&self) -> Result<JsValue, JsValue> {
        let (runs, gpu) = self.0.known.borrow().counters;
        let Counters { dispatches, submissions, bytes_uploaded, bytes_read_back } = gpu;
        plain(&AllCounters { runs, dispatches, submissions, bytes_uploaded, bytes_read_back })
            .map_err(|error| to_js(&error))
    }
}

impl Session {
    fn new(session: exec::Session) -> Session {
        let known = Known { info: session.info(), counters: session.counters(), weight_bytes: session.weight_bytes() };
        Session(Rc::new(Shared {
            session: RefCell::new(Some(session)),
            known: RefCell::new(known),
            held: RefCell::default(),
        }))
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
    fn fed(&self, feed: &JsValue) -> Result<(String, Fed)> {
        match property(feed, "held")?.as_f64() {
            None => tensor_from_js(feed).map(|(name, tensor)| (name, Fed::Tensor(tensor))),
            Some(number) => {
                let name = string_property(feed, "name")?;
                let held = self.held.borrow().get(number as u32).map_err(|error| error.tensor(&*name))?;
                Ok((name, Fed::Held(held)))
            }
        }
    }

    /// What a run gives, as JavaScript gets it. Nothing is kept unless it gets all.
    fn outputs(&self, outputs: Vec<(String, Output)>) -> Result<Array> {
        let mut held = self.held.borrow_mut();
        let mut kept = Vec::new();
        let given = outputs.into_iter().map(|(name, output)| match output {
            Output::Tensor(tensor) => tensor_to_js(Some(&name), &tensor),
            Output::Held(tensor) => {
                let number = held.next_number();
                let given = held_to_js(&name, tensor.dtype(), tensor.dims(), number);
                kept.push((number, tensor));
                given
            }
        });
        let given = given.collect::<Result<Array>>()?;
        held.tensors.extend(kept);
        Ok(given)
    }
}

async fn borrowed<T>(shared: &Shared, work: impl AsyncFnOnce(&mut exec::Session) -> Result<T>) -> Result<T> {
    let taken = shared.session.borrow_mut().take();
    let mut session = taken.ok_or_else(|| {
        Error::invalid_input("the session is busy with another run").remedy("wait for that run to end")
    })?;
    let outcome = work(&mut session).await;
    {
        let mut known = shared.known.borrow_mut();
        known.info = session.info();
        known.counters = session.counters();
    }
    *shared.session.borrow_mut() = Some(session);
    outcome
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

/// Size of the instance's memory.
fn heap_bytes() -> usize {
    core::arch::wasm32::memory_size(0) * 65536
}
