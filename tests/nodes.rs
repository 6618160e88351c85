//! Single operators: ONNX's own node tests and cases of com.microsoft's. Right, or refused for a known reason.

mod common;

use common::compare::Tolerance;
use common::fixtures::{Case, Model, Outcome, check_all, judge, manifest, unpacked};
use serde::Deserialize;
use sottovoce::exec::DevicePreference;
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// The part of the cases that ONNX Runtime passes that must be right.
const RIGHT_PERCENT: usize = 98;

#[derive(Deserialize)]
struct Manifest {
    cases: Vec<ManifestCase>,
}

#[derive(Deserialize)]
struct ManifestCase {
    name: String,
    n_cases: usize,
    tolerance: Tolerance,
    /// What became of it in ONNX Runtime: begins with `pass` where that is right.
    ort: String,
}

#[test]
fn operators_agree_with_onnx() {
    let folder = unpacked("nodes");
    let cases: Vec<ManifestCase> = ["MANIFEST.json", "MANIFEST_contrib.json"]
        .iter()
        .flat_map(|file| manifest::<Manifest>(&folder.join(file)).cases)
        .collect();
    let model = |case: &ManifestCase| {
        let cases = (0..case.n_cases).map(|_| Case { tolerance: case.tolerance, masked: false }).collect();
        Arc::new(Model { name: case.name.clone(), folder: folder.join(&case.name), cases })
    };
    let models: Vec<Arc<Model>> = cases.iter().map(model).collect();
    let outcomes = check_all(&models, DevicePreference::Cpu, LIMIT);
    let passed_by_onnx_runtime: Vec<&Outcome> = cases
        .iter()
        .zip(&outcomes)
        .filter(|(case, _)| case.ort.starts_with("pass"))
        .map(|(_, outcome)| outcome)
        .collect();
    let right = passed_by_onnx_runtime.iter().filter(|outcome| **outcome == &Outcome::Right).count();
    let all = passed_by_onnx_runtime.len();
    println!("{right} of the {all} that ONNX Runtime passes are right");

    let named: Vec<(String, Outcome)> = cases.into_iter().map(|case| case.name).zip(outcomes).collect();
    let complaints = judge("nodes", &named);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(right * 100 >= all * RIGHT_PERCENT, "{right} of {all} are less than {RIGHT_PERCENT} %");
}
