//! float16 and bfloat16 graphs are computed in float32: the same values, without the overflows that float16 sums run into.
//! Inputs and outputs keep their type for the caller.
//!
//! A cast to one of these types that another cast reads is there to lose bits, and does.

use super::element::{self, BFLOAT16};
use super::index::Initializer;
use crate::onnx::pb::{self, tensor_proto::DataType, type_proto};
use std::collections::HashSet;

const FLOAT: i32 = DataType::Float as i32;
const FLOAT16: i32 = DataType::Float16 as i32;

/// Attributes that hold the type of an operator's output or of its computation.
const TYPE_ATTRIBUTES: &[&str] =
    &["to", "dtype", "output_dtype", "output_datatype", "precision", "softmax_precision", "stash_type"];

/// Makes every float16 and bfloat16 tensor of the graph float32.
pub fn widen(graph: &mut pb::GraphProto, initializers: &mut [Initializer]) {
    for initializer in initializers.iter_mut() {
        initializer.wired_type = element::wired_type(initializer.data_type);
    }
    let mut cast = HashSet::new();
    read_by_casts(graph, &mut cast);
    widen_graph(graph, &cast);
}

fn is_half(data_type: i32) -> bool {
    matches!(data_type, FLOAT16 | BFLOAT16)
}

fn read_by_casts(graph: &pb::GraphProto, names: &mut HashSet<String>) {
    for node in &graph.node {
        if node.op_type == "Cast" {
            names.extend(node.input.iter().cloned());
        }
        for subgraph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
            read_by_casts(subgraph, names);
        }
    }
}

fn widen_graph(graph: &mut pb::GraphProto, cast: &HashSet<String>) {
    graph.initializer.iter_mut().for_each(widen_tensor);
    graph.input.iter_mut().chain(&mut graph.output).for_each(widen_value);
    for node in &mut graph.node {
        let loses_bits = node.op_type == "Cast" && node.output.iter().any(|name| cast.contains(name));
        let keeps_bits = node.op_type == "BitCast";
        for attribute in &mut node.attribute {
            let names_type = TYPE_ATTRIBUTES.contains(&&*attribute.name) && !loses_bits && !keeps_bits;
            if names_type && i32::try_from(attribute.i).is_ok_and(is_half) {
                attribute.i = FLOAT.into();
            }
            attribute.t.iter_mut().chain(&mut attribute.tensors).for_each(widen_tensor);
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(|subgraph| widen_graph(subgraph, cast));
        }
    }
}

fn widen_value(value: &mut pb::ValueInfoProto) {
    if let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
        && is_half(tensor.elem_type)
    {
        tensor.elem_type = FLOAT;
    }
}

fn widen_tensor(tensor: &mut pb::TensorProto) {
    let to_f32 = match tensor.data_type {
        FLOAT16 => |bits| half::f16::from_bits(bits).to_f32(),
        BFLOAT16 => |bits| half::bf16::from_bits(bits).to_f32(),
        _ => return,
    };
    let bits: Vec<u16> = if tensor.raw_data.is_empty() {
        tensor.int32_data.iter().map(|bits| *bits as u16).collect()
    } else {
        tensor.raw_data.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    };
    tensor.data_type = FLOAT;
    tensor.int32_data.clear();
    tensor.raw_data.clear();
    tensor.float_data = bits.into_iter().map(to_f32).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_become_float32() {
        let proto = pb::TensorProto::default;
        let cases = [
            (pb::TensorProto { data_type: FLOAT16, raw_data: vec![0, 0x3c, 0, 0xc0], ..proto() }, vec![1.0, -2.0]),
            (pb::TensorProto { data_type: FLOAT16, int32_data: vec![0x3800], ..proto() }, vec![0.5]),
            (pb::TensorProto { data_type: BFLOAT16, raw_data: vec![0x80, 0x3f, 0, 0xc0], ..proto() }, vec![1.0, -2.0]),
            (pb::TensorProto { data_type: FLOAT, float_data: vec![3.0], ..proto() }, vec![3.0]),
        ];
        for (mut tensor, expected) in cases {
            widen_tensor(&mut tensor);
            assert_eq!((tensor.data_type, &tensor.float_data), (FLOAT, &expected));
            assert!(tensor.raw_data.is_empty() && tensor.int32_data.is_empty());
        }
    }

    #[test]
    fn casts_lose_bits_only_where_another_cast_reads_them() {
        let cast = |from: &str, to: &str, data_type: i32| pb::NodeProto {
            op_type: "Cast".into(),
            input: vec![from.into()],
            output: vec![to.into()],
            attribute: vec![pb::AttributeProto { name: "to".into(), i: data_type.into(), ..Default::default() }],
            ..Default::default()
        };
        let node = vec![cast("x", "a", FLOAT16), cast("x", "b", BFLOAT16), cast("b", "c", FLOAT)];
        let mut graph = pb::GraphProto { node, ..Default::default() };
        widen(&mut graph, &mut []);
        let targets: Vec<i64> = graph.node.iter().map(|node| node.attribute[0].i).collect();
        assert_eq!(targets, [FLOAT, BFLOAT16, FLOAT].map(i64::from));
    }
}
