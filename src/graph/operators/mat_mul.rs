//! ONNX `MatMul` (13): f32 matrices become [`MatMul`](crate::ops::MatMul); vectors and other types are left to tract.

use super::{Wiring, is_f32};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MatMul;

impl Wiring for MatMul {
    const OPERATOR: &'static str = "MatMul";

    fn parse(_: &NodeProto, _: i64) -> TractResult<Self> {
        Ok(MatMul)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let matrices = model.outlet_fact(inputs[0])?.rank() >= 2 && model.outlet_fact(inputs[1])?.rank() >= 2;
        if !matrices || !is_f32(model, inputs)? {
            return Ok(None);
        }
        model.wire_node(prefix, crate::ops::MatMul, inputs).map(Some)
    }
}
