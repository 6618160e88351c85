//! Small exports of encoders by several tools, against ONNX Runtime's recorded answers.

mod common;

use common::{devices, folder, load, max_error, named, run};
use sottovoce::exec::DevicePreference;
use sottovoce::tensor_file;

struct Case {
    name: &'static str,
    attentions: usize,
    linears: usize,
    gelus: usize,
}

/// Each has two layers of attention, feed-forward and norms.
const CASES: &[Case] = &[
    Case { name: "bert__legacy-op14", attentions: 2, linears: 12, gelus: 2 },
    Case { name: "bert__legacy-op17", attentions: 2, linears: 12, gelus: 2 },
    Case { name: "bert__dynamo-op18", attentions: 2, linears: 12, gelus: 2 },
    Case { name: "bert__dynamo-op23", attentions: 2, linears: 12, gelus: 2 },
    Case { name: "bert__nbits4-b32-sym", attentions: 2, linears: 12, gelus: 2 },
    Case { name: "distilbert-cls__legacy-op17", attentions: 2, linears: 12, gelus: 2 },
];

#[test]
fn exports_agree_with_onnx_runtime() {
    for device in devices() {
        for case in CASES {
            let model = folder("tests/fixtures/exports").join(case.name);
            let mut session = load(&model.join("model.onnx"), device).unwrap();
            for number in 0.. {
                let input = model.join(format!("case{number}.in.safetensors"));
                if !input.exists() {
                    assert!(number > 0, "{} has no cases", case.name);
                    break;
                }
                let expected = tensor_file::read(&model.join(format!("case{number}.out.safetensors"))).unwrap();
                let actual = run(&mut session, &tensor_file::read(&input).unwrap()).unwrap();
                for (name, expected) in &expected {
                    let actual = named(&actual, name);
                    assert_eq!(actual.dims(), expected.dims(), "{} case {number} {name}", case.name);
                    let error = max_error(actual.as_f32().unwrap(), expected.as_f32().unwrap());
                    let allowed = if device == DevicePreference::Cpu { 1e-4 } else { 1e-3 };
                    assert!(error <= allowed, "{} case {number} {name}: error {error}", case.name);
                }
            }
        }
    }
}

#[test]
fn every_layer_is_recognised() {
    for case in CASES {
        let model = folder("tests/fixtures/exports").join(case.name).join("model.onnx");
        let session = load(&model, DevicePreference::Cpu).unwrap();
        let report = session.report();
        let count = |name: &str| report.operators_after.get(name).copied().unwrap_or(0);
        assert_eq!(count("Attention"), case.attentions, "{} {report:#?}", case.name);
        assert_eq!(count("Linear"), case.linears, "{} {report:#?}", case.name);
        assert!(count("LayerNorm") > 2 * case.attentions, "{} {report:#?}", case.name);
        let written_out = ["Softmax", "Erf", "MatMul"].iter().map(|name| count(name)).sum::<usize>();
        assert_eq!(written_out, 0, "{} {report:#?}", case.name);
        let gelus = report.fused.get("gelu").copied().unwrap_or(0) + report.operators_before.get("Gelu").unwrap_or(&0);
        assert_eq!(gelus, case.gelus, "{} {report:#?}", case.name);
    }
}
