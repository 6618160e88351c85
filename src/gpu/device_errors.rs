//! Errors that the device reports outside of any call's result: validation, memory, driver failures.

pub(super) use platform::DeviceErrors;

use crate::error::Error;

/// The typed form of an error that the device reported.
fn typed(out_of_memory: bool, message: &str) -> Error {
    let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    if out_of_memory {
        Error::out_of_memory(format!("the GPU has too little memory left: {message}"))
            .remedy("use shorter or fewer inputs at a time, or run on the CPU")
    } else {
        Error::internal(format!("the GPU refused an operation: {message}")).remedy("run on the CPU, and report this")
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use super::{Error, typed};
    use std::sync::{Arc, Mutex, PoisonError};

    /// Collects errors as they occur, which is within the call that causes them.
    pub struct DeviceErrors(Arc<Mutex<Vec<Error>>>);

    impl DeviceErrors {
        /// Starts watching.
        pub fn watch(device: &wgpu::Device) -> DeviceErrors {
            let errors = Arc::new(Mutex::new(Vec::new()));
            let handler = Arc::clone(&errors);
            device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
                let out_of_memory = matches!(error, wgpu::Error::OutOfMemory { .. });
                handler.lock().unwrap_or_else(PoisonError::into_inner).push(typed(out_of_memory, &error.to_string()));
            }));
            DeviceErrors(errors)
        }

        /// The first error since the last call, among those known by now.
        pub fn known(&mut self) -> Option<Error> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().next()
        }

        /// The first error since the last call, once everything asked of the device before is known to have failed or not.
        pub fn settled(&mut self, _device: &wgpu::Device) -> impl Future<Output = Option<Error>> + use<> {
            std::future::ready(self.known())
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod platform {
    use super::{Error, typed};
    use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
    use wasm_bindgen_futures::JsFuture;

    // wgpu's own error scopes panic on a `GPUInternalError`, which is what a failing shader compiler gives.
    #[wasm_bindgen]
    extern "C" {
        type ErrorScopes;
        #[wasm_bindgen(method, js_name = pushErrorScope)]
        fn push(this: &ErrorScopes, filter: &str);
        #[wasm_bindgen(method, js_name = popErrorScope)]
        fn pop(this: &ErrorScopes) -> js_sys::Promise;
    }

    /// GPUErrorFilter, outermost scope first.
    const FILTERS: [&str; 3] = ["validation", "internal", "out-of-memory"];

    /// Keeps one error scope of each kind open on the device at all times.
    pub struct DeviceErrors;

    impl DeviceErrors {
        /// Starts watching.
        pub fn watch(device: &wgpu::Device) -> DeviceErrors {
            open(device);
            DeviceErrors
        }

        /// The first error since the last call, among those known by now: none, as the browser tells only in `settled`.
        pub fn known(&mut self) -> Option<Error> {
            None
        }

        /// The first error since the last call, once everything asked of the device before is known to have failed or not.
        pub fn settled(&mut self, device: &wgpu::Device) -> impl Future<Output = Option<Error>> + use<> {
            let outcomes: Vec<js_sys::Promise> =
                scopes(device).map_or_else(Vec::new, |scopes| FILTERS.iter().map(|_| scopes.pop()).collect());
            open(device);
            async move {
                let mut first = None;
                for (outcome, filter) in outcomes.into_iter().zip(FILTERS.iter().rev()) {
                    // A rejected promise means that the device was lost, which is reported on its own.
                    let error = JsFuture::from(outcome).await.unwrap_or(JsValue::NULL);
                    if first.is_none() && !error.is_null() {
                        first = Some(typed(*filter == "out-of-memory", &message(&error)));
                    }
                }
                first
            }
        }
    }

    fn scopes(device: &wgpu::Device) -> Option<&ErrorScopes> {
        device.as_webgpu().map(|device| device.unchecked_ref())
    }

    fn open(device: &wgpu::Device) {
        if let Some(scopes) = scopes(device) {
            FILTERS.iter().for_each(|filter| scopes.push(filter));
        }
    }

    fn message(error: &JsValue) -> String {
        js_sys::Reflect::get(error, &JsValue::from_str("message"))
            .ok()
            .and_then(|message| message.as_string())
            .unwrap_or_default()
    }
}
