//! float16 graphs are computed in float32: the same values, without the overflows that float16 sums run into. Inputs and
//! outputs keep their type.

use super::index::Initializer;
use std::collections::HashMap;
use tract_onnx::pb::{self, tensor_proto::DataType, type_proto};

const FLOAT: i32 = DataType::Float as i32;
const FLOAT16: i32 = DataType::Float16 as i32;

/// Makes every float16 tensor of the graph but its inputs and outputs float32.
pub fn widen(graph: &mut pb::GraphProto, initializers: &mut [Initializer]) {
    for initializer in initializers.iter_mut().filter(|initializer| initializer.data_type == FLOAT16) {
        initializer.wired_type = FLOAT;
    }
    widen_nodes(graph);
    let inputs = halves(&graph.input);
    let outputs = halves(&graph.output);
    rename(graph, &inputs, &outputs);
    let cast = |from: &str, to: &str, data_type: i32| pb::NodeProto {
        op_type: "Cast".into(),
        input: vec![from.into()],
        output: vec![to.into()],
        attribute: vec![pb::AttributeProto {
            name: "to".into(),
            r#type: pb::attribute_proto::AttributeType::Int as i32,
            i: data_type.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let widened = inputs.iter().map(|(name, wide)| cast(name, wide, FLOAT));
    graph.node.splice(0..0, widened.collect::<Vec<_>>());
    graph.node.extend(outputs.iter().map(|(name, wide)| cast(wide, name, FLOAT16)));
}

/// The float16 tensors among these, and the names of their float32 forms.
fn halves(values: &[pb::ValueInfoProto]) -> HashMap<String, String> {
    let is_half = |value: &&pb::ValueInfoProto| {
        let kind = value.r#type.as_ref().and_then(|kind| kind.value.as_ref());
        matches!(kind, Some(type_proto::Value::TensorType(tensor)) if tensor.elem_type == FLOAT16)
    };
    values.iter().filter(is_half).map(|value| (value.name.clone(), format!("{}#float32", value.name))).collect()
}

/// Inside the graph, readers of those inputs and writers of those outputs use the float32 forms.
fn rename(graph: &mut pb::GraphProto, inputs: &HashMap<String, String>, outputs: &HashMap<String, String>) {
    for node in &mut graph.node {
        for name in &mut node.input {
            if let Some(wide) = inputs.get(name).or_else(|| outputs.get(name)) {
                *name = wide.clone();
            }
        }
        for name in &mut node.output {
            if let Some(wide) = outputs.get(name) {
                *name = wide.clone();
            }
        }
        for subgraph in subgraphs(node) {
            rename(subgraph, inputs, outputs);
            for output in &mut subgraph.output {
                if let Some(wide) = inputs.get(&output.name).or_else(|| outputs.get(&output.name)) {
                    output.name = wide.clone();
                }
            }
        }
    }
}

fn subgraphs(node: &mut pb::NodeProto) -> impl Iterator<Item = &mut pb::GraphProto> {
    node.attribute.iter_mut().flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs))
}

fn widen_nodes(graph: &mut pb::GraphProto) {
    graph.initializer.iter_mut().for_each(widen_tensor);
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            if attribute.name == "to" && attribute.i == i64::from(FLOAT16) {
                attribute.i = FLOAT.into();
            }
            attribute.t.iter_mut().chain(&mut attribute.tensors).for_each(widen_tensor);
        }
        subgraphs(node).for_each(widen_nodes);
    }
}

fn widen_tensor(tensor: &mut pb::TensorProto) {
    if tensor.data_type != FLOAT16 {
        return;
    }
    let bits: Vec<u16> = if tensor.raw_data.is_empty() {
        tensor.int32_data.iter().map(|bits| *bits as u16).collect()
    } else {
        tensor.raw_data.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()
    };
    tensor.data_type = FLOAT;
    tensor.int32_data.clear();
    tensor.raw_data.clear();
    tensor.float_data = bits.into_iter().map(|bits| half::f16::from_bits(bits).to_f32()).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_become_float32() {
        let cases = [
            (
                pb::TensorProto { data_type: FLOAT16, raw_data: vec![0, 0x3c, 0, 0xc0], ..Default::default() },
                vec![1.0, -2.0],
            ),
            (pb::TensorProto { data_type: FLOAT16, int32_data: vec![0x3800], ..Default::default() }, vec![0.5]),
            (pb::TensorProto { data_type: FLOAT, float_data: vec![3.0], ..Default::default() }, vec![3.0]),
        ];
        for (mut tensor, expected) in cases {
            widen_tensor(&mut tensor);
            assert_eq!((tensor.data_type, &tensor.float_data), (FLOAT, &expected));
            assert!(tensor.raw_data.is_empty() && tensor.int32_data.is_empty());
        }
    }

    #[test]
    fn inputs_and_outputs_keep_their_type() {
        let value = |name: &str, elem_type| {
            let value = Some(type_proto::Value::TensorType(type_proto::Tensor { elem_type, shape: None }));
            let r#type = Some(pb::TypeProto { value, ..Default::default() });
            pb::ValueInfoProto { name: name.into(), r#type, ..Default::default() }
        };
        let relu = pb::NodeProto {
            op_type: "Relu".into(),
            input: vec!["x".into()],
            output: vec!["y".into()],
            ..Default::default()
        };
        let mut graph = pb::GraphProto {
            node: vec![relu],
            input: vec![value("x", FLOAT16)],
            output: vec![value("y", FLOAT16)],
            ..Default::default()
        };
        widen(&mut graph, &mut []);
        let wires: Vec<(&str, &str)> = graph.node.iter().map(|node| (&*node.input[0], &*node.output[0])).collect();
        assert_eq!(wires, [("x", "x#float32"), ("x#float32", "y#float32"), ("y#float32", "y")]);
        assert_eq!([graph.node[0].attribute[0].i, graph.node[2].attribute[0].i], [1i64, 10]);
    }
}
