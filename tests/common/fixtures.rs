//! Models with recorded cases, the same for exports and single operators, and what became of each.

use super::compare::{Tolerance, disagreement};
use super::{external_files, folder, named, run};
use prost::Message;
use serde::de::DeserializeOwned;
use sottovoce::error::{Error, ErrorCode};
use sottovoce::exec::{DevicePreference, Session, Uninterrupted};
use sottovoce::onnx::pb::tensor_shape_proto::dimension::Value as Size;
use sottovoce::onnx::pb::{ModelProto, type_proto};
use sottovoce::tensor::{Tensor, TensorData};
use sottovoce::tensor_file;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

/// The unpacked archive of that name.
pub fn unpacked(name: &str) -> PathBuf {
    let _alone = alone();
    super::archive::unpacked(&folder("tests/fixtures"), name).unwrap_or_else(|error| panic!("{error}"))
}

/// Keeps the other tests of this program from the files that tests write.
fn alone() -> MutexGuard<'static, ()> {
    static FILES: Mutex<()> = Mutex::new(());
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A manifest of an archive.
pub fn manifest<T: DeserializeOwned>(file: &Path) -> T {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A model with its cases: `model.onnx`, and for each case `caseK.in.safetensors` and `caseK.out.safetensors`.
pub struct Model {
    pub name: String,
    pub folder: PathBuf,
    pub cases: Vec<Case>,
    pub shapes: Shapes,
}

/// What a model's inputs say of their shapes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shapes {
    /// What the file says.
    AsExported,
    /// A symbol for each size above 1, equal ones alike.
    Symbolic,
}

/// How the answer of a case is judged.
pub struct Case {
    pub tolerance: Tolerance,
    /// Only the positions whose attention mask is 1 are defined.
    pub masked: bool,
}

/// What became of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every case agrees.
    Right,
    /// A typed error that says what is not supported.
    Refused(String),
    /// An answer that is not the recorded one.
    Wrong(String),
    /// Anything else: another error, a panic, no end.
    Failed(String),
}

impl Model {
    /// Loads the model and runs all its cases.
    pub fn check(&self, device: DevicePreference) -> Outcome {
        self.check_cases(device).unwrap_or_else(|error| refusal_or_failure(&error))
    }

    fn check_cases(&self, device: DevicePreference) -> Result<Outcome, Error> {
        let bytes = self.read();
        let source = ("model.onnx", &*bytes);
        let mut session = pollster::block_on(Session::load(
            &source,
            &external_files(&self.folder.join("model.onnx"))?,
            device,
            &Uninterrupted,
        ))?;
        for (number, case) in self.cases.iter().enumerate() {
            let file = |end: &str| self.folder.join(format!("case{number}.{end}.safetensors"));
            let feeds = tensor_file::read(&file("in"))?;
            let outputs = run(&mut session, &feeds)?;
            for (name, expected) in tensor_file::read(&file("out"))? {
                if let Some(wrong) = case.disagreement(&name, named(&outputs, &name), &expected, &feeds, device) {
                    return Ok(Outcome::Wrong(format!("case {number}, `{name}`: {wrong}")));
                }
            }
        }
        Ok(Outcome::Right)
    }

    fn read(&self) -> Vec<u8> {
        let file = self.folder.join("model.onnx");
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        match self.shapes {
            Shapes::AsExported => bytes,
            Shapes::Symbolic => symbolic(&bytes),
        }
    }
}

/// The model with symbols for its inputs' sizes, and nothing said of any other shape.
fn symbolic(model: &[u8]) -> Vec<u8> {
    let mut model = ModelProto::decode(model).expect("the node tests are well formed");
    let graph = model.graph.as_mut().expect("a model has a graph");
    graph.value_info.clear();
    for input in &mut graph.input {
        let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_mut().and_then(|kind| kind.value.as_mut())
        else {
            continue;
        };
        for dimension in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
            if let Some(Size::DimValue(size @ 2..)) = dimension.value {
                dimension.value = Some(Size::DimParam(format!("size_{size}")));
            }
        }
    }
    for output in &mut graph.output {
        if let Some(type_proto::Value::TensorType(tensor)) = output.r#type.as_mut().and_then(|kind| kind.value.as_mut())
        {
            tensor.shape = None;
        }
    }
    model.encode_to_vec()
}

impl Case {
    fn disagreement(
        &self,
        name: &str,
        actual: &Tensor,
        expected: &Tensor,
        feeds: &[(String, Tensor)],
        device: DevicePreference,
    ) -> Option<String> {
        let tolerance = self.tolerance.times(if device == DevicePreference::Cpu { 1.0 } else { 10.0 });
        if !self.masked {
            return disagreement(actual, expected, tolerance, |_| true);
        }
        let (mask, dims) = (named(feeds, "attention_mask"), expected.dims());
        let axis = if name.starts_with("present") { 2 } else { 1 };
        let inner: usize = dims[axis + 1..].iter().product();
        let outer: usize = dims[1..axis].iter().product();
        let total = mask.dims()[1];
        disagreement(actual, expected, tolerance, |at| {
            let position = at / inner % dims[axis] + total - dims[axis];
            let row = at / (inner * dims[axis] * outer);
            is_one(mask, row * total + position)
        })
    }
}

fn is_one(mask: &Tensor, at: usize) -> bool {
    match mask.data() {
        TensorData::Int64(data) => data[at] == 1,
        TensorData::Int32(data) => data[at] == 1,
        other => panic!("an attention mask of type {}", other.dtype().name()),
    }
}

fn refusal_or_failure(error: &Error) -> Outcome {
    match error.code {
        ErrorCode::UnsupportedOp => Outcome::Refused(refusal(error)),
        code => Outcome::Failed(format!("{}: {error}", code.name())),
    }
}

/// Operator and reason, without node and file; the reason's beginning, where it is long.
fn refusal(error: &Error) -> String {
    let reason: String = without_numbers(&error.message).chars().take(160).collect();
    match &error.op {
        Some(op) => format!("{op}: {reason}"),
        None => reason,
    }
}

/// The numbers of sizes that only a run tells depend on what was loaded before.
fn without_numbers(message: &str) -> String {
    let mut parts = message.split("deferred ");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |text, part| text + "deferred" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Checks the models, two at a time, each on a thread of its own that may panic or be given up.
pub fn check_all(models: &[Arc<Model>], device: DevicePreference, limit: Duration) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let lane = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let checked =
            |number: usize| (number, guarded(models[number].clone(), limit, move |model| model.check(device)));
        numbers.take_while(|number| *number < models.len()).map(checked).collect::<Vec<_>>()
    };
    let mut done = std::thread::scope(|scope| {
        let lanes = [scope.spawn(lane), scope.spawn(lane)];
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane catches all panics")).collect::<Vec<_>>()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// As much stack as WebAssembly has.
const STACK_BYTES: usize = 4 << 20;

/// The outcome of `check`, or a failure where it panics or takes longer than `limit`; then its thread is left behind.
pub fn guarded<T: Send + 'static>(
    item: T,
    limit: Duration,
    check: impl FnOnce(T) -> Outcome + Send + 'static,
) -> Outcome {
    let (sender, receiver) = mpsc::channel();
    let work = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(item)))
            .unwrap_or_else(|_| Outcome::Failed("a panic reached the caller".into()));
        let _ = sender.send(outcome);
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread starts");
    receiver.recv_timeout(limit).unwrap_or_else(|_| Outcome::Failed(format!("no end after {limit:?}")))
}

/// Reasons by model, by group.
type Refusals = BTreeMap<String, BTreeMap<String, String>>;

/// Compares the outcomes with the refusals that are known and prints what is refused. With `UPDATE_EXPECT=1` in the
/// environment the known refusals are replaced by those seen; nothing else can be waved through.
pub fn judge(group: &str, outcomes: &[(String, Outcome)]) -> Vec<String> {
    let _alone = alone();
    let file = folder("tests/fixtures/expected_refusals.json");
    let mut refusals: Refusals = manifest(&file);
    let known = refusals.remove(group).unwrap_or_default();
    let mut refused = BTreeMap::new();
    let mut complaints = Vec::new();
    for (name, outcome) in outcomes {
        match (outcome, known.get(name)) {
            (Outcome::Right, None) => {}
            (Outcome::Right, Some(reason)) => {
                complaints.push(format!("{name} is right, but expected refused: {reason}"));
            }
            (Outcome::Refused(reason), known) => {
                println!("refused: {name}: {reason}");
                refused.insert(name.clone(), reason.clone());
                if known != Some(reason) {
                    complaints.push(format!("{name} is refused: {reason}"));
                }
            }
            (Outcome::Wrong(reason), _) => complaints.push(format!("{name} is WRONG: {reason}")),
            (Outcome::Failed(reason), _) => complaints.push(format!("{name} failed: {reason}")),
        }
    }
    let right = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Right).count();
    println!("{group}: {right} of {} right, {} refused", outcomes.len(), refused.len());
    if std::env::var("UPDATE_EXPECT").is_ok_and(|value| value == "1") {
        refusals.insert(group.to_string(), refused);
        let text = serde_json::to_string_pretty(&refusals).expect("strings are JSON") + "\n";
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    complaints
}
