//! Errors on their way to JavaScript.

use crate::error::{Error, Result};
use js_sys::{Promise, Reflect};
use std::future::Future;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::future_to_promise;

/// An `Error` object with the fields of [`crate::error::ErrorDetails`].
pub fn to_js(error: &Error) -> JsValue {
    let object = js_sys::Error::new(&error.to_string());
    let fields = [
        ("code", Some(error.code.name())),
        ("doing", error.doing.as_deref()),
        ("node", error.node.as_deref()),
        ("op", error.op.as_deref()),
        ("tensor", error.tensor.as_deref()),
        ("file", error.file.as_deref()),
        ("remedy", error.remedy.as_deref()),
    ];
    for (name, value) in fields {
        // Setting a property of a fresh object cannot fail.
        let _ = Reflect::set(&object, &name.into(), &value.map_or(JsValue::UNDEFINED, JsValue::from));
    }
    object.into()
}

/// What JavaScript threw, where it should not have.
pub fn from_js(thrown: &JsValue) -> Error {
    let message =
        thrown.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{thrown:?}"), |error| error.message().into());
    Error::internal(message)
}

/// A promise of the outcome.
pub fn promise(work: impl Future<Output = Result<JsValue>> + 'static) -> Promise {
    future_to_promise(async move { work.await.map_err(|error| to_js(&error)) })
}
