//! What threads that share an instance's memory call. They enter here and nowhere else.

use crate::kernels::pool;
use wasm_bindgen::prelude::wasm_bindgen;

/// Helps the thread that runs the model, and never returns.
#[wasm_bindgen]
pub fn help() {
    pool::help()
}

/// To be called when `help` trapped: the run at hand cannot end well any more. May be called after a trap.
#[wasm_bindgen(js_name = helperFailed)]
pub fn helper_failed() {
    pool::helper_failed();
}
