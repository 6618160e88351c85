//! ONNX `HardSigmoid` (6 to 22): `alpha · x + beta`, at least 0 and at most 1, of floats; NaN stays NaN.

use super::compose::Composer;
use super::named_activation::NamedActivation;
use super::{Wiring, float, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct HardSigmoid(NamedActivation);

impl Wiring for HardSigmoid {
    const OPERATOR: &'static str = "HardSigmoid";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha", "beta"])?;
        let (alpha, beta) = (float(node, "alpha").unwrap_or(0.2), float(node, "beta").unwrap_or(0.5));
        Ok(HardSigmoid(NamedActivation::HardSigmoid { alpha, beta }))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        Ok(tvec!(self.0.wire(&mut Composer::new(prefix, model), inputs[0])?))
    }
}
