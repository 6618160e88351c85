//! Models with something changed at random: whatever it is, loading and running them ends, with a typed error or without one.
//! `FUZZ_CASES` sets how many are tried, `FUZZ_SEED` where they begin; the same numbers give the same cases.

mod common;

use common::fixtures::{Outcome, guarded, unpacked};
use common::folder;
use peak_alloc::PeakAlloc;
use prost::Message;
use sottovoce::error::{Error, ErrorCode, Result};
use sottovoce::exec::{Checkpoint, DevicePreference, Session};
use sottovoce::onnx::pb::{self, tensor_shape_proto::dimension::Value};
use sottovoce::onnx::{Dimension, TensorInfo};
use sottovoce::tensor::{DType, Tensor, TensorData};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The largest model has 200 kB: none has a reason to take more.
const PEAK_MIB: f32 = 256.0;

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
    let operators = operators(&bases);
    let panics = Arc::new(Mutex::new(Vec::<String>::new()));
    let heard = panics.clone();
    std::panic::set_hook(Box::new(move |panic| heard.lock().expect("a list").push(panic.to_string())));
    let mut complaints = Vec::new();
    let first = number("FUZZ_SEED", 1);
    for seed in first..first + number("FUZZ_CASES", 3000) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (path, bytes) = &bases[random.below(bases.len())];
        let changed = change(bytes.clone(), &mut random, &operators);
        if std::env::var_os("FUZZ_SEED").is_some() {
            println!("{seed}: {}", path.display());
            std::fs::write(std::env::temp_dir().join("fuzz.onnx"), &changed).expect("a file");
        }
        ALLOCATOR.reset_peak_usage();
        let (start, before) = (Instant::now(), ALLOCATOR.current_usage_as_mb());
        let outcome = guarded(changed, LIMIT, move |bytes| outcome(&bytes, seed));
        let peak = ALLOCATOR.peak_usage_as_mb() - before;
        let name = path.display();
        if outcome != Outcome::Right {
            complaints.push(format!("seed {seed}, {name}: {outcome:?} after {:?}", start.elapsed()));
        }
        if peak > PEAK_MIB {
            complaints.push(format!("seed {seed}, {name}: {peak:.0} MiB were allocated"));
        }
        // What panics in tract while a node is wired is a typed error; our own code must not panic at all.
        for panic in panics.lock().expect("a list").drain(..).filter(|panic| panic.contains("panicked at src/")) {
            complaints.push(format!("seed {seed}, {name}: {panic}"));
        }
    }
    drop(std::panic::take_hook());
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

    fn float(&mut self) -> f32 {
        let edges = [0.0, 1.0, -1.0, 0.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-40, 1e10];
        edges[self.below(edges.len())]
    }

    fn dims(&mut self) -> Vec<i64> {
        (0..self.below(5)).map(|_| self.number()).collect()
    }
}

/// Types and domains of the operators of all models.
fn operators(bases: &[(PathBuf, Vec<u8>)]) -> Vec<(String, String)> {
    let models = bases.iter().filter_map(|(_, bytes)| pb::ModelProto::decode(&**bytes).ok());
    let nodes = models.filter_map(|model| model.graph).flat_map(|graph| graph.node);
    let operators = nodes.map(|node| (node.op_type, node.domain));
    operators.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn change(mut bytes: Vec<u8>, random: &mut Random, operators: &[(String, String)]) -> Vec<u8> {
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
                change_model(&mut model, random, operators);
            }
            bytes = model.encode_to_vec();
        }
    }
    bytes
}

fn change_model(model: &mut pb::ModelProto, random: &mut Random, operators: &[(String, String)]) {
    let number = random.number();
    let Some(graph) = model.graph.as_mut().filter(|graph| !graph.node.is_empty()) else { return };
    match random.below(20) {
        0..10 => change_node(graph, random, operators),
        10..14 => change_weight(graph, random),
        14..16 => change_input(graph, random),
        16 => drop(graph.node.remove(random.below(graph.node.len()))),
        17 => {
            let copy = graph.node[random.below(graph.node.len())].clone();
            graph.node.push(copy);
        }
        18 => {
            let dims = random.dims();
            if let Some(output) = random.pick(&mut graph.output) {
                *output = typed(&output.name, number as i32 & 31, &dims);
            }
        }
        _ => model.opset_import.iter_mut().for_each(|import| import.version = 7 + number.unsigned_abs() as i64 % 20),
    }
}

fn change_node(graph: &mut pb::GraphProto, random: &mut Random, operators: &[(String, String)]) {
    let inputs: Vec<String> = graph.node.iter().flat_map(|node| &node.input).cloned().collect();
    let other_input = inputs.get(random.below(inputs.len())).cloned().unwrap_or_default();
    let at = random.below(graph.node.len());
    let name = format!("constant {}", graph.initializer.len());
    let node = &mut graph.node[at];
    match random.below(12) {
        0 => (node.op_type, node.domain) = operators[random.below(operators.len())].clone(),
        1 | 2 => {
            if let Some(input) = random.pick(&mut node.input) {
                *input = other_input;
            }
        }
        3 => drop(node.input.pop()),
        4 => node.input.push(other_input),
        5 => {
            if let Some(input) = random.pick(&mut node.input) {
                input.clear();
            }
        }
        6 => {
            if let Some(input) = random.pick(&mut node.input) {
                *input = name.clone();
                graph.initializer.push(constant(&name, random));
            }
        }
        7 => {
            node.attribute.pop();
        }
        _ => change_attribute(node, random),
    }
}

/// A small constant of any type and shape.
fn constant(name: &str, random: &mut Random) -> pb::TensorProto {
    let dims = [vec![], vec![1], vec![2], vec![4], vec![0], vec![2, 3], vec![1, 1, 4]][random.below(7)].clone();
    let volume = dims.iter().product::<i64>() as usize;
    let (data_type, raw_data) = match random.below(5) {
        0 => (1, (0..volume).flat_map(|_| random.float().to_le_bytes()).collect()),
        1 => (6, (0..volume).flat_map(|_| (random.number() as i32).to_le_bytes()).collect()),
        2 => (2, (0..volume).map(|_| random.number() as u8).collect()),
        3 => (9, (0..volume).map(|_| random.number() as u8 & 1).collect()),
        _ => (7, (0..volume).flat_map(|_| random.number().to_le_bytes()).collect::<Vec<u8>>()),
    };
    pb::TensorProto { name: name.into(), data_type, dims, raw_data, ..Default::default() }
}

fn change_attribute(node: &mut pb::NodeProto, random: &mut Random) {
    let (number, float, kind) = (random.number(), random.float(), random.below(8));
    let Some(attribute) = random.pick(&mut node.attribute) else { return };
    match kind {
        0 | 1 => attribute.i = number,
        2 => attribute.f = float,
        3 => attribute.ints.iter_mut().for_each(|value| *value = number),
        4 => {
            if let Some(value) = random.pick(&mut attribute.ints) {
                *value = number;
            }
        }
        5 => attribute.ints.push(number),
        6 => drop((attribute.ints.pop(), attribute.s.pop(), attribute.floats.pop())),
        _ => {
            attribute.r#type = number as i32 & 15;
            attribute.s = b"\xff\xfe".to_vec();
        }
    }
}

fn change_weight(graph: &mut pb::GraphProto, random: &mut Random) {
    let (number, dims) = (random.number(), random.dims());
    let kind = random.below(8);
    let integers = graph.initializer.iter_mut().filter(|weight| kind != 0 || weight.data_type == 7);
    let mut weights: Vec<&mut pb::TensorProto> = integers.collect();
    let Some(weight) = random.pick(&mut weights) else { return };
    match kind {
        0 => {
            let same = random.below(2) == 0;
            let mut next = || if same { number } else { random.number() };
            weight.int64_data.iter_mut().for_each(|value| *value = next());
            weight.raw_data.chunks_mut(8).for_each(|value| value.copy_from_slice(&next().to_le_bytes()[..value.len()]));
        }
        1 => {
            if let Some(dim) = random.pick(&mut weight.dims) {
                *dim = number;
            }
        }
        2 => weight.data_type = random.below(28) as i32,
        3 => weight.raw_data.truncate(random.below(weight.raw_data.len())),
        4 => weight.raw_data.push(number as u8),
        // The same bytes in another shape.
        5 => weight.dims = vec![weight.dims.iter().fold(1, |volume, dim| volume.wrapping_mul(*dim))],
        6 => weight.dims.reverse(),
        _ => weight.dims = dims,
    }
}

fn typed(name: &str, elem_type: i32, dims: &[i64]) -> pb::ValueInfoProto {
    let dim = |size: &i64| pb::tensor_shape_proto::Dimension { value: Some(Value::DimValue(*size)) };
    let shape = Some(pb::TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let value = Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor { elem_type, shape }));
    let r#type = Some(pb::TypeProto { value });
    pb::ValueInfoProto { name: name.into(), r#type }
}

fn change_input(graph: &mut pb::GraphProto, random: &mut Random) {
    use pb::type_proto::Value::TensorType;
    let number = random.number();
    let Some(input) = random.pick(&mut graph.input) else { return };
    let Some(TensorType(tensor)) = input.r#type.as_mut().and_then(|kind| kind.value.as_mut()) else { return };
    let kind = random.below(5);
    match (kind, tensor.shape.as_mut()) {
        (0, Some(shape)) => {
            if let Some(dim) = random.pick(&mut shape.dim) {
                dim.value = Some(Value::DimValue(number));
            }
        }
        (1, Some(shape)) => shape.dim.iter_mut().for_each(|dim| dim.value = Some(Value::DimParam("n".into()))),
        (2, Some(shape)) => drop(shape.dim.pop()),
        (3, Some(shape)) => shape.dim.push(Default::default()),
        _ => tensor.elem_type = random.below(28) as i32,
    }
}

fn outcome(bytes: &[u8], seed: u64) -> Outcome {
    match load_and_run(bytes, &mut Random(seed | 1)) {
        Err(error) if matches!(error.code, ErrorCode::InternalError | ErrorCode::Aborted) || error.remedy.is_none() => {
            Outcome::Failed(error.to_string())
        }
        _ => Outcome::Right,
    }
}

fn load_and_run(bytes: &[u8], random: &mut Random) -> Result<()> {
    let deadline = Deadline(Instant::now() + INTERRUPT_AFTER);
    let source = ("changed", bytes);
    let mut session = pollster::block_on(Session::load(&source, &[], DevicePreference::Cpu, &deadline))?;
    let feeds = session.inputs().iter().map(|input| feed(input, random)).collect::<Result<Vec<_>>>()?;
    pollster::block_on(session.run(&feeds, &[], &deadline)).map(drop)
}

/// Values for an input, of any sizes where it has none; what its shape claims is believed up to a size.
fn feed(input: &TensorInfo, random: &mut Random) -> Result<(String, Tensor)> {
    let size = [2, 2, 2, 1, 0, 3, 5, 16][random.below(8)];
    let dim = |dimension: &Dimension| match dimension {
        Dimension::Fixed(fixed) if *fixed <= 64 => *fixed,
        _ => size,
    };
    let mut dims: Vec<usize> = input.shape.iter().flatten().map(dim).collect();
    if dims.iter().fold(1, |volume: usize, dim| volume.saturating_mul(*dim)) > 1 << 20 {
        dims.fill(1);
    }
    let integer = [1, 1, 1, 0, -1, random.number()][random.below(6)];
    let float = [1.0, 1.0, 0.0, random.float()][random.below(4)];
    Ok((input.name.clone(), Tensor::new(&dims, values(input.dtype, dims.iter().product(), integer, float))?))
}

fn values(dtype: DType, len: usize, integer: i64, float: f32) -> TensorData {
    match dtype {
        DType::Float32 => vec![float; len].into(),
        DType::Float64 => vec![f64::from(float); len].into(),
        DType::Float16 => vec![half::f16::from_f32(float); len].into(),
        DType::BFloat16 => vec![half::bf16::from_f32(float); len].into(),
        DType::Int8 => vec![integer as i8; len].into(),
        DType::UInt8 => vec![integer as u8; len].into(),
        DType::Int16 => vec![integer as i16; len].into(),
        DType::UInt16 => vec![integer as u16; len].into(),
        DType::Int32 => vec![integer as i32; len].into(),
        DType::UInt32 => vec![integer as u32; len].into(),
        DType::Int64 => vec![integer; len].into(),
        DType::UInt64 => vec![integer as u64; len].into(),
        DType::Bool => vec![integer & 1 == 1; len].into(),
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
