//! CPU inner loops: plain slices and strides in, plain slices out. Nothing here knows tensors, ONNX or tract.
//!
//! Each kernel has a scalar twin, named `…_reference`, that follows its definition in f64; one table of cases holds them
//! against each other, and against ONNX Runtime, on every build. Kernels check the lengths of what they get at entry and
//! panic when these do not fit: that is a defect of the caller, not of the user's model.
//!
//! Vectors come from one small abstraction, `simd`; matrix products from one inner loop, `panel`; threads from
//! `parallel`. These, and the kernels that write one output from several threads, are the only `unsafe` code.

pub mod activation;
pub mod attention;
pub mod attention_by_steps;
mod block_linear;
mod block_weights;
mod byte_products;
mod dot;
pub mod embedding;
mod finish;
pub mod integer_linear;
mod integer_panel;
pub mod linear;
mod linear_weights;
pub mod norm;
mod panel;
mod parallel;
pub mod quantize;
pub mod rotary_embedding;
pub mod score_steps;
#[cfg(any(test, feature = "selftest"))]
pub mod self_test;
mod simd;
pub mod steps;
