//! Single operators: ONNX's own node tests and cases of com.microsoft's. Right, or refused for a known reason.

mod common;

use common::compare::Tolerance;
use common::fixtures::{Case, Model, Outcome, Shapes, check_all, judge, manifest, unpacked};
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

fn cases() -> Vec<ManifestCase> {
    let folder = unpacked("nodes");
    let files = ["MANIFEST.json", "MANIFEST_contrib.json", "MANIFEST_generated.json"];
    files.iter().flat_map(|file| manifest::<Manifest>(&folder.join(file)).cases).collect()
}

fn check(cases: &[ManifestCase], shapes: Shapes) -> Vec<Outcome> {
    let folder = unpacked("nodes");
    let model = |case: &ManifestCase| {
        let cases = (0..case.n_cases).map(|_| Case { tolerance: case.tolerance, masked: false }).collect();
        Arc::new(Model { name: case.name.clone(), folder: folder.join(&case.name), cases, shapes })
    };
    check_all(&cases.iter().map(model).collect::<Vec<_>>(), DevicePreference::Cpu, LIMIT)
}

#[test]
fn operators_agree_with_onnx() {
    let cases = cases();
    let outcomes = check(&cases, Shapes::AsExported);
    let passed_by_onnx_runtime = cases.iter().zip(&outcomes).filter(|(case, _)| case.ort.starts_with("pass"));
    let all = passed_by_onnx_runtime.clone().count();
    let right = passed_by_onnx_runtime.filter(|(_, outcome)| **outcome == Outcome::Right).count();
    println!("{right} of the {all} that ONNX Runtime passes are right");

    let named: Vec<(String, Outcome)> = cases.into_iter().map(|case| case.name).zip(outcomes).collect();
    let complaints = judge("nodes", &named);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(right * 100 >= all * RIGHT_PERCENT, "{right} of {all} are less than {RIGHT_PERCENT} %");
}

/// What tract does with symbols is not what it does with numbers.
#[test]
fn operators_agree_with_onnx_where_sizes_are_symbols() {
    let cases = cases();
    let outcomes = check(&cases, Shapes::Symbolic);
    let named: Vec<(String, Outcome)> = cases.into_iter().map(|case| case.name).zip(outcomes).collect();
    let complaints = judge("nodes with symbolic sizes", &named);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
