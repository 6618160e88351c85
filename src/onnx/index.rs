//! The index of a model file: its graph without the weights, and where each weight lies.

use super::ReadAt;
use super::external::external_path;
use super::functions::{Library, inline_functions, qualify_overloads};
use super::wire::{self, Fields, Value};
use crate::error::{Error, Result};
use crate::onnx::pb::{self, tensor_proto::DataLocation};
use prost::Message;

/// An initializer larger than this stays in the file until it is wired.
const KEPT_IN_GRAPH: u64 = 4096;
/// A graph without its weights that is larger than this is refused: no exporter writes one.
const LARGEST_GRAPH: u64 = 512 << 20;
/// So is one of more nodes, or more weights: a few bytes for each would become as many gigabytes in memory.
const MOST_NODES: usize = 1 << 15;

/// Where an initializer's elements lie.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// Little-endian, row-major, in the model file.
    Inline {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// Little-endian, row-major, in a file beside the model.
    External {
        /// Path relative to the model's folder, as [`external_path`] spells it.
        path: String,
        /// First byte.
        offset: u64,
        /// Number of bytes, where the model says so.
        len: Option<u64>,
    },
    /// Decoded with the graph: small, or stored as repeated numbers.
    Proto(Box<pb::TensorProto>),
}

/// A weight of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Initializer {
    /// Name of the tensor.
    pub name: String,
    /// `TensorProto.DataType` of the stored elements.
    pub data_type: i32,
    /// `TensorProto.DataType` of the elements that the graph gets.
    pub wired_type: i32,
    /// Shape as the file has it, not yet validated.
    pub dims: Vec<i64>,
    /// Where its elements lie.
    pub place: Place,
}

/// A model's graph and where its weights lie.
#[derive(Debug, Clone)]
pub struct ModelIndex {
    /// The model with no initializers in its main graph and its local functions inlined.
    pub model: pb::ModelProto,
    /// The main graph's initializers.
    pub initializers: Vec<Initializer>,
}

// Field numbers of onnx.proto.
const MODEL_GRAPH: u32 = 7;
const MODEL_FUNCTIONS: u32 = 25;
const GRAPH_NODE: u32 = 1;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// Indexes a model file.
///
/// # Errors
/// `InvalidModel` when the file is not a well-formed ONNX protobuf, or a local function cannot be inlined; `UnsupportedOp` for a
/// graph beyond all measure.
pub fn index(source: &dyn ReadAt) -> Result<ModelIndex> {
    refuse_other_files(source)?;
    let mut skeleton = Vec::new();
    let mut initializers = Vec::new();
    let mut functions = Vec::new();
    let mut graphs = 0;
    let mut fields = Fields::new(source, 0, source.len());
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (MODEL_GRAPH, Value::Bytes { offset, len }) => {
                graphs += 1;
                let graph = index_graph(source, offset, offset + len, &mut initializers)?;
                wire::put_bytes(MODEL_GRAPH, &graph, &mut skeleton);
            }
            (MODEL_FUNCTIONS, _) => append(source, field.start, field.end, &mut functions)?,
            _ => append(source, field.start, field.end, &mut skeleton)?,
        }
    }
    if graphs != 1 {
        return Err(not_a_model(source, &format!("it holds {graphs} graphs instead of one")));
    }
    let undecodable = |error: prost::DecodeError| not_a_model(source, &error.to_string());
    let mut model = pb::ModelProto::decode(&*skeleton).map_err(undecodable)?;
    let mut library = Library::decode(&*functions).map_err(undecodable)?;
    skeleton.append(&mut functions);
    qualify_overloads(&mut model, &mut library, &skeleton)?;
    drop(skeleton);
    inline_functions(&mut model, &library, initializers.iter().map(|initializer| &*initializer.name))
        .map_err(|error| error.file(source.name()))?;
    constants_outside(&mut model, &mut initializers)?;
    Ok(ModelIndex { model, initializers })
}

fn index_graph(source: &dyn ReadAt, start: u64, end: u64, initializers: &mut Vec<Initializer>) -> Result<Vec<u8>> {
    let mut skeleton = Vec::new();
    let mut nodes = 0;
    let mut fields = Fields::new(source, start, end);
    while let Some(field) = fields.next()? {
        nodes += usize::from(field.number == GRAPH_NODE);
        if nodes.max(initializers.len()) > MOST_NODES {
            return Err(Error::unsupported_op(format!("a graph of more than {MOST_NODES} nodes or weights"))
                .file(source.name())
                .remedy("export the model in parts"));
        }
        match (field.number, field.value) {
            (GRAPH_INITIALIZER, Value::Bytes { offset, len }) => {
                initializers.push(index_initializer(source, offset, offset + len)?);
            }
            _ => append(source, field.start, field.end, &mut skeleton)?,
        }
    }
    Ok(skeleton)
}

fn index_initializer(source: &dyn ReadAt, start: u64, end: u64) -> Result<Initializer> {
    let mut raw_data = None;
    let mut header = Vec::new();
    if end - start <= KEPT_IN_GRAPH {
        append(source, start, end, &mut header)?;
    } else {
        let mut fields = Fields::new(source, start, end);
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (TENSOR_RAW_DATA, Value::Bytes { offset, len }) => raw_data = Some((offset, len)),
                _ => append(source, field.start, field.end, &mut header)?,
            }
        }
    }
    let proto = pb::TensorProto::decode(&*header).map_err(|error| not_a_model(source, &error.to_string()))?;
    initializer_of(proto, raw_data)
}

/// The initializer of that header; `raw_data` tells where its elements lie in the model file if not in the header.
fn initializer_of(proto: pb::TensorProto, raw_data: Option<(u64, u64)>) -> Result<Initializer> {
    let (name, data_type, dims) = (proto.name.clone(), proto.data_type, proto.dims.clone());
    let external = proto.data_location == Some(DataLocation::External as i32);
    let place = match raw_data {
        Some(_) if external => return Err(stored_twice(&name)),
        None if external && !proto.raw_data.is_empty() => return Err(stored_twice(&name)),
        None if external => external_place(&proto)?,
        Some((offset, len)) => Place::Inline { offset, len },
        None => Place::Proto(Box::new(proto)),
    };
    Ok(Initializer { name, data_type, wired_type: data_type, dims, place })
}

/// Makes initializers of those constants of the main graph whose elements lie beside the model.
fn constants_outside(model: &mut pb::ModelProto, initializers: &mut Vec<Initializer>) -> Result<()> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let outside = |node: &pb::NodeProto| {
        let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?;
        let external = value.data_location == Some(DataLocation::External as i32);
        let is_constant = node.op_type == "Constant" && matches!(&*node.domain, "" | "ai.onnx");
        let name = node.output.first().filter(|_| external && is_constant)?;
        Some(pb::TensorProto { name: name.clone(), ..value.clone() })
    };
    let constants: Vec<Option<pb::TensorProto>> = graph.node.iter().map(outside).collect();
    let mut kept = constants.iter().map(Option::is_none);
    graph.node.retain(|_| kept.next().unwrap_or(true));
    for constant in constants.into_iter().flatten() {
        initializers.push(initializer_of(constant, None)?);
    }
    Ok(())
}

fn stored_twice(tensor: &str) -> Error {
    Error::invalid_model("a weight lies both in the model and beside it").tensor(tensor)
}

fn external_place(proto: &pb::TensorProto) -> Result<Place> {
    let value = |key: &str| proto.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
    let number = |key: &str| {
        value(key).map(str::parse::<u64>).transpose().map_err(|_| {
            Error::invalid_model(format!("`{key}` of the external data is not a number")).tensor(proto.name.clone())
        })
    };
    let location = value("location")
        .ok_or_else(|| Error::invalid_model("external data without a location").tensor(proto.name.clone()))?;
    let path = external_path(location).map_err(|error| error.tensor(proto.name.clone()))?;
    Ok(Place::External { path, offset: number("offset")?.unwrap_or(0), len: number("length")? })
}

fn append(source: &dyn ReadAt, start: u64, end: u64, target: &mut Vec<u8>) -> Result<()> {
    if target.len() as u64 + (end - start) > LARGEST_GRAPH {
        return Err(not_a_model(source, "its graph is over 512 MiB without the weights"));
    }
    wire::append(source, start, end, target)
}

/// Files that are often passed by mistake get an error that says what they are.
fn refuse_other_files(source: &dyn ReadAt) -> Result<()> {
    let mut head = [0u8; 256];
    let len = source.len().min(head.len() as u64) as usize;
    source.read_at(0, &mut head[..len])?;
    let text = String::from_utf8_lossy(&head[..len]);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let what = if len == 0 {
        "it is empty"
    } else if text.starts_with('<') {
        "it is an HTML or XML page"
    } else if text.starts_with("version https://git-lfs") {
        "it is a Git LFS pointer"
    } else if text.starts_with('{') {
        "it is JSON"
    } else if head.starts_with(b"GGUF") {
        "it is a GGUF file"
    } else if head.starts_with(b"PK\x03\x04") {
        "it is a ZIP archive"
    } else {
        return Ok(());
    };
    Err(not_a_model(source, what))
}

fn not_a_model(source: &dyn ReadAt, why: &str) -> Error {
    Error::invalid_model(format!("not an ONNX model: {why}"))
        .file(source.name())
        .remedy("check the address or path: it must lead to the .onnx file itself")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn model(raw_len: usize) -> Vec<u8> {
        let weight = pb::TensorProto {
            name: "weight".into(),
            data_type: 1,
            dims: vec![raw_len as i64 / 4],
            raw_data: vec![7; raw_len],
            ..Default::default()
        };
        let graph = pb::GraphProto { name: "graph".into(), initializer: vec![weight], ..Default::default() };
        pb::ModelProto { ir_version: 8, graph: Some(graph), ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn large_weights_stay_in_the_file() {
        for (raw_len, inline) in [(64, false), (65536, true)] {
            let bytes = model(raw_len);
            let index = index(&("model.onnx", bytes.as_slice())).unwrap();
            assert!(index.model.graph.unwrap().initializer.is_empty());
            let initializer = &index.initializers[0];
            assert_eq!((initializer.name.as_str(), &*initializer.dims), ("weight", &[raw_len as i64 / 4][..]));
            match initializer.place {
                Place::Inline { offset, len } => {
                    assert!(inline);
                    assert_eq!(&bytes[offset as usize..(offset + len) as usize], vec![7; raw_len]);
                }
                _ => assert!(!inline),
            }
        }
    }

    #[test]
    fn constants_beside_the_model_are_initializers() {
        let entry = pb::StringStringEntryProto { key: "location".into(), value: "weights".into() };
        let data_location = Some(DataLocation::External as i32);
        let beside = pb::TensorProto { data_type: 1, data_location, external_data: vec![entry], ..Default::default() };
        let inside = pb::TensorProto { data_type: 1, float_data: vec![1.0], ..Default::default() };
        let constant = |name: &str, value: pb::TensorProto| pb::NodeProto {
            op_type: "Constant".into(),
            output: vec![name.into()],
            attribute: vec![pb::AttributeProto { name: "value".into(), t: Some(value), ..Default::default() }],
            ..Default::default()
        };
        let node = vec![constant("beside", beside), constant("inside", inside)];
        let graph = pb::GraphProto { name: "graph".into(), node, ..Default::default() };
        let bytes = pb::ModelProto { ir_version: 8, graph: Some(graph), ..Default::default() }.encode_to_vec();
        let index = index(&("model.onnx", bytes.as_slice())).unwrap();
        let place = Place::External { path: "weights".into(), offset: 0, len: None };
        assert_eq!(
            index.initializers.iter().map(|one| (&*one.name, &one.place)).collect::<Vec<_>>(),
            [("beside", &place)]
        );
        assert_eq!(index.model.graph.unwrap().node.iter().map(|node| &*node.output[0]).collect::<Vec<_>>(), ["inside"]);
    }

    #[test]
    fn what_is_not_a_model_is_refused() {
        let good = model(65536);
        let cases: &[(&str, &[u8])] = &[
            ("empty", b""),
            ("html", b"<!doctype html><title>404</title>"),
            ("json", b"{\"error\": \"not found\"}"),
            ("lfs", b"version https://git-lfs.github.com/spec/v1\n"),
            ("truncated", &good[..good.len() / 2]),
            ("noise", &[0xff; 64]),
            ("no graph", &[0x08, 0x08]),
        ];
        for (name, bytes) in cases {
            let error = index(&(*name, *bytes)).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidModel, "{name}: {error}");
            assert_eq!(error.file.as_deref(), Some(*name), "{error}");
        }
    }
}
