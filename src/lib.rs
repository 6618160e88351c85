//! Transformers exported to ONNX, run inside the reader's own browser.
//!
//! The way of the data, from file to answer: [`onnx`] reads, [`graph`] translates and fuses into the operators of [`ops`],
//! [`exec`] runs them on [`kernels`] or [`gpu`]; [`text`] turns text into ids, [`tasks`] turn text into answers.
//! The browser's side of it is the npm package in `pkg/`, over `web`.

pub mod artefact;
pub mod exec;
pub mod gpu;
pub mod graph;
pub mod onnx;
pub mod ops;
pub mod tasks;
pub mod tensor;
#[cfg(not(target_arch = "wasm32"))]
pub mod tensor_file;
pub mod text;
#[cfg(target_arch = "wasm32")]
mod web;

pub use sottovoce_base::{attention, error, kernels};
