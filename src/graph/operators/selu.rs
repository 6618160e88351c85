//! ONNX `Selu` (6 to 22): `gamma · x` where `x` is positive, else `gamma · alpha · (e^x - 1)`. Attributes: `alpha`, `gamma`.

use super::unary::elementary;
use super::{Wiring, float, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::elementary::Elementary;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Selu(Elementary);

impl Wiring for Selu {
    const OPERATOR: &'static str = "Selu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha", "gamma"])?;
        Ok(Selu(Elementary::Selu {
            alpha: float(node, "alpha").unwrap_or(1.673_263_2),
            gamma: float(node, "gamma").unwrap_or(1.050_701),
        }))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        elementary(prefix, model, inputs[0], self.0)
    }
}
