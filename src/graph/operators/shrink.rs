//! ONNX `Shrink` (9): `x + bias` below `-lambd`, `x - bias` above `lambd`, else 0. Attributes: `bias`, `lambd`.

use super::unary::elementary;
use super::{Wiring, float, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::elementary::Elementary;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Shrink(Elementary);

impl Wiring for Shrink {
    const OPERATOR: &'static str = "Shrink";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["bias", "lambd"])?;
        Ok(Shrink(Elementary::Shrink {
            bias: float(node, "bias").unwrap_or(0.0),
            lambda: float(node, "lambd").unwrap_or(0.5),
        }))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        elementary(prefix, model, inputs[0], self.0)
    }
}
