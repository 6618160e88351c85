//! Tensors of 4 and 2 bits. The engine has no such type: their values stand in int8 and uint8 tensors, and what a node must
//! know of the type goes into its attributes. Weights that are only dequantised stay packed, two values a byte.

use super::MICROSOFT;
use super::element::{self, Element};
use super::index::Initializer;
use crate::error::{Error, Result};
use crate::onnx::pb::{self, attribute_proto::AttributeType, type_proto};
use std::collections::{HashMap, HashSet};

/// Attribute of a dequantising node: the `TensorProto.DataType` of its first input, whose values lie as int8 or uint8.
pub const NARROW_TYPE: &str = "sottovoce.narrow_type";
/// Attribute of a dequantising node: 1 where its first input is packed, so that the last axis has half its length.
pub const PACKED: &str = "sottovoce.packed";

/// Operators whose output has the type of their first input and that may have a narrow one.
const KEEPS_TYPE: &[&str] = &[
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Rewrites every tensor of 4 or 2 bits.
///
/// # Errors
/// `InvalidModel` when the elements of a tensor do not fit its shape.
pub fn narrow(graph: &mut pb::GraphProto, initializers: &mut [Initializer]) -> Result<()> {
    let mut types = HashMap::new();
    for initializer in initializers.iter().filter(|initializer| is_narrow(initializer.data_type)) {
        types.insert(initializer.name.clone(), initializer.data_type);
    }
    let packed = packable(graph, initializers);
    for initializer in initializers.iter_mut().filter(|initializer| packed.contains(&initializer.name)) {
        pack(initializer);
    }
    narrow_graph(graph, types, &packed)
}

fn is_narrow(data_type: i32) -> bool {
    element::of(data_type).is_ok_and(|element| element.bits < 8)
}

/// The 4-bit weights that are only dequantised and whose rows fill whole bytes.
fn packable(graph: &pb::GraphProto, initializers: &[Initializer]) -> HashSet<String> {
    let mut packable: HashSet<String> = initializers
        .iter()
        .filter(|initializer| element::of(initializer.data_type).is_ok_and(|element| element.bits == 4))
        .filter(|initializer| initializer.dims.last().is_some_and(|last| *last > 0 && last % 2 == 0))
        .map(|initializer| initializer.name.clone())
        .collect();
    keep_dequantised_only(graph, &mut packable);
    packable
}

fn keep_dequantised_only(graph: &pb::GraphProto, names: &mut HashSet<String>) {
    for node in &graph.node {
        for (position, name) in node.input.iter().enumerate() {
            if position > 0 || !dequantises(node) {
                names.remove(name);
            }
        }
        for subgraph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
            keep_dequantised_only(subgraph, names);
        }
    }
    for output in &graph.output {
        names.remove(&output.name);
    }
}

fn dequantises(node: &pb::NodeProto) -> bool {
    match &*node.op_type {
        "DequantizeLinear" => true,
        // Packed bytes lie along the last axis: gathering along it needs single values.
        "GatherBlockQuantized" => node.domain == MICROSOFT && int(node, "gather_axis").unwrap_or(0) == 0,
        _ => false,
    }
}

/// Elements of 4 bits are stored two a byte: the same bytes are int8 or uint8 elements.
fn pack(initializer: &mut Initializer) {
    initializer.data_type = element::wired_type(initializer.data_type);
    initializer.wired_type = initializer.data_type;
    if let Some(last) = initializer.dims.last_mut() {
        *last /= 2;
    }
    if let super::index::Place::Proto(proto) = &mut initializer.place {
        proto.data_type = initializer.data_type;
        proto.dims.clone_from(&initializer.dims);
    }
}

fn narrow_graph(graph: &mut pb::GraphProto, mut types: HashMap<String, i32>, packed: &HashSet<String>) -> Result<()> {
    for tensor in &mut graph.initializer {
        if is_narrow(tensor.data_type) {
            types.insert(tensor.name.clone(), tensor.data_type);
        }
        widen_tensor(tensor)?;
    }
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        widen_value(value, &mut types);
    }
    for node in &mut graph.node {
        if let Some(data_type) = output_type(node, &types) {
            types.extend(node.output.iter().map(|name| (name.clone(), data_type)));
        }
        rewrite_node(node, &types, packed);
        for attribute in &mut node.attribute {
            attribute.t.iter_mut().chain(&mut attribute.tensors).try_for_each(widen_tensor)?;
            for subgraph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                narrow_graph(subgraph, types.clone(), packed)?;
            }
        }
    }
    Ok(())
}

/// The narrow type of a node's output, where it has one.
fn output_type(node: &pb::NodeProto, types: &HashMap<String, i32>) -> Option<i32> {
    let input = |position: usize| node.input.get(position).and_then(|name| types.get(name)).copied();
    let data_type = match &*node.op_type {
        "Constant" => node.attribute.iter().find(|attribute| attribute.name == "value")?.t.as_ref()?.data_type,
        "Cast" => int(node, "to")? as i32,
        "CastLike" => input(1)?,
        "QuantizeLinear" => input(2).or_else(|| int(node, "output_dtype").map(|data_type| data_type as i32))?,
        operator if KEEPS_TYPE.contains(&operator) && node.domain.is_empty() => input(0)?,
        _ => return None,
    };
    is_narrow(data_type).then_some(data_type)
}

fn rewrite_node(node: &mut pb::NodeProto, types: &HashMap<String, i32>, packed: &HashSet<String>) {
    let of = |position: usize| node.input.get(position).and_then(|name| types.get(name)).copied();
    let (first, second, third) = (of(0), of(1), of(2));
    match &*node.op_type {
        "QuantizeLinear" => third.into_iter().for_each(|data_type| set_int(node, "output_dtype", data_type)),
        "DequantizeLinear" | "GatherBlockQuantized" => {
            if let Some(data_type) = first {
                let packed = packed.contains(&node.input[0]);
                set_int(node, NARROW_TYPE, data_type);
                set_int(node, PACKED, packed.into());
            }
        }
        "CastLike" => {
            if let Some(data_type) = second {
                node.op_type = "Cast".into();
                node.input.truncate(1);
                set_int(node, "to", data_type);
            }
        }
        _ => {}
    }
}

fn int(node: &pb::NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.i)
}

fn set_int(node: &mut pb::NodeProto, name: &str, value: i32) {
    node.attribute.retain(|attribute| attribute.name != name);
    node.attribute.push(pb::AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: value.into(),
        ..Default::default()
    });
}

fn widen_value(value: &mut pb::ValueInfoProto, types: &mut HashMap<String, i32>) {
    if let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
        && is_narrow(tensor.elem_type)
    {
        types.insert(value.name.clone(), tensor.elem_type);
        tensor.elem_type = element::wired_type(tensor.elem_type);
    }
}

fn widen_tensor(tensor: &mut pb::TensorProto) -> Result<()> {
    let Some(element) = element::of(tensor.data_type).ok().filter(|element| element.bits < 8) else { return Ok(()) };
    let volume = tensor.dims.iter().try_fold(1usize, |volume, dim| volume.checked_mul(usize::try_from(*dim).ok()?));
    let bytes: Vec<u8> = if tensor.raw_data.is_empty() {
        tensor.int32_data.iter().map(|bits| *bits as u8).collect()
    } else {
        std::mem::take(&mut tensor.raw_data)
    };
    let volume = volume.filter(|volume| volume.div_ceil(8 / element.bits) == bytes.len());
    let volume = volume
        .ok_or_else(|| Error::invalid_model("the elements of a constant do not fit its shape").tensor(&*tensor.name))?;
    tensor.data_type = element::wired_type(tensor.data_type);
    tensor.int32_data = unpack(&bytes, element, volume).map(i32::from).collect();
    Ok(())
}

/// The elements of a packed tensor, the lowest bits of a byte first.
pub fn unpack(bytes: &[u8], element: Element, volume: usize) -> impl Iterator<Item = i16> {
    let Element { bits, signed, .. } = element;
    let in_byte = 8 / bits;
    let lowest = if signed { -(1i16 << (bits - 1)) } else { 0 };
    (0..volume).map(move |position| {
        let value = i16::from(bytes[position / in_byte] >> (position % in_byte * bits)) & ((1 << bits) - 1);
        if signed && value >= -lowest { value + 2 * lowest } else { value }
    })
}

#[cfg(test)]
mod tests {
    use super::super::index::Place;
    use super::*;

    const INT4: i32 = pb::tensor_proto::DataType::Int4 as i32;
    const UINT4: i32 = pb::tensor_proto::DataType::Uint4 as i32;

    fn node(op_type: &str, input: &[&str], output: &str) -> pb::NodeProto {
        pb::NodeProto {
            op_type: op_type.into(),
            input: input.iter().map(|name| name.to_string()).collect(),
            output: vec![output.into()],
            ..Default::default()
        }
    }

    #[test]
    fn elements_of_packed_bytes() {
        let cases: [(i32, &[u8], &[i16]); 4] = [
            (UINT4, &[0x21, 0xf8, 0x07], &[1, 2, 8, 15, 7]),
            (INT4, &[0x21, 0xf8, 0x07], &[1, 2, -8, -1, 7]),
            (element::UINT2, &[0b11_10_01_00, 0b10], &[0, 1, 2, 3, 2]),
            (element::INT2, &[0b11_10_01_00, 0b10], &[0, 1, -2, -1, -2]),
        ];
        for (data_type, bytes, expected) in cases {
            let element = element::of(data_type).unwrap();
            assert_eq!(unpack(bytes, element, expected.len()).collect::<Vec<_>>(), expected, "{data_type}");
        }
    }

    #[test]
    fn weights_that_are_only_dequantised_stay_packed() {
        struct Case {
            dims: &'static [i64],
            nodes: Vec<pb::NodeProto>,
            packed: bool,
        }
        let dequantize = || node("DequantizeLinear", &["w", "s"], "y");
        let cases = [
            Case { dims: &[3, 4], nodes: vec![dequantize()], packed: true },
            Case { dims: &[4, 3], nodes: vec![dequantize()], packed: false },
            Case { dims: &[3, 4], nodes: vec![dequantize(), node("Transpose", &["w"], "z")], packed: false },
            Case { dims: &[3, 4], nodes: vec![node("DequantizeLinear", &["x", "s", "w"], "y")], packed: false },
        ];
        for case in cases {
            let place = Place::Inline { offset: 0, len: 6 };
            let dims = case.dims.to_vec();
            let mut weights = [Initializer { name: "w".into(), data_type: INT4, wired_type: INT4, dims, place }];
            let mut graph = pb::GraphProto { node: case.nodes, ..Default::default() };
            narrow(&mut graph, &mut weights).unwrap();
            let expected = if case.packed {
                (pb::tensor_proto::DataType::Int8 as i32, vec![3, 2])
            } else {
                (INT4, case.dims.to_vec())
            };
            assert_eq!((weights[0].data_type, weights[0].dims.clone()), expected);
        }
    }

    #[test]
    fn nodes_learn_the_types() {
        let constant = pb::NodeProto {
            attribute: vec![pb::AttributeProto {
                name: "value".into(),
                t: Some(pb::TensorProto { data_type: UINT4, raw_data: vec![9], ..Default::default() }),
                ..Default::default()
            }],
            ..node("Constant", &[], "zero")
        };
        let quantize = node("QuantizeLinear", &["x", "s", "zero"], "q");
        let back = node("DequantizeLinear", &["t", "s"], "y");
        let cast = node("CastLike", &["x", "q"], "c");
        let transpose = node("Transpose", &["q"], "t");
        let mut graph = pb::GraphProto { node: vec![constant, quantize, transpose, back, cast], ..Default::default() };
        narrow(&mut graph, &mut []).unwrap();
        assert_eq!(graph.node[0].attribute[0].t.as_ref().unwrap().int32_data, [9]);
        assert_eq!(int(&graph.node[1], "output_dtype"), Some(UINT4.into()));
        assert_eq!((int(&graph.node[3], NARROW_TYPE), int(&graph.node[3], PACKED)), (Some(UINT4.into()), Some(0)));
        assert_eq!((&*graph.node[4].op_type, int(&graph.node[4], "to")), ("Cast", Some(UINT4.into())));
    }
}
