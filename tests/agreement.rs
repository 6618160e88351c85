//! The two real models of the demo, at every batch and length, on one session each, against ONNX Runtime's recorded answers.
//! The models come from `cargo xtask models --for test`.

mod common;

use common::{devices, folder, load, max_error, named, run};
use sottovoce::exec::DevicePreference;
use sottovoce::tensor::{Tensor, TensorData};
use sottovoce::tensor_file;
use std::path::Path;

struct Model {
    name: &'static str,
    file: &'static str,
    output: &'static str,
    layers: u64,
}

const MODELS: &[Model] = &[
    Model { name: "rampart", file: "onnx/model_q4.onnx", output: "logits", layers: 6 },
    Model { name: "all-MiniLM-L6-v2", file: "onnx/model_quantized.onnx", output: "last_hidden_state", layers: 6 },
];

#[test]
fn real_models_agree_with_onnx_runtime() {
    for device in devices() {
        for model in MODELS {
            let file = folder("models").join(model.name).join(model.file);
            assert!(file.exists(), "{} is not there: run `cargo xtask models --for test`", file.display());
            let mut session = load(&file, device).unwrap();
            let mut runs = 0;
            for batch in [1, 8] {
                for length in [1, 7, 128, 512] {
                    // Software adapters take minutes for the largest one; the browser tests run it.
                    if device == DevicePreference::Gpu && batch * length > 1024 {
                        continue;
                    }
                    let case =
                        format!("tests/fixtures/agreement/{}/batch{batch}-length{length}.safetensors", model.name);
                    let error = case_error(&folder(&case), |feeds| run(&mut session, feeds).unwrap(), model.output);
                    let allowed = if device == DevicePreference::Cpu { 1e-4 } else { 1e-3 };
                    println!("{} {batch}x{length} {device:?}: max error {error:.1e}", model.name);
                    assert!(error <= allowed, "{} {batch}x{length} {device:?}: error {error}", model.name);
                    runs += 1;
                }
            }
            let (counters, gpu) = session.counters();
            let attentions = runs * model.layers;
            let expected = if device == DevicePreference::Cpu { (attentions, 0) } else { (0, attentions) };
            assert_eq!((counters.attention_on_cpu, counters.attention_on_gpu), expected, "{}", model.name);
            assert_eq!(gpu.dispatches > 0, device == DevicePreference::Gpu, "{}", model.name);
        }
    }
}

/// Files below models/. Each has six layers of an attention, four linears (one for query, key and value, the output, and two of
/// the feed-forward) and two norms, and a norm after the embeddings.
const ENCODERS: &[&str] =
    &["rampart/onnx/model_q4.onnx", "all-MiniLM-L6-v2/onnx/model_quantized.onnx", "all-MiniLM-L6-v2/onnx/model.onnx"];

#[test]
fn every_layer_of_the_real_models_is_recognised() {
    for name in ENCODERS {
        let file = folder("models").join(name);
        assert!(file.exists(), "{} is not there: run `cargo xtask models --for test`", file.display());
        let session = load(&file, DevicePreference::Cpu).unwrap();
        let report = session.report();
        let count = |name: &str| report.operators_after.get(name).copied().unwrap_or(0);
        assert_eq!((count("Attention"), count("LayerNorm")), (6, 13), "{name}: {report:#?}");
        assert!((24..36).contains(&count("Linear")), "{name}: {report:#?}");
        assert_eq!(report.fused.get("projections"), Some(&6), "{name}: {report:#?}");
        assert!(report.not_fused.is_empty(), "{name}: {report:#?}");
    }
}

type Tensors = Vec<(String, Tensor)>;

/// The largest error over the rows that were recorded.
fn case_error(file: &Path, run: impl FnOnce(&[(String, Tensor)]) -> Tensors, output: &str) -> f32 {
    let mut feeds = tensor_file::read(file).unwrap();
    let expected = named(&feeds, "expected").clone();
    let TensorData::Int64(rows) = named(&feeds, "rows").data().clone() else { panic!("rows must be int64") };
    feeds.retain(|(name, _)| !matches!(name.as_str(), "expected" | "rows"));
    let outputs = run(&feeds);
    let output = named(&outputs, output);
    let width = *output.dims().last().unwrap();
    let elements = output.as_f32().unwrap();
    let kept: Vec<f32> =
        rows.iter().flat_map(|row| &elements[*row as usize * width..(*row as usize + 1) * width]).copied().collect();
    max_error(&kept, expected.as_f32().unwrap())
}
