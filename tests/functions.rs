//! Models with local functions, against ONNX Runtime's recorded answers (`fixtures/functions/record.py`).

mod common;

use common::{folder, load, max_error, named, run};
use sottovoce::exec::DevicePreference;
use sottovoce::tensor_file;

const MODELS: &[&str] = &[
    "nested",
    "attributes",
    "tensor_attribute",
    "optional_inputs",
    "optional_outputs",
    "overloads",
    "operator_wins",
    "called_in_if",
    "if_inside",
];

#[test]
fn functions_agree_with_onnx_runtime() {
    let folder = folder("tests/fixtures/functions");
    for name in MODELS {
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        let mut session = load(&file("onnx"), DevicePreference::Cpu).unwrap_or_else(|error| panic!("{name}: {error}"));
        let actual = run(&mut session, &tensor_file::read(&file("in.safetensors")).unwrap()).unwrap();
        for (output, expected) in &tensor_file::read(&file("out.safetensors")).unwrap() {
            let actual = named(&actual, output);
            assert_eq!(actual.dims(), expected.dims(), "{name} {output}");
            let error = max_error(actual.as_f32().unwrap(), expected.as_f32().unwrap());
            assert!(error <= 1e-6, "{name} {output}: error {error}");
        }
    }
}
