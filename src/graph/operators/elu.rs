//! ONNX `Elu` (6 to 22): `x` where it is not negative, else `alpha · (e^x - 1)`. Attribute: `alpha`.

use super::unary::elementary;
use super::{Wiring, float, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::elementary::Elementary;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Elu(Elementary);

impl Wiring for Elu {
    const OPERATOR: &'static str = "Elu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha"])?;
        Ok(Elu(Elementary::Elu { alpha: float(node, "alpha").unwrap_or(1.0) }))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        elementary(prefix, model, inputs[0], self.0)
    }
}
