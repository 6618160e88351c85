//! Lets JavaScript in between the steps of a run.

use super::errors::from_js;
use crate::error::{Error, Result};
use crate::exec::Checkpoint;
use js_sys::{Function, Promise};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// A function that gives `true`, or a promise of it, to stop. Without one, nothing stops.
pub struct JsCheckpoint(Option<Function>);

impl JsCheckpoint {
    /// The function, or `undefined`.
    pub fn new(function: &JsValue) -> JsCheckpoint {
        JsCheckpoint(function.dyn_ref::<Function>().cloned())
    }
}

impl Checkpoint for JsCheckpoint {
    async fn pass(&self) -> Result<()> {
        let Some(function) = &self.0 else { return Ok(()) };
        let mut answer = function.call0(&JsValue::UNDEFINED).map_err(|thrown| from_js(&thrown))?;
        if let Some(promise) = answer.dyn_ref::<Promise>() {
            answer = JsFuture::from(promise.clone()).await.map_err(|thrown| from_js(&thrown))?;
        }
        if answer.is_truthy() { Err(Error::aborted("the caller asked to stop")) } else { Ok(()) }
    }
}
