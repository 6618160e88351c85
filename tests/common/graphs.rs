//! Parts of graphs that tests build.

use sottovoce::onnx::pb::tensor_proto::DataType;
use sottovoce::onnx::pb::tensor_shape_proto::{Dimension, dimension};
use sottovoce::onnx::pb::{NodeProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};

/// A node without attributes.
pub fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    NodeProto { op_type: op_type.into(), input: names(inputs), output: names(outputs), ..Default::default() }
}

/// A graph's input or output, with a symbol for each size.
pub fn value(name: &str, data_type: DataType, dims: &[&str]) -> ValueInfoProto {
    let dim = |name: &&str| Dimension { value: Some(dimension::Value::DimParam(name.to_string())) };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let kind = type_proto::Value::TensorType(type_proto::Tensor { elem_type: data_type as i32, shape });
    let r#type = Some(TypeProto { value: Some(kind) });
    ValueInfoProto { name: name.into(), r#type }
}
