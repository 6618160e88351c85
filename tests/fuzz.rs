//! Models with something changed at random: whatever it is, loading and running them ends, with a typed error or without one.
//! `FUZZ_CASES` sets how many are tried, `FUZZ_SEED` where they begin; the same numbers give the same cases.

mod common;

use common::fixtures::{Outcome, guarded, unpacked};
use common::folder;
use prost::Message;
use sottovoce::error::{Error, ErrorCode, Result};
use sottovoce::exec::{Checkpoint, DevicePreference, Session};
use sottovoce::onnx::{Dimension, TensorInfo};
use sottovoce::tensor::{DType, Tensor, TensorData};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tract_onnx::pb;

/// An end must come within 2 s on an idle machine; this one may be busy.
const LIMIT: Duration = Duration::from_secs(20);
/// Ends a run at its next checkpoint.
const INTERRUPT_AFTER: Duration = Duration::from_secs(5);

/// Small models of several exporters, and single operators with sizes and positions among their inputs.
const EXPORTS: &[&str] = &[
    "bert__external-data",
    "bert__dynamo-op23__int4-qdq-b32",
    "distilbert-cls__dynamo-op18__dyn-int8",
    "llama-gqa__dynamo-op23__gather-bq-asym-nbits",
    "llama-gqa__genai-fp32-cpu",
    "llama-gqa__genai-int4-cpu",
    "qwen3__genai-fp32-cpu",
    "t5__optimum-encoder__external-data-per-tensor",
];

#[test]
fn changed_models_end_cleanly() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let bases = bases();
    let mut complaints = Vec::new();
    let first = number("FUZZ_SEED", 1);
    for seed in first..first + number("FUZZ_CASES", 3000) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (path, bytes) = &bases[random.below(bases.len())];
        let changed = change(bytes.clone(), &mut random);
        if std::env::var_os("FUZZ_SEED").is_some() {
            println!("{seed}: {}", path.display());
            std::fs::write(std::env::temp_dir().join("fuzz.onnx"), &changed).expect("a file");
        }
        let start = Instant::now();
        let outcome = guarded(changed, LIMIT, |bytes| outcome(&bytes));
        if outcome != Outcome::Right {
            complaints.push(format!("seed {seed}, {}: {outcome:?} after {:?}", path.display(), start.elapsed()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn bases() -> Vec<(PathBuf, Vec<u8>)> {
    let exports = unpacked("exports");
    let nodes = unpacked("nodes");
    let mut paths: Vec<PathBuf> = EXPORTS.iter().map(|name| exports.join(name).join("model.onnx")).collect();
    for folder in [nodes, folder("tests/fixtures/functions")] {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let models = entries.map(|path| if path.is_dir() { path.join("model.onnx") } else { path });
        let mut models: Vec<PathBuf> =
            models.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
        models.sort();
        paths.extend(models);
    }
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a model"))).collect()
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }

    fn pick<'a, T>(&mut self, from: &'a mut [T]) -> Option<&'a mut T> {
        let position = self.below(from.len());
        from.get_mut(position)
    }

    /// A number where things tend to break.
    fn number(&mut self) -> i64 {
        let edges = [0, 1, -1, 2, 3, -2, 7, 77, i64::MAX, i64::MIN, 1 << 31, 1 << 32, 1 << 40, -(1 << 31), 1 << 62];
        edges[self.below(edges.len())]
    }
}

fn change(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => {
            for _ in 0..1 + random.below(8) {
                let bit = random.below(8);
                if let Some(byte) = random.pick(&mut bytes) {
                    *byte ^= 1 << bit;
                }
            }
        }
        1 => bytes.truncate(random.below(bytes.len())),
        2 => {
            let (from, to, len) = (random.below(bytes.len()), random.below(bytes.len()), random.below(64));
            let piece: Vec<u8> = bytes[from..].iter().take(len).copied().collect();
            bytes.splice(to..to, piece);
        }
        _ => {
            let Ok(mut model) = pb::ModelProto::decode(&*bytes) else { return bytes };
            for _ in 0..1 + random.below(3) {
                change_graph(&mut model, random);
            }
            bytes = model.encode_to_vec();
        }
    }
    bytes
}

fn change_graph(model: &mut pb::ModelProto, random: &mut Random) {
    let Some(graph) = model.graph.as_mut().filter(|graph| !graph.node.is_empty()) else { return };
    let inputs: Vec<String> = graph.node.iter().flat_map(|node| &node.input).cloned().collect();
    let other_input = inputs.get(random.below(inputs.len())).cloned().unwrap_or_default();
    let operators: Vec<String> = graph.node.iter().map(|node| node.op_type.clone()).collect();
    let other_operator = operators[random.below(operators.len())].clone();
    let node = random.below(graph.node.len());
    let (kind, number) = (random.below(12), random.number());
    match kind {
        0 => graph.node.iter_mut().skip(node).take(1).for_each(|node| node.op_type = other_operator.clone()),
        1 | 2 => {
            if let Some(input) = graph.node.get_mut(node).and_then(|node| random.pick(&mut node.input)) {
                *input = other_input;
            }
        }
        3 => graph.node.iter_mut().skip(node).take(1).for_each(|node| drop(node.input.pop())),
        4 => graph.node.iter_mut().skip(node).take(1).for_each(|node| node.input.push(other_input.clone())),
        5 | 6 => {
            if let Some(attribute) = graph.node.get_mut(node).and_then(|node| random.pick(&mut node.attribute)) {
                attribute.i = number;
                attribute.ints.iter_mut().for_each(|value| *value = number);
                attribute.f = number as f32;
            }
        }
        7 => {
            if let Some(weight) = random.pick(&mut graph.initializer)
                && let Some(dim) = random.pick(&mut weight.dims)
            {
                *dim = number;
            }
        }
        8 => {
            if let Some(weight) = random.pick(&mut graph.initializer) {
                weight.data_type = random.below(28) as i32;
            }
        }
        9 => {
            let mut small: Vec<&mut pb::TensorProto> =
                graph.initializer.iter_mut().filter(|weight| weight.data_type == 7).collect();
            if let Some(weight) = random.pick(&mut small) {
                weight.int64_data.iter_mut().for_each(|value| *value = number);
                weight
                    .raw_data
                    .chunks_mut(8)
                    .for_each(|value| value.copy_from_slice(&number.to_le_bytes()[..value.len()]));
            }
        }
        10 => change_input(graph, random),
        _ => drop(graph.node.remove(node)),
    }
}

fn change_input(graph: &mut pb::GraphProto, random: &mut Random) {
    use pb::type_proto::Value::TensorType;
    let number = random.number();
    let Some(input) = random.pick(&mut graph.input) else { return };
    let Some(TensorType(tensor)) = input.r#type.as_mut().and_then(|kind| kind.value.as_mut()) else { return };
    match (random.below(2), tensor.shape.as_mut().and_then(|shape| random.pick(&mut shape.dim))) {
        (0, Some(dim)) => dim.value = Some(pb::tensor_shape_proto::dimension::Value::DimValue(number)),
        _ => tensor.elem_type = random.below(28) as i32,
    }
}

fn outcome(bytes: &[u8]) -> Outcome {
    match load_and_run(bytes) {
        Err(error) if matches!(error.code, ErrorCode::InternalError | ErrorCode::Aborted) || error.remedy.is_none() => {
            Outcome::Failed(error.to_string())
        }
        _ => Outcome::Right,
    }
}

fn load_and_run(bytes: &[u8]) -> Result<()> {
    let deadline = Deadline(Instant::now() + INTERRUPT_AFTER);
    let source = ("changed", bytes);
    let mut session = pollster::block_on(Session::load(&source, &[], DevicePreference::Cpu, &deadline))?;
    let feeds = session.info().inputs.iter().map(feed).collect::<Result<Vec<_>>>()?;
    pollster::block_on(session.run(&feeds, &[], &deadline)).map(drop)
}

/// Ones for an input; what its shape claims is believed up to a size.
fn feed(input: &TensorInfo) -> Result<(String, Tensor)> {
    let dim = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) if *size <= 64 => *size,
        _ => 2,
    };
    let dims: Vec<usize> = input.shape.iter().flatten().map(dim).collect();
    Ok((input.name.clone(), Tensor::new(&dims, ones(input.dtype, dims.iter().product()))?))
}

fn ones(dtype: DType, len: usize) -> TensorData {
    match dtype {
        DType::Float32 => vec![1f32; len].into(),
        DType::Float64 => vec![1f64; len].into(),
        DType::Float16 => vec![half::f16::ONE; len].into(),
        DType::BFloat16 => vec![half::bf16::ONE; len].into(),
        DType::Int8 => vec![1i8; len].into(),
        DType::UInt8 => vec![1u8; len].into(),
        DType::Int16 => vec![1i16; len].into(),
        DType::UInt16 => vec![1u16; len].into(),
        DType::Int32 => vec![1i32; len].into(),
        DType::UInt32 => vec![1u32; len].into(),
        DType::Int64 => vec![1i64; len].into(),
        DType::UInt64 => vec![1u64; len].into(),
        DType::Bool => vec![true; len].into(),
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
