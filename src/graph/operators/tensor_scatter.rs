//! ONNX `TensorScatter` (24), any type.
//!
//! Inputs: `past_cache`, `update`, optionally `write_indices`. Attributes: `axis`; `mode`: `linear` or `circular`.

use super::{Wiring, arguments, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct TensorScatter {
    axis: i64,
    circular: bool,
}

impl Wiring for TensorScatter {
    const OPERATOR: &'static str = "TensorScatter";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis", "mode"])?;
        let circular = match &*arguments::string(node, "mode", "linear") {
            "linear" => false,
            "circular" => true,
            other => return Err(unsupported(format!("mode `{other}`"))),
        };
        Ok(TensorScatter { axis: int(node, "axis", -2), circular })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axis = arguments::axis(self.axis, model.outlet_fact(inputs[0])?.rank())?;
        let operator = crate::ops::TensorScatter { axis, circular: self.circular };
        model.wire_node(prefix, operator, inputs)
    }
}
