//! Small ONNX graphs for the tests of this folder.

use super::{CompiledModel, compile};
use crate::error::Result;
use crate::onnx::pb::tensor_shape_proto::{Dimension, dimension};
use crate::onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, type_proto,
};
use prost::Message;
use tract_core::prelude::{TValue, TypedSimplePlan};

/// A node without attributes.
pub fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    NodeProto { op_type: op_type.into(), input: names(inputs), output: names(outputs), ..Default::default() }
}

/// The node with an integer attribute.
pub fn with_int(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    let r#type = AttributeType::Int as i32;
    node.attribute.push(AttributeProto { name: name.into(), r#type, i: value, ..Default::default() });
    node
}

/// The node with a list of integers as attribute.
pub fn with_ints(mut node: NodeProto, name: &str, values: &[i64]) -> NodeProto {
    let r#type = AttributeType::Ints as i32;
    node.attribute.push(AttributeProto { name: name.into(), r#type, ints: values.into(), ..Default::default() });
    node
}

/// The node with a subgraph as attribute.
pub fn with_graph(mut node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    let r#type = AttributeType::Graph as i32;
    node.attribute.push(AttributeProto { name: name.into(), r#type, g: Some(graph), ..Default::default() });
    node
}

/// A typed tensor; a dimension of -1 is a symbol of its own.
pub fn value(name: &str, data_type: DataType, dims: &[i64]) -> ValueInfoProto {
    let dim = |dim: &i64| match dim {
        -1 => dimension::Value::DimParam(String::new()),
        size => dimension::Value::DimValue(*size),
    };
    let dims = dims.iter().map(|size| Dimension { value: Some(dim(size)) });
    let shape = Some(TensorShapeProto { dim: dims.collect() });
    let kind = type_proto::Value::TensorType(type_proto::Tensor { elem_type: data_type as i32, shape });
    let r#type = Some(TypeProto { value: Some(kind) });
    ValueInfoProto { name: name.into(), r#type }
}

/// An int64 initializer.
pub fn int64s(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    let data_type = DataType::Int64 as i32;
    TensorProto { name: name.into(), data_type, dims: dims.into(), int64_data: values.into(), ..Default::default() }
}

/// A graph.
pub fn graph(
    inputs: Vec<ValueInfoProto>,
    initializer: Vec<TensorProto>,
    node: Vec<NodeProto>,
    output: Vec<ValueInfoProto>,
) -> GraphProto {
    GraphProto { name: "graph".into(), input: inputs, initializer, node, output, ..Default::default() }
}

/// Compiles a graph of opset 18.
pub fn compiled(graph: GraphProto) -> Result<CompiledModel> {
    let opset_import = vec![OperatorSetIdProto { version: 18, ..Default::default() }];
    let model = ModelProto { ir_version: 8, opset_import, graph: Some(graph) };
    let bytes = model.encode_to_vec();
    compile(&("model.onnx", bytes.as_slice()), &[])
}

/// Compiles a graph and runs the plan of these choices on those inputs that it reads.
pub fn run(graph: GraphProto, choice: &[(usize, bool)], inputs: &[TValue]) -> Result<Vec<TValue>> {
    let compiled = compiled(graph)?;
    let chosen = compiled.graphs.into_iter().find(|graph| graph.when == choice).unwrap();
    let inputs = chosen.reads.iter().map(|position| inputs[*position].clone()).collect();
    let outputs = TypedSimplePlan::new(chosen.graph).and_then(|plan| plan.run(inputs));
    outputs.map(|outputs| outputs.to_vec()).map_err(|error| super::translate::cause(&error))
}
