//! ONNX `Relu` (6 to 14): float32 becomes [`Activate`]; other types are left to tract.

use super::{Wiring, is_f32, only_attributes};
use crate::kernels::activation::Activation;
use crate::ops::Activate;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Relu;

impl Wiring for Relu {
    const OPERATOR: &'static str = "Relu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(Relu)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        if !is_f32(model, inputs)? {
            return Ok(None);
        }
        model.wire_node(prefix, Activate(Activation::Relu), inputs).map(Some)
    }
}
