//! ONNX `ThresholdedRelu` (10 to 22): `x` above `alpha`, else 0. Attribute: `alpha`.

use super::unary::elementary;
use super::{Wiring, float, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::elementary::Elementary;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct ThresholdedRelu(Elementary);

impl Wiring for ThresholdedRelu {
    const OPERATOR: &'static str = "ThresholdedRelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha"])?;
        Ok(ThresholdedRelu(Elementary::ThresholdedRelu { alpha: float(node, "alpha").unwrap_or(1.0) }))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        elementary(prefix, model, inputs[0], self.0)
    }
}
