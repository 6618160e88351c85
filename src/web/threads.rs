//! What threads that share an instance's memory call. They enter here and nowhere else.

use crate::kernels::pool;
use wasm_bindgen::prelude::wasm_bindgen;

/// Helps the thread that runs the model, and never returns.
#[wasm_bindgen]
pub fn help() {
    pool::help()
}
