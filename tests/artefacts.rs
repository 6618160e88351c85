//! Models saved and loaded again: the same answers, bit for bit, from whatever can be saved; and from damaged artefacts
//! nothing but typed errors.

mod common;

use common::fixtures::{Outcome, judge, manifest, unpacked};
use common::{folder, load, run};
use serde::Deserialize;
use sottovoce::artefact::{Artefact, check};
use sottovoce::error::{Error, ErrorCode, Result};
use sottovoce::exec::{DevicePreference, Session, Uninterrupted};
use sottovoce::onnx::ReadAt;
use sottovoce::tensor_file;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Manifest {
    models: Vec<ManifestModel>,
}

#[derive(Deserialize)]
struct ManifestModel {
    name: String,
    cases: Vec<serde::de::IgnoredAny>,
}

fn bytes_of(artefact: &Artefact) -> Vec<u8> {
    let mut bytes = Vec::new();
    let gathered = artefact.write(|piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    gathered.unwrap();
    assert_eq!(bytes.len() as u64, artefact.size());
    bytes
}

fn load_bytes(bytes: &[u8]) -> Result<Session> {
    let source = ("artefact", bytes);
    pollster::block_on(Session::load(&source, &[], DevicePreference::Cpu, &Uninterrupted))
}

/// Saves a model, loads what was saved, and runs both.
fn round_trip(model: &Path, cases: &[PathBuf]) -> Result<Outcome> {
    let mut session = load(model, DevicePreference::Cpu)?;
    let saved = bytes_of(&session.save(None)?);
    let mut again = load_bytes(&saved)?;
    let known =
        |session: &Session| (session.inputs().to_vec(), session.outputs().to_vec(), format!("{:?}", session.report()));
    if known(&again) != known(&session) {
        return Ok(Outcome::Wrong("inputs, outputs or report are others".into()));
    }
    if again.weight_bytes() > session.weight_bytes() {
        return Ok(Outcome::Wrong(format!("{} bytes instead of {}", again.weight_bytes(), session.weight_bytes())));
    }
    for case in cases {
        let mut feeds = tensor_file::read(case)?;
        feeds.retain(|(name, _)| session.inputs().iter().any(|input| input.name == *name));
        if format!("{:?}", run(&mut again, &feeds)?) != format!("{:?}", run(&mut session, &feeds)?) {
            return Ok(Outcome::Wrong(format!("{} has another answer", case.display())));
        }
    }
    let same = bytes_of(&again.save(None)?) == saved;
    Ok(if same { Outcome::Right } else { Outcome::Wrong("saved again, it is another artefact".into()) })
}

fn outcome(of: Result<Outcome>) -> Outcome {
    of.unwrap_or_else(|error| match (error.code, &error.op) {
        (ErrorCode::UnsupportedOp, Some(op)) => Outcome::Refused(format!("{op}: {}", error.message)),
        (code, _) => Outcome::Failed(format!("{}: {error}", code.name())),
    })
}

#[test]
fn exports_answer_alike_when_saved() {
    let exports = unpacked("exports");
    let models = manifest::<Manifest>(&exports.join("MANIFEST.json")).models;
    let named = models.into_iter().map(|model| {
        let own = exports.join(&model.name);
        let cases: Vec<PathBuf> =
            (0..model.cases.len()).map(|case| own.join(format!("case{case}.in.safetensors"))).collect();
        (model.name, outcome(round_trip(&own.join("model.onnx"), &cases)))
    });
    let complaints = judge("saved exports", &named.collect::<Vec<_>>());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn real_models_answer_alike_when_saved() {
    let models = [
        ("all-MiniLM-L6-v2", "model.onnx"),
        ("all-MiniLM-L6-v2", "model_quantized.onnx"),
        ("rampart", "model_q4.onnx"),
    ];
    for (name, file) in models {
        let path = folder("models").join(name).join("onnx").join(file);
        assert!(path.exists(), "{} is not there: run `cargo xtask models --for test`", path.display());
        let cases = ["batch1-length7", "batch8-length128"]
            .map(|case| folder("tests/fixtures/agreement").join(name).join(format!("{case}.safetensors")));
        assert_eq!(outcome(round_trip(&path, &cases)), Outcome::Right, "{name} {file}");
    }
}

fn small_artefact(digest: Option<&str>) -> Vec<u8> {
    let model = unpacked("exports").join("bert-cls__dyn-uint8").join("model.onnx");
    bytes_of(&load(&model, DevicePreference::Cpu).unwrap().save(digest).unwrap())
}

fn code_of(result: Result<Session>) -> Option<ErrorCode> {
    result.err().map(|error: Error| error.code)
}

#[test]
fn damaged_artefacts_are_refused() {
    let good = small_artefact(None);
    assert_eq!(code_of(load_bytes(&good)), None);
    let refused = |what: &str, bytes: &[u8]| {
        let code = code_of(load_bytes(bytes));
        let typed = matches!(code, Some(ErrorCode::IntegrityError | ErrorCode::InvalidModel));
        assert!(typed, "{what}: {code:?}");
    };
    for cut in (0..good.len()).step_by(good.len() / 97 + 1).chain([1, 7, 8, 63, 64, 65, good.len() - 1]) {
        refused(&format!("cut at {cut}"), &good[..cut]);
    }
    refused("longer", &[&*good, &[0]].concat());
    // Between the parts lie zeros that nobody reads: a byte there is no damage.
    let mut harmless = 0;
    for at in (0..64).chain((64..good.len()).step_by(good.len() / 499 + 1)) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        match code_of(load_bytes(&bytes)) {
            Some(ErrorCode::IntegrityError | ErrorCode::InvalidModel) => {}
            None => harmless += 1,
            code => panic!("byte {at}: {code:?}"),
        }
    }
    assert!(harmless < 100, "{harmless} changes went unnoticed");
    let mut huge = good.clone();
    huge[24..40].copy_from_slice(&[(1u64 << 60).to_le_bytes(), (1u64 << 60).to_le_bytes()].concat());
    refused("2^60 bytes", &huge);
}

#[test]
fn artefacts_are_checked_against_a_digest() {
    let cases = [
        (None, None, None),
        (Some("sha256-a"), None, None),
        (Some("sha256-a"), Some("sha256-a"), None),
        (Some("sha256-a"), Some("sha256-b"), Some(ErrorCode::IntegrityError)),
        (None, Some("sha256-b"), Some(ErrorCode::IntegrityError)),
    ];
    for (own, expected, code) in cases {
        let bytes = small_artefact(own);
        let checked = check(&("artefact", &*bytes), expected).err().map(|error| error.code);
        assert_eq!(checked, code, "{own:?} {expected:?}");
    }
    let bytes = small_artefact(Some("sha256-a"));
    let again = load_bytes(&bytes).unwrap();
    assert!(again.is_from_artefact());
    let kept = bytes_of(&again.save(Some("sha256-b")).unwrap());
    assert_eq!(kept, bytes, "the artefact's own digest is kept");
    let model = std::fs::read(unpacked("exports").join("bert-cls__dyn-uint8").join("model.onnx")).unwrap();
    for other in [&*model, b"", b"\0sottovo"] {
        let code = check(&("other", other), None).err().map(|error| error.code);
        assert_eq!(code, Some(ErrorCode::InvalidModel));
    }
}

/// Counts what is read, to see that nothing is read twice.
struct Counted<'a> {
    bytes: &'a [u8],
    read: std::cell::Cell<u64>,
}

impl ReadAt for Counted<'_> {
    fn name(&self) -> &str {
        "artefact"
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.read.set(self.read.get() + buffer.len() as u64);
        ("artefact", self.bytes).read_at(offset, buffer)
    }
}

#[test]
fn an_artefact_is_read_once() {
    let bytes = small_artefact(None);
    let source = Counted { bytes: &bytes, read: 0.into() };
    pollster::block_on(Session::load(&source, &[], DevicePreference::Cpu, &Uninterrupted)).unwrap();
    assert!(source.read.get() <= source.len() + 100, "{} of {} bytes", source.read.get(), source.len());
}
