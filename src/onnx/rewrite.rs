//! Brings a graph into the one form that the translation reads: unique node names, operators told apart by domain,
//! weights as inputs that the translation replaces by constants, and one way of writing a scaled weight.

use super::element;
use super::index::{Initializer, ModelIndex};
use super::narrow::narrow;
use super::widen::widen;
use super::{MICROSOFT, qualified_op_type};
use crate::error::{Error, Result};
use crate::onnx::pb::{self, tensor_proto::DataType, tensor_shape_proto, type_proto};
use crate::tensor::DType;
use std::collections::{HashMap, HashSet};
use tract_core::prelude::DatumType;

/// Operators that mean the same in onnxruntime's domain as in ONNX's own.
const IN_BOTH_DOMAINS: &[&str] = &[
    "CausalConvWithState",
    "GatherND",
    "Gelu",
    "LayerNormalization",
    "LinearAttention",
    "Pad",
    "RMSNormalization",
    "SimplifiedLayerNormalization",
    "Trilu",
];

/// A dimension of an input or output.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Dimension {
    /// Always this.
    Fixed(usize),
    /// Whatever the caller feeds; the same wherever the name stands. Empty where the model names none.
    Symbol(String),
}

impl std::fmt::Display for Dimension {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Dimension::Fixed(size) => write!(formatter, "{size}"),
            Dimension::Symbol(name) if name.is_empty() => formatter.write_str("?"),
            Dimension::Symbol(name) => formatter.write_str(name),
        }
    }
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TensorInfo {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    #[serde(rename = "type")]
    pub dtype: DType,
    /// Shape; `None` where the model does not say its rank.
    pub shape: Option<Vec<Dimension>>,
}

/// A model ready to be translated.
#[derive(Debug, Clone)]
pub struct RewrittenModel {
    /// The graph, without its weights.
    pub graph: pb::GraphProto,
    /// Version of ONNX's operators.
    pub opset: i64,
    /// The weights.
    pub initializers: Vec<Initializer>,
    /// Element type and rank of the tensors of which the model declares them, as the graph computes them.
    pub declared: HashMap<String, (DatumType, usize)>,
    /// The model's own inputs.
    pub inputs: Vec<TensorInfo>,
    /// The model's outputs.
    pub outputs: Vec<TensorInfo>,
}

/// Rewrites an indexed and validated model.
///
/// # Errors
/// `UnsupportedOp` for an element type of an input, output or weight that is not supported.
pub fn rewrite(index: ModelIndex) -> Result<RewrittenModel> {
    let ModelIndex { mut model, mut initializers } = index;
    let mut graph = model.graph.take().ok_or_else(|| Error::invalid_model("the model holds no graph"))?;
    let weights: HashSet<&str> = initializers.iter().map(|initializer| &*initializer.name).collect();
    graph.input.retain(|input| !weights.contains(&*input.name));
    let mut inputs = graph.input.iter().map(tensor_info).collect::<Result<Vec<_>>>()?;
    separate_mask_length(&mut inputs);
    let outputs = graph.output.iter().map(tensor_info).collect::<Result<Vec<_>>>()?;
    let declared = graph.value_info.iter().chain(&graph.output).filter_map(declared).collect();
    narrow(&mut graph, &mut initializers)?;
    widen(&mut graph, &mut initializers);
    scaled_weights_to_dequantize_linear(&mut graph, &mut initializers);
    qualify_operators(&mut graph);
    let opset = model.opset_import.iter().find(|import| matches!(&*import.domain, "" | "ai.onnx"));
    let opset = opset.map(|import| import.version).ok_or_else(|| Error::invalid_model("no ONNX opset is named"))?;
    Ok(RewrittenModel { graph, opset, initializers, declared, inputs, outputs })
}

/// Name, element type as it is computed in, and rank of a declared tensor.
fn declared(value: &pb::ValueInfoProto) -> Option<(String, (DatumType, usize))> {
    let Some(type_proto::Value::TensorType(kind)) = value.r#type.as_ref()?.value.as_ref() else { return None };
    let element = element::of(element::wired_type(kind.elem_type)).ok()?;
    Some((value.name.clone(), (element.held_as, kind.shape.as_ref()?.dim.len())))
}

/// Where there is a past, the mask covers it too: its length is another than that of `input_ids`, even where the exporter
/// gave both one name.
fn separate_mask_length(inputs: &mut [TensorInfo]) {
    const COVERED: &str = "past_sequence_length + sequence_length";
    let length = |inputs: &[TensorInfo], name: &str| {
        let input = inputs.iter().find(|input| input.name == name);
        input.and_then(|input| input.shape.as_deref()?.get(1).cloned())
    };
    let has_past = inputs.iter().any(|input| input.name.starts_with("past_key"));
    let same = length(inputs, "attention_mask") == length(inputs, "input_ids");
    let mask = inputs.iter_mut().find(|input| has_past && same && input.name == "attention_mask");
    if let Some(shape) = mask.and_then(|mask| mask.shape.as_mut())
        && matches!(shape.get(1), Some(Dimension::Symbol(_)))
    {
        shape[1] = Dimension::Symbol(COVERED.into());
    }
}

impl TensorInfo {
    /// The element type in which the graph gets it: floats of 16 bits as float32.
    pub fn datum_type(&self) -> DatumType {
        match self.dtype {
            DType::Float32 | DType::Float16 | DType::BFloat16 => DatumType::F32,
            DType::Float64 => DatumType::F64,
            DType::Int8 => DatumType::I8,
            DType::UInt8 => DatumType::U8,
            DType::Int16 => DatumType::I16,
            DType::UInt16 => DatumType::U16,
            DType::Int32 => DatumType::I32,
            DType::UInt32 => DatumType::U32,
            DType::Int64 => DatumType::I64,
            DType::UInt64 => DatumType::U64,
            DType::Bool => DatumType::Bool,
        }
    }
}

fn tensor_info(value: &pb::ValueInfoProto) -> Result<TensorInfo> {
    let Some(type_proto::Value::TensorType(kind)) = value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Err(Error::invalid_model("an input or output of the graph is not a tensor").tensor(&*value.name));
    };
    let dimensions = kind.shape.as_ref().map(|shape| shape.dim.iter().map(dimension).collect::<Result<_>>());
    let shape = dimensions.transpose().map_err(|error| error.tensor(&*value.name))?;
    let dtype = element::dtype(kind.elem_type).map_err(|error| error.tensor(&*value.name))?;
    Ok(TensorInfo { name: value.name.clone(), dtype, shape })
}

fn dimension(dim: &tensor_shape_proto::Dimension) -> Result<Dimension> {
    Ok(match &dim.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(size @ 0..)) => match i32::try_from(*size) {
            Ok(size) => Dimension::Fixed(size as usize),
            Err(_) => return Err(Error::out_of_memory(format!("a size of {size} is more than memory can hold"))),
        },
        Some(tensor_shape_proto::dimension::Value::DimParam(name)) => Dimension::Symbol(name.clone()),
        _ => Dimension::Symbol(String::new()),
    })
}

/// Operators are looked up by type alone: those of other domains get their domain into the type.
fn qualify_operators(graph: &mut pb::GraphProto) {
    for node in &mut graph.node {
        let same = node.domain == MICROSOFT && IN_BOTH_DOMAINS.contains(&&*node.op_type);
        if !same {
            node.op_type = qualified_op_type(&node.domain, &node.op_type);
        }
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(qualify_operators);
        }
    }
}

/// `Mul(Cast(weight), scale)` with an 8-bit weight says the same as `DequantizeLinear(weight, scale)`, which keeps the
/// weight in 8 bits.
fn scaled_weights_to_dequantize_linear(graph: &mut pb::GraphProto, initializers: &mut [Initializer]) {
    let mut uses: HashMap<String, usize> = HashMap::new();
    let outputs = graph.output.iter().map(|output| &output.name);
    for name in graph.node.iter().flat_map(|node| &node.input).chain(outputs) {
        *uses.entry(name.clone()).or_default() += 1;
    }
    let positions: HashMap<String, usize> =
        initializers.iter().enumerate().map(|(position, initializer)| (initializer.name.clone(), position)).collect();
    let casts: HashMap<String, (usize, usize)> = graph
        .node
        .iter()
        .enumerate()
        .filter_map(|(at, node)| {
            let weight = *positions.get(node.input.first()?)?;
            let output = node.output.first()?;
            let eight_bits =
                matches!(DataType::try_from(initializers[weight].data_type), Ok(DataType::Int8) | Ok(DataType::Uint8));
            let to_float = node.attribute.iter().any(|a| a.name == "to" && a.i == DataType::Float as i64);
            let fits = node.op_type == "Cast" && node.domain.is_empty() && eight_bits && to_float && uses[output] == 1;
            fits.then(|| (output.clone(), (at, weight)))
        })
        .collect();
    let mut removed = HashSet::new();
    for node in &mut graph.node {
        let [left, right] = &*node.input else { continue };
        if node.op_type != "Mul" || !node.domain.is_empty() {
            continue;
        }
        let (cast, scale) = match (casts.get(left), casts.get(right)) {
            (Some(cast), None) => (*cast, right.clone()),
            (None, Some(cast)) => (*cast, left.clone()),
            _ => continue,
        };
        let Some(scale_at) = positions.get(&scale).copied().filter(|_| uses[&scale] == 1) else { continue };
        let (weight, scales) = (&initializers[cast.1], &initializers[scale_at]);
        let Some((dims, axis)) = scale_axis(weight, scales) else { continue };
        removed.insert(cast.0);
        node.op_type = "DequantizeLinear".into();
        node.input = vec![weight.name.clone(), scale];
        node.attribute = vec![pb::AttributeProto {
            name: "axis".into(),
            r#type: pb::attribute_proto::AttributeType::Int as i32,
            i: axis as i64,
            ..Default::default()
        }];
        initializers[scale_at].dims = dims;
    }
    let mut at = 0;
    graph.node.retain(|_| {
        at += 1;
        !removed.contains(&(at - 1))
    });
}

/// The axis along which the scales of a weight vary, and their shape as `DequantizeLinear` wants it.
fn scale_axis(weight: &Initializer, scales: &Initializer) -> Option<(Vec<i64>, usize)> {
    if scales.wired_type != DataType::Float as i32 || scales.dims.len() > weight.dims.len() {
        return None;
    }
    let offset = weight.dims.len() - scales.dims.len();
    let varying: Vec<usize> = (0..scales.dims.len()).filter(|axis| scales.dims[*axis] != 1).collect();
    match *varying {
        [] => Some((vec![], 0)),
        [axis] if scales.dims[axis] == weight.dims[axis + offset] => Some((vec![scales.dims[axis]], axis + offset)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::index::Place;

    fn initializer(name: &str, data_type: DataType, dims: &[i64]) -> Initializer {
        let place = Place::Inline { offset: 0, len: 0 };
        let data_type = data_type as i32;
        Initializer { name: name.into(), data_type, wired_type: data_type, dims: dims.into(), place }
    }

    #[test]
    fn scaled_weights() {
        struct Case {
            weight: &'static [i64],
            scale: &'static [i64],
            expected: Option<(Vec<i64>, usize)>,
        }
        let cases = [
            Case { weight: &[4, 6], scale: &[1, 6], expected: Some((vec![6], 1)) },
            Case { weight: &[4, 6], scale: &[6], expected: Some((vec![6], 1)) },
            Case { weight: &[4, 6], scale: &[4, 1], expected: Some((vec![4], 0)) },
            Case { weight: &[4, 6], scale: &[], expected: Some((vec![], 0)) },
            Case { weight: &[4, 6], scale: &[4, 6], expected: None },
            Case { weight: &[4, 6], scale: &[5], expected: None },
            Case { weight: &[4, 1], scale: &[1, 6], expected: None },
        ];
        for case in cases {
            let weight = initializer("weight", DataType::Int8, case.weight);
            let scale = initializer("scale", DataType::Float, case.scale);
            assert_eq!(scale_axis(&weight, &scale), case.expected, "{:?} * {:?}", case.weight, case.scale);
            let cast = pb::NodeProto {
                op_type: "Cast".into(),
                input: vec!["weight".into()],
                output: vec!["float".into()],
                attribute: vec![pb::AttributeProto { name: "to".into(), i: 1, ..Default::default() }],
                ..Default::default()
            };
            let mul = pb::NodeProto {
                op_type: "Mul".into(),
                input: vec!["scale".into(), "float".into()],
                output: vec!["scaled".into()],
                ..Default::default()
            };
            let mut graph = pb::GraphProto { node: vec![cast, mul], ..Default::default() };
            scaled_weights_to_dequantize_linear(&mut graph, &mut [weight, scale]);
            let operators: Vec<&str> = graph.node.iter().map(|node| &*node.op_type).collect();
            let expected: &[&str] = if case.expected.is_some() { &["DequantizeLinear"] } else { &["Cast", "Mul"] };
            assert_eq!(operators, expected);
        }
    }

    #[test]
    fn domains_are_told_apart() {
        let cases = [
            ("", "Relu", "Relu"),
            ("ai.onnx", "Relu", "Relu"),
            (MICROSOFT, "Attention", "com.microsoft.Attention"),
            (MICROSOFT, "SkipLayerNormalization", "com.microsoft.SkipLayerNormalization"),
            (MICROSOFT, "SimplifiedLayerNormalization", "SimplifiedLayerNormalization"),
        ];
        for (domain, op_type, expected) in cases {
            let node = pb::NodeProto { op_type: op_type.into(), domain: domain.into(), ..Default::default() };
            let mut graph = pb::GraphProto { node: vec![node], ..Default::default() };
            qualify_operators(&mut graph);
            assert_eq!(graph.node[0].op_type, expected);
        }
    }
}
