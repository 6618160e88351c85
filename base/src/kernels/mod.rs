//! CPU inner loops: plain slices and strides in, plain slices out. Nothing here knows tensors, ONNX or tract.
//!
//! Most kernels have a scalar twin, named `…_reference`, that follows its definition in f64; one table of cases holds them
//! against each other, and against ONNX Runtime, on every build. The cases of the others follow the definition. Kernels check the lengths of what they get at entry and
//! panic when these do not fit: that is a defect of the caller, not of the user's model.
//!
//! Vectors come from one small abstraction, `simd`; matrix products from `panel` (f32), `dot` (rows that are read where they
//! lie), `integer_panel` and `narrow_panel` (bytes) and `block_linear` (blocks of integers); what convolutions and pools read
//! from `windows`; threads from `pool`, by way of `parallel`. `simd`, `panel`, `dot`, `integer_panel`, `parallel`, `pool`, and the
//! kernels that write one output from several threads are the only `unsafe` code.

pub mod activation;
pub mod attention;
pub mod attention_by_steps;
mod block_linear;
mod block_weights;
mod byte_products;
pub mod conv;
mod dot;
pub mod embedding;
mod finish;
pub mod gated_linear;
pub mod integer_linear;
mod integer_panel;
pub mod linear;
mod linear_weights;
mod narrow_panel;
pub mod norm;
pub mod packed;
mod panel;
mod parallel;
#[cfg_attr(all(target_arch = "wasm32", not(target_feature = "atomics")), expect(dead_code, reason = "one thread"))]
pub mod pool;
pub mod quantize;
pub mod rotary_embedding;
pub mod score_steps;
#[cfg(any(test, feature = "selftest"))]
pub mod self_test;
mod simd;
mod softmax;
pub mod steps;
mod weighted_rows;
pub mod windows;

/// Whether kernels use WebAssembly's relaxed SIMD.
pub const RELAXED_SIMD: bool = cfg!(all(target_arch = "wasm32", target_feature = "relaxed-simd"));
