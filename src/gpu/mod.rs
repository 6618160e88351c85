//! Compute on a GPU through wgpu: WebGPU in the browser, Vulkan natively.
//!
//! This part knows slices, buffers and the geometry of an operation, nothing of graphs. Each operation is one file of Rust
//! (what it checks, how it is tiled) beside one WGSL file of the same name, and encodes one dispatch; nothing reaches the
//! device until [`Gpu::submit`] or a read. Reads alone wait for the device.

mod adapter;
mod attention;
mod buffers;
mod counters;
mod device;
mod device_errors;
mod mapping;
mod parameters;
mod pipelines;
mod template;

pub use adapter::AdapterSummary;
#[cfg(any(test, feature = "selftest"))]
pub use attention::self_test;
pub use buffers::BufferId;
pub use counters::Counters;
pub use device::Gpu;
