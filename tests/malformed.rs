//! Broken model files: a typed error, or where the file may be loaded any clean end. No panic, no hang, no wild allocation,
//! nothing read but the model and the files beside it.

mod common;

use common::fixtures::{Outcome, guarded, manifest, unpacked};
use common::load;
use peak_alloc::PeakAlloc;
use serde::Deserialize;
use sottovoce::error::{Error, ErrorCode, Result};
use sottovoce::exec::{Checkpoint, DevicePreference};
use sottovoce::onnx::{Dimension, TensorInfo};
use sottovoce::tensor::{DType, Tensor, TensorData};
use std::path::Path;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Ends a run that goes on for ever, at its next checkpoint.
const INTERRUPT_AFTER: Duration = Duration::from_secs(1);

/// An end must come within 2 s on an idle machine; this one may be busy.
const LIMIT: Duration = Duration::from_secs(20);

/// The largest file has 200 kB: none has a reason to take more.
const PEAK_MIB: f32 = 256.0;

#[derive(Deserialize)]
struct Manifest {
    files: Vec<ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    file: String,
    detail: String,
    expect: Expectation,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Expectation {
    /// An error, when it is loaded or at the latest when it runs.
    #[serde(alias = "reject_or_run_error")]
    Reject,
    /// Any clean end.
    MayLoad,
    /// A refusal, or a run that can be interrupted.
    RunsForever,
}

/// The address space of this process: an allocation beyond it fails, instead of taking the machine with it.
#[cfg(unix)]
const ADDRESS_SPACE: u64 = 8 << 30;

#[test]
fn malformed_files_end_cleanly() {
    #[cfg(unix)]
    limit_address_space();
    let folder = unpacked("malformed");
    let manifest: Manifest = manifest(&folder.join("MANIFEST.json"));
    let mut complaints = Vec::new();
    for ManifestFile { file, detail, expect } in manifest.files {
        println!("{file}: {detail}");
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage_as_mb();
        let outcome = guarded(folder.join(&file), LIMIT, move |path| outcome(&path, expect));
        let peak = ALLOCATOR.peak_usage_as_mb() - before;
        if outcome != Outcome::Right {
            complaints.push(format!("{file} ({detail}): {outcome:?}"));
        }
        if peak > PEAK_MIB {
            complaints.push(format!("{file} ({detail}): {peak:.0} MiB were allocated"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[cfg(unix)]
fn limit_address_space() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit { current: Some(ADDRESS_SPACE), maximum: Some(ADDRESS_SPACE) };
    setrlimit(Resource::As, limit).expect("a process may limit itself");
}

fn outcome(path: &Path, expect: Expectation) -> Outcome {
    match (load_and_run(path), expect) {
        (Err(error), _) if error.code == ErrorCode::InternalError => Outcome::Failed(error.to_string()),
        (Err(error), Expectation::Reject | Expectation::MayLoad) if error.code == ErrorCode::Aborted => {
            Outcome::Failed(format!("no end after {INTERRUPT_AFTER:?}"))
        }
        (Err(error), _) if error.remedy.is_none() => Outcome::Failed(format!("no remedy: {error}")),
        (Ok(()), Expectation::Reject) => Outcome::Wrong("it runs".into()),
        (Ok(()), Expectation::RunsForever) => Outcome::Wrong("it ends".into()),
        _ => Outcome::Right,
    }
}

fn load_and_run(path: &Path) -> Result<()> {
    let mut session = load(path, DevicePreference::Cpu)?;
    let feeds = session.inputs().iter().map(feed).collect::<Result<Vec<_>>>()?;
    pollster::block_on(session.run(&feeds, &[], &Deadline(Instant::now() + INTERRUPT_AFTER))).map(drop)
}

/// Zeros for an input; what its shape claims is believed up to a size.
fn feed(input: &TensorInfo) -> Result<(String, Tensor)> {
    let dim = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) if *size <= 64 => *size,
        _ => 2,
    };
    let dims: Vec<usize> = input.shape.iter().flatten().map(dim).collect();
    Ok((input.name.clone(), Tensor::new(&dims, zeros(input.dtype, dims.iter().product()))?))
}

fn zeros(dtype: DType, len: usize) -> TensorData {
    match dtype {
        DType::Float32 => vec![0f32; len].into(),
        DType::Float64 => vec![0f64; len].into(),
        DType::Float16 => vec![half::f16::ZERO; len].into(),
        DType::BFloat16 => vec![half::bf16::ZERO; len].into(),
        DType::Int8 => vec![0i8; len].into(),
        DType::UInt8 => vec![0u8; len].into(),
        DType::Int16 => vec![0i16; len].into(),
        DType::UInt16 => vec![0u16; len].into(),
        DType::Int32 => vec![0i32; len].into(),
        DType::UInt32 => vec![0u32; len].into(),
        DType::Int64 => vec![0i64; len].into(),
        DType::UInt64 => vec![0u64; len].into(),
        DType::Bool => vec![false; len].into(),
    }
}

/// Lets a run go on for so long.
struct Deadline(Instant);

impl Checkpoint for Deadline {
    async fn pass(&self) -> Result<()> {
        match Instant::now() > self.0 {
            true => Err(Error::new(ErrorCode::Aborted, "out of time").remedy("allow more")),
            false => Ok(()),
        }
    }
}
