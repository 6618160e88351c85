//! A loaded model, for JavaScript.

use super::checkpoint::JsCheckpoint;
use super::errors::{promise, to_js};
use super::source::JsSource;
use super::values::{plain, property, string_property, tensor_from_js, tensor_to_js};
use crate::error::{Error, Result};
use crate::exec::{self, DevicePreference, RunCounters, SessionInfo};
use crate::gpu::Counters;
use crate::onnx::{ExternalFile, external_path};
use js_sys::{Array, Promise};
use serde::Serialize;
use std::cell::RefCell;
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

    /// Runs the model on `[{ name, type, dims, data }]`; a promise of the same for the outputs.
    pub fn run(&self, feeds: Array, fetches: Option<Vec<String>>, checkpoint: JsValue) -> Promise {
        let shared = self.0.clone();
        promise(async move {
            let feeds = feeds.iter().map(|feed| tensor_from_js(&feed)).collect::<Result<Vec<_>>>()?;
            let fetches = fetches.unwrap_or_default();
            let checkpoint = JsCheckpoint::new(&checkpoint);
            let outputs = borrowed(&shared, async |session| session.run(&feeds, &fetches, &checkpoint).await).await?;
            let outputs = outputs.iter().map(|(name, tensor)| tensor_to_js(Some(name), tensor));
            Ok(outputs.collect::<Result<Array>>()?.into())
        })
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
        Session(Rc::new(Shared { session: RefCell::new(Some(session)), known: RefCell::new(known) }))
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
