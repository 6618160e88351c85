//! A task, for JavaScript.

use super::checkpoint::JsCheckpoint;
use super::errors::{promise, to_js};
use super::session::Session;
use super::values::{object, property, tensor_to_js};
use crate::error::{Error, Result};
use crate::exec;
use crate::tasks::{self, Model, PipelineFiles, PipelineOutput};
use crate::tensor::Tensor;
use js_sys::{Promise, Uint8Array};
use std::rc::Rc;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

/// A task with its tokenizer and configuration.
#[wasm_bindgen]
pub struct Pipeline(Rc<tasks::Pipeline>);

/// A session as the tasks see it.
struct Running<'a> {
    session: &'a mut exec::Session,
    checkpoint: &'a JsCheckpoint,
}

impl Model for Running<'_> {
    fn input_names(&self) -> Vec<String> {
        self.session.inputs().iter().map(|input| input.name.clone()).collect()
    }

    fn output_names(&self) -> Vec<String> {
        self.session.outputs().iter().map(|output| output.name.clone()).collect()
    }

    async fn run(&mut self, feeds: Vec<(String, Tensor)>, fetches: &[String]) -> Result<Vec<(String, Tensor)>> {
        self.session.run(&feeds, fetches, self.checkpoint).await
    }
}

#[wasm_bindgen]
impl Pipeline {
    /// Prepares a task from `{ tokenizerJson, tokenizerConfigJson?, configJson? }`, each a `Uint8Array`.
    #[wasm_bindgen(constructor)]
    pub fn new(task: &str, files: JsValue) -> Result<Pipeline, JsValue> {
        let prepare = || {
            let files = PipelineFiles {
                tokenizer_json: bytes(&files, "tokenizerJson")?.ok_or_else(|| {
                    Error::invalid_input("the tokenizer is missing").file("tokenizer.json").remedy("pass tokenizerJson")
                })?,
                tokenizer_config_json: bytes(&files, "tokenizerConfigJson")?,
                config_json: bytes(&files, "configJson")?,
            };
            tasks::Pipeline::new(task, &files)
        };
        prepare().map(|pipeline| Pipeline(Rc::new(pipeline))).map_err(|error| to_js(&error))
    }

    /// Answers for each text: a promise of `{ tensor }` or `{ json }`, the latter an array with an element per text.
    pub fn call(&self, session: &Session, texts: Vec<String>, options_json: String, checkpoint: JsValue) -> Promise {
        let (pipeline, checkpoint) = (self.0.clone(), JsCheckpoint::new(&checkpoint));
        let answer = session.lend(async move |session: &mut exec::Session| {
            let mut model = Running { session, checkpoint: &checkpoint };
            pipeline.call(&mut model, &texts, &options_json).await
        });
        promise(async move {
            match answer.await? {
                PipelineOutput::Tensor(tensor) => object(&[("tensor", tensor_to_js(&tensor)?)]),
                PipelineOutput::Json(json) => object(&[("json", json.to_string().into())]),
            }
        })
    }
}

fn bytes(files: &JsValue, name: &str) -> Result<Option<Vec<u8>>> {
    let value = property(files, name)?;
    if value.is_undefined() {
        return Ok(None);
    }
    let array = value.dyn_into::<Uint8Array>();
    array.map(|array| Some(array.to_vec())).map_err(|_| Error::invalid_input(format!("`{name}` must be a Uint8Array")))
}
