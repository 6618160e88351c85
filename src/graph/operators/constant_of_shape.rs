//! ONNX `ConstantOfShape` (9 to 25). Attribute: `value`, a tensor of one element; a float32 zero where it is left out, which
//! tract takes for a float64. The rest is left to tract.

use super::{Wiring, attribute, only_attributes, wire_with_tract};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct ConstantOfShape {
    node: NodeProto,
    opset: i64,
}

impl Wiring for ConstantOfShape {
    const OPERATOR: &'static str = "ConstantOfShape";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(node, &["value"])?;
        let mut node = node.clone();
        if attribute(&node, "value").is_none() {
            let zero = TensorProto {
                data_type: DataType::Float as i32,
                dims: vec![1],
                float_data: vec![0.0],
                ..TensorProto::default()
            };
            let r#type = AttributeType::Tensor as i32;
            node.attribute.push(AttributeProto { name: "value".into(), r#type, t: Some(zero), ..Default::default() });
        }
        Ok(ConstantOfShape { node, opset })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        wire_with_tract(&self.node, self.opset, prefix, model, inputs).map(Some)
    }
}
