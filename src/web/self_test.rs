//! The case tables of kernels and shaders, for the browser tests.

use super::errors::promise;
use crate::gpu::{self, Gpu};
use crate::kernels::self_test::kernel_self_test as kernels;
use js_sys::Promise;
use wasm_bindgen::prelude::wasm_bindgen;

/// Failures of the kernels, a line each.
#[wasm_bindgen]
pub fn kernel_self_test() -> String {
    kernels()
}

/// A promise of the failures of the shaders, a line each.
#[wasm_bindgen]
pub fn gpu_self_test() -> Promise {
    promise(async {
        let mut gpu = Gpu::request().await?;
        Ok(gpu::self_test(&mut gpu).await.join("\n").into())
    })
}
