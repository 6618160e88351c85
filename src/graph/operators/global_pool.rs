//! ONNX `GlobalAveragePool` (1 to 22) and `GlobalMaxPool` (1 to 22): `ReduceMean` and `ReduceMax` over all spatial axes.

use super::quantized::node;
use super::{Wiring, only_attributes, wire_node};
use crate::onnx::pb::attribute_proto::AttributeType;
use crate::onnx::pb::{AttributeProto, NodeProto};
use tract_core::internal::*;

/// ONNX `GlobalAveragePool`.
#[derive(Debug, Clone)]
pub struct GlobalAveragePool;

/// ONNX `GlobalMaxPool`.
#[derive(Debug, Clone)]
pub struct GlobalMaxPool;

impl Wiring for GlobalAveragePool {
    const OPERATOR: &'static str = "GlobalAveragePool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(GlobalAveragePool)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        reduce("ReduceMean", prefix, model, inputs)
    }
}

impl Wiring for GlobalMaxPool {
    const OPERATOR: &'static str = "GlobalMaxPool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(GlobalMaxPool)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        reduce("ReduceMax", prefix, model, inputs)
    }
}

fn reduce(operator: &str, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
    /// With this opset the axes are an attribute.
    const OPSET: i64 = 13;
    let rank = model.outlet_fact(inputs[0])?.rank();
    ensure!(rank > 2, "a pool over a tensor of rank {rank}");
    let ints = (2..rank as i64).collect();
    let r#type = AttributeType::Ints as i32;
    let axes = AttributeProto { name: "axes".into(), r#type, ints, ..Default::default() };
    wire_node(&node(operator, 1, vec![axes]), OPSET, prefix, model, &inputs[..1])
}
