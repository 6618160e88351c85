//! Small models as exporters wrote them, against ONNX Runtime's recorded answers: right, or refused for a known reason.

mod common;

use common::compare::Tolerance;
use common::fixtures::{Case, Model, Outcome, Shapes, check_all, judge, manifest, unpacked};
use common::{devices, load};
use serde::Deserialize;
use sottovoce::exec::DevicePreference;
use sottovoce::graph::Report;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// More than any takes by far, on a busy machine and a software GPU too.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
struct Manifest {
    models: Vec<ManifestModel>,
}

#[derive(Deserialize)]
struct ManifestModel {
    name: String,
    tolerance: Tolerance,
    cases: Vec<ManifestCase>,
    /// Nodes by operator, those of subgraphs too.
    ops: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct ManifestCase {
    tolerance: Option<Tolerance>,
    compare: Option<String>,
}

fn manifest_models() -> Vec<ManifestModel> {
    manifest::<Manifest>(&unpacked("exports").join("MANIFEST.json")).models
}

fn models() -> Vec<Arc<Model>> {
    let folder = unpacked("exports");
    let model = |model: ManifestModel| {
        let case = |case: &ManifestCase| Case {
            tolerance: case.tolerance.unwrap_or(model.tolerance),
            masked: case.compare.is_some(),
        };
        let cases = model.cases.iter().map(case).collect();
        Arc::new(Model { folder: folder.join(&model.name), name: model.name, cases, shapes: Shapes::AsExported })
    };
    manifest_models().into_iter().map(model).collect()
}

#[test]
fn exports_agree_with_onnx_runtime() {
    let models = models();
    let mut complaints = Vec::new();
    for device in devices() {
        println!("{device:?}");
        let outcomes = check_all(&models, device, LIMIT);
        let named: Vec<(String, Outcome)> = models.iter().map(|model| model.name.clone()).zip(outcomes).collect();
        complaints.extend(judge("exports", &named).into_iter().map(|complaint| format!("{device:?}: {complaint}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Operators of which each stands for one attention.
const ATTENTIONS: &[&str] = &[
    "Attention",
    "Softmax",
    "com.microsoft.Attention",
    "com.microsoft.GroupQueryAttention",
    "com.microsoft.MultiHeadAttention",
    "com.microsoft.QAttention",
    "com.microsoft.QLinearSoftmax",
];

/// What is left only of a pattern that was not recognised.
const REMAINS: &[&str] = &["Softmax", "Erf", "Rsqrt", "Reduce<MeanOfSquares>"];

/// Products outside the layers: of a pooler and a classifier, or of positions and frequencies.
const PRODUCTS_ELSEWHERE: usize = 2;

#[test]
fn every_layer_is_recognised() {
    let folder = unpacked("exports");
    let mut outcomes = Vec::new();
    for model in manifest_models() {
        let path = folder.join(&model.name).join("model.onnx");
        // What is not loaded has its place in the other test.
        if let Ok(session) = load(&path, DevicePreference::Cpu) {
            let missed = missed(&model, session.report());
            let outcome = if missed.is_empty() { Outcome::Right } else { Outcome::Refused(missed.join(", ")) };
            outcomes.push((model.name, outcome));
        }
    }
    let complaints = judge("recognition", &outcomes);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn missed(model: &ManifestModel, report: &Report) -> Vec<String> {
    let count = |name: &str| report.operators_after.get(name).copied().unwrap_or(0);
    let mut missed = Vec::new();
    let attentions: usize = ATTENTIONS.iter().filter_map(|name| model.ops.get(*name)).sum();
    if count("Attention") != attentions {
        missed.push(format!("{} of {attentions} attentions", count("Attention")));
    }
    missed.extend(REMAINS.iter().filter(|name| count(name) > 0).map(|name| format!("{} {name} left", count(name))));
    let products = count("EinSum") + count("MatMul");
    if products > PRODUCTS_ELSEWHERE {
        missed.push(format!("{products} products left"));
    }
    missed.extend(report.not_fused.iter().map(|miss| format!("{} `{}`: {}", miss.pattern, miss.node, miss.reason)));
    missed
}
