//! What JavaScript sees of the engine: the only Rust that knows JavaScript. The npm package in `pkg/` is its one caller.

mod checkpoint;
mod errors;
mod pipeline;
#[cfg(feature = "selftest")]
mod self_test;
mod session;
mod source;
#[cfg(target_feature = "atomics")]
mod threads;
mod values;

use std::sync::Mutex;
use wasm_bindgen::prelude::wasm_bindgen;

/// Why the instance trapped, if it was a panic.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// A panic ends the instance; what it says goes to the console and stays readable.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut panic) = PANIC.lock() {
            *panic = Some(info.payload_as_str().unwrap_or("a panic without a message").to_string());
        }
        console_error_panic_hook::hook(info);
    }));
}

/// The message of the panic that ended the instance, if one did. The only function that may be called after a trap.
#[wasm_bindgen(js_name = panicMessage)]
pub fn panic_message() -> Option<String> {
    PANIC.lock().ok().and_then(|panic| panic.clone())
}
