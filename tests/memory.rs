//! What is kept after loading: each weight packed once, for all plans that use it.

mod common;

use common::fixtures::unpacked;
use common::graphs::{node, value};
use common::{load, named, run};
use prost::Message;
use sottovoce::error::{Error, Result};
use sottovoce::exec::{DevicePreference, Session, Uninterrupted};
use sottovoce::onnx::pb::attribute_proto::AttributeType;
use sottovoce::onnx::pb::tensor_proto::{DataLocation, DataType};
use sottovoce::onnx::pb::{self, AttributeProto, GraphProto, StringStringEntryProto};
use sottovoce::onnx::{ExternalFile, ReadAt};
use sottovoce::tensor::{Tensor, TensorData};

const MIB: usize = 1 << 20;
/// Rows of the embedding table, and columns of every other matrix.
const WIDE: usize = 8192;
const NARROW: usize = 256;
/// Bytes of each matrix.
const MATRIX: usize = WIDE * NARROW * 4;
/// Matrices besides the table.
const LAYERS: usize = 6;

/// A decoder of 56 MiB, whose two branches use the same weights, and whose table is its last layer too.
#[test]
fn branches_share_their_weights() {
    let (model, weights) = (decoder(), (LAYERS + 1) * MATRIX);
    let external = [ExternalFile { path: "weights".into(), source: Box::new(Pattern { len: weights as u64 }) }];
    let source = ("decoder", &*model);
    let load = Session::load(&source, &external, DevicePreference::Cpu, &Uninterrupted);
    let mut session = pollster::block_on(load).unwrap();
    // The table is kept in rows and packed for the product.
    let kept = weights + MATRIX;
    assert!((kept..kept + MIB).contains(&session.weight_bytes()), "{} bytes", session.weight_bytes());
    let [first, second] = [true, false].map(|cached| {
        let ids = Tensor::new(&[1, 2], vec![3i64, 8000]).unwrap();
        let feeds = [("ids".to_string(), ids), ("use_cache_branch".into(), Tensor::new(&[1], vec![cached]).unwrap())];
        floats(named(&run(&mut session, &feeds).unwrap(), "logits"))
    });
    assert!(first.iter().any(|logit| *logit != 0.0));
    assert!(first.iter().zip(&second).all(|(first, second)| *first == -second), "the second branch negates");
}

/// A merged decoder takes about as much as its file has weights.
#[test]
fn merged_decoders() {
    for name in ["gpt2__legacy-decoder-merged", "t5__optimum-decoder-merged", "t5__optimum-decoder-merged__dyn-int8"] {
        let path = unpacked("exports").join(name).join("model.onnx");
        let file = std::fs::metadata(&path).unwrap().len() as usize;
        let session = load(&path, DevicePreference::Cpu).unwrap();
        assert!(session.weight_bytes() < file * 5 / 4, "{name}: {} of {file} bytes", session.weight_bytes());
    }
}

/// A file of floats between -3/64 and 3/64.
struct Pattern {
    len: u64,
}

impl ReadAt for Pattern {
    fn name(&self) -> &str {
        "weights"
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if offset + buffer.len() as u64 > self.len || !offset.is_multiple_of(4) {
            return Err(Error::invalid_model("beyond the end"));
        }
        let (floats, _) = buffer.as_chunks_mut::<4>();
        for (at, float) in floats.iter_mut().enumerate() {
            *float = (((offset as usize / 4 + at) * 31 % 7) as f32 / 64.0 - 3.0 / 64.0).to_le_bytes();
        }
        Ok(())
    }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    match tensor.data() {
        TensorData::Float32(data) => data.clone(),
        other => panic!("{other:?}"),
    }
}

fn weight(at: usize, name: &str, dims: [usize; 2]) -> pb::TensorProto {
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
    pb::TensorProto {
        name: name.into(),
        data_type: DataType::Float as i32,
        dims: dims.map(|size| size as i64).to_vec(),
        data_location: Some(DataLocation::External as i32),
        external_data: vec![entry("location", "weights".into()), entry("offset", (at * MATRIX).to_string())],
        ..Default::default()
    }
}

fn branch(last: &str) -> GraphProto {
    let mut nodes = vec![node("Gather", &["table", "ids"], &["h0"])];
    for layer in 0..LAYERS {
        nodes.push(node("MatMul", &[&format!("h{layer}"), &format!("w{layer}")], &[&format!("h{}", layer + 1)]));
    }
    let mut transpose = node("Transpose", &["table"], &["transposed"]);
    let r#type = AttributeType::Ints as i32;
    transpose.attribute.push(AttributeProto { name: "perm".into(), r#type, ints: vec![1, 0], ..Default::default() });
    nodes.push(transpose);
    nodes.push(node("MatMul", &[&format!("h{LAYERS}"), "transposed"], &["product"]));
    nodes.push(node(last, &["product"], &["out"]));
    let output = vec![pb::ValueInfoProto { name: "out".into(), ..Default::default() }];
    GraphProto { name: "branch".into(), node: nodes, output, ..Default::default() }
}

fn decoder() -> Vec<u8> {
    let mut choice = node("If", &["use_cache_branch"], &["logits"]);
    for (name, last) in [("then_branch", "Identity"), ("else_branch", "Neg")] {
        let r#type = AttributeType::Graph as i32;
        choice.attribute.push(AttributeProto {
            name: name.into(),
            r#type,
            g: Some(branch(last)),
            ..Default::default()
        });
    }
    let layer = |layer: usize| {
        let dims = if layer.is_multiple_of(2) { [NARROW, WIDE] } else { [WIDE, NARROW] };
        weight(layer + 1, &format!("w{layer}"), dims)
    };
    let graph = GraphProto {
        name: "decoder".into(),
        input: vec![
            value("ids", DataType::Int64, &["batch", "length"]),
            value("use_cache_branch", DataType::Bool, &["one"]),
        ],
        initializer: [weight(0, "table", [WIDE, NARROW])].into_iter().chain((0..LAYERS).map(layer)).collect(),
        node: vec![choice],
        output: vec![value("logits", DataType::Float, &["batch", "length", "vocabulary"])],
        ..Default::default()
    };
    let opset_import = vec![pb::OperatorSetIdProto { version: 17, ..Default::default() }];
    pb::ModelProto { ir_version: 8, opset_import, graph: Some(graph) }.encode_to_vec()
}
