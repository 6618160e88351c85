//! What the integration tests share.
#![allow(dead_code, reason = "each test program uses a part")]

pub mod archive;
pub mod compare;
pub mod fixtures;
pub mod graphs;

use sottovoce::error::Result;
use sottovoce::exec::{DevicePreference, Session, Uninterrupted};
use sottovoce::onnx::{FileSource, external_files};
use sottovoce::tensor::Tensor;
use std::path::{Path, PathBuf};

/// A folder of the repository.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The devices to run on: the CPU, and the GPU where there is an adapter.
pub fn devices() -> Vec<DevicePreference> {
    let gpu = pollster::block_on(sottovoce::gpu::Gpu::request());
    let required = std::env::var("SOTTOVOCE_REQUIRE_GPU").is_ok_and(|value| value == "1");
    match gpu {
        Ok(_) => vec![DevicePreference::Cpu, DevicePreference::Gpu],
        Err(error) if required => panic!("a GPU is required: {error}"),
        Err(error) => {
            eprintln!("skipped on the GPU: {error}");
            vec![DevicePreference::Cpu]
        }
    }
}

/// Loads a model file, with the files beside it that it names.
pub fn load(model: &Path, device: DevicePreference) -> Result<Session> {
    let external = external_files(model)?;
    pollster::block_on(Session::load(&FileSource::open(model)?, &external, device, &Uninterrupted))
}

/// Runs a session on all its inputs, giving all its outputs.
pub fn run(session: &mut Session, feeds: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>> {
    pollster::block_on(session.run(feeds, &[], &Uninterrupted))
}

/// The tensor of that name.
pub fn named<'a>(tensors: &'a [(String, Tensor)], name: &str) -> &'a Tensor {
    &tensors.iter().find(|(own, _)| own == name).unwrap_or_else(|| panic!("no tensor `{name}`")).1
}

/// The largest absolute difference; NaN anywhere gives infinity.
pub fn max_error(actual: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len());
    let errors = actual.iter().zip(expected).map(|(actual, expected)| (actual - expected).abs());
    errors.fold(0.0, |worst, error| if error.is_nan() { f32::INFINITY } else { worst.max(error) })
}
