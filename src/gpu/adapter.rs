//! Finding an adapter and opening a device on it.

use crate::error::{Error, Result};

/// What is known of the adapter that a device runs on. Browsers withhold some of it: fields may be empty.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AdapterSummary {
    /// Name of the device, or its architecture where the browser tells no more.
    pub name: String,
    /// Maker of the device: a name in the browser, a PCI vendor id in hexadecimal natively.
    pub vendor: String,
    /// The API beneath, e.g. `webgpu` or `vulkan`.
    pub backend: String,
    /// Whether the adapter computes on the CPU, as far as it tells.
    pub software: bool,
}

/// Opens a device on the fastest adapter there is.
pub(super) async fn open_device() -> Result<(wgpu::Device, wgpu::Queue, AdapterSummary)> {
    #[cfg(target_arch = "wasm32")]
    if !browser::has_webgpu() {
        return Err(unavailable("this browser does not offer WebGPU here"));
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let options =
        wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() };
    let adapter = instance.request_adapter(&options).await.map_err(|_| unavailable("no GPU adapter was found"))?;
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("sottovoce"),
        required_limits: required_limits(&adapter.limits())?,
        ..Default::default()
    };
    let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
        unavailable(format!(
            "the GPU device could not be opened: {}",
            error.to_string().lines().next().unwrap_or_default()
        ))
    })?;
    let summary = summarize(&adapter, &device);
    Ok((device, queue, summary))
}

/// WebGPU's guaranteed limits, with memory raised to what the adapter has; an error where the adapter has less than guaranteed.
fn required_limits(adapter: &wgpu::Limits) -> Result<wgpu::Limits> {
    let guaranteed = wgpu::Limits::defaults();
    let mut lacking = Vec::new();
    guaranteed.check_limits_with_fail_fn(adapter, false, |name, wanted, allowed| {
        lacking.push(format!("{name} is {allowed}, {wanted} is needed"));
    });
    if !lacking.is_empty() {
        return Err(unavailable(format!("the GPU adapter's limits are too small: {}", lacking.join(", "))));
    }
    Ok(wgpu::Limits {
        max_storage_buffer_binding_size: adapter.max_storage_buffer_binding_size,
        max_buffer_size: adapter.max_buffer_size,
        max_compute_workgroup_storage_size: adapter.max_compute_workgroup_storage_size,
        ..guaranteed
    })
}

fn unavailable(reason: impl Into<String>) -> Error {
    Error::device_lost(reason).doing("opening the GPU").remedy("run on the CPU instead")
}

#[cfg(target_arch = "wasm32")]
fn summarize(adapter: &wgpu::Adapter, device: &wgpu::Device) -> AdapterSummary {
    browser::summarize(&adapter.get_info(), device)
}

#[cfg(not(target_arch = "wasm32"))]
fn summarize(adapter: &wgpu::Adapter, _device: &wgpu::Device) -> AdapterSummary {
    let info = adapter.get_info();
    AdapterSummary {
        name: info.name,
        vendor: format!("{:#06x}", info.vendor),
        backend: info.backend.to_string(),
        software: info.device_type == wgpu::DeviceType::Cpu,
    }
}

#[cfg(target_arch = "wasm32")]
mod browser {
    use super::AdapterSummary;
    use wasm_bindgen::JsValue;

    /// Whether there is a `navigator.gpu`, in a scope where wgpu looks for one: a window or a worker. Elsewhere wgpu panics.
    pub fn has_webgpu() -> bool {
        let global = js_sys::global();
        let in_scope = ["Window", "WorkerGlobalScope"].iter().any(|name| is_present(property(&global, name)));
        in_scope && is_present(property(&global, "navigator").and_then(|navigator| property(&navigator, "gpu")))
    }

    /// Fills in vendor and architecture, which wgpu leaves out.
    pub fn summarize(info: &wgpu::AdapterInfo, device: &wgpu::Device) -> AdapterSummary {
        let details = device.as_webgpu().and_then(|device| property(device, "adapterInfo"));
        let text = |name| details.as_ref().and_then(|details| property(details, name)?.as_string()).unwrap_or_default();
        let architecture = text("architecture");
        AdapterSummary {
            software: info.device_type == wgpu::DeviceType::Cpu || architecture == "swiftshader",
            name: if info.name.is_empty() { architecture } else { info.name.clone() },
            vendor: text("vendor"),
            backend: info.backend.to_string(),
        }
    }

    fn property(object: &JsValue, name: &str) -> Option<JsValue> {
        js_sys::Reflect::get(object, &JsValue::from_str(name)).ok()
    }

    fn is_present(value: Option<JsValue>) -> bool {
        value.is_some_and(|value| !value.is_null() && !value.is_undefined())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_the_guaranteed_ones_with_the_adapters_memory() {
        struct Case {
            adapter: wgpu::Limits,
            expected: Result<u32, &'static str>,
        }
        let ample = wgpu::Limits { max_compute_workgroup_storage_size: 49152, ..wgpu::Limits::defaults() };
        let cases = [
            Case { adapter: wgpu::Limits::defaults(), expected: Ok(16384) },
            Case { adapter: ample, expected: Ok(49152) },
            Case {
                adapter: wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..wgpu::Limits::defaults() },
                expected: Err("max_storage_buffers_per_shader_stage is 4, 8 is needed"),
            },
        ];
        for case in cases {
            match (required_limits(&case.adapter), case.expected) {
                (Ok(limits), Ok(storage)) => assert_eq!(limits.max_compute_workgroup_storage_size, storage),
                (Err(error), Err(reason)) => assert!(error.message.contains(reason), "{error}"),
                (got, expected) => panic!("got {got:?}, expected {expected:?}"),
            }
        }
    }
}
