//! Small models as exporters wrote them, against ONNX Runtime's recorded answers: right, or refused for a known reason.

mod common;

use common::compare::Tolerance;
use common::devices;
use common::fixtures::{Case, Model, Outcome, Shapes, check_all, judge, manifest, unpacked};
use serde::Deserialize;
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
}

#[derive(Deserialize)]
struct ManifestCase {
    tolerance: Option<Tolerance>,
    compare: Option<String>,
}

fn models() -> Vec<Arc<Model>> {
    let folder = unpacked("exports");
    let manifest: Manifest = manifest(&folder.join("MANIFEST.json"));
    let model = |model: ManifestModel| {
        let case = |case: &ManifestCase| Case {
            tolerance: case.tolerance.unwrap_or(model.tolerance),
            masked: case.compare.is_some(),
        };
        let cases = model.cases.iter().map(case).collect();
        Arc::new(Model { folder: folder.join(&model.name), name: model.name, cases, shapes: Shapes::AsExported })
    };
    manifest.models.into_iter().map(model).collect()
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
