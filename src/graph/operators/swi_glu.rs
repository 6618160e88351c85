//! ONNX `SwiGLU` (28): `A · sigmoid(alpha · A) · B`, float32 of the same shape. Attribute: `alpha`.

use super::compose::Composer;
use super::swish::swish;
use super::{Wiring, float, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::mul;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct SwiGlu {
    alpha: f32,
}

impl Wiring for SwiGlu {
    const OPERATOR: &'static str = "SwiGLU";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha"])?;
        Ok(SwiGlu { alpha: float(node, "alpha").unwrap_or(1.0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let gate = swish(composer, inputs[0], self.alpha)?;
        Ok(tvec!(composer.binary(mul(), gate, inputs[1])?))
    }
}
