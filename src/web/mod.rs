//! What JavaScript sees of the engine: the only Rust that knows JavaScript. The npm package in `pkg/` is its one caller.

mod checkpoint;
mod errors;
mod pipeline;
#[cfg(feature = "selftest")]
mod self_test;
mod session;
mod source;
mod values;

use wasm_bindgen::prelude::wasm_bindgen;

/// Makes panics readable in the console.
#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}
