//! ONNX `Swish` (24): `x · sigmoid(alpha · x)`, float32. Attribute: `alpha`.

use super::compose::Composer;
use super::{Wiring, float, is_f32, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use tract_core::internal::*;
use tract_core::ops::math::mul;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Swish {
    alpha: f32,
}

impl Wiring for Swish {
    const OPERATOR: &'static str = "Swish";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha"])?;
        Ok(Swish { alpha: float(node, "alpha").unwrap_or(1.0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        Ok(tvec!(swish(&mut Composer::new(prefix, model), inputs[0], self.alpha)?))
    }
}

/// Wires `x · sigmoid(alpha · x)` for float32.
pub fn swish(composer: &mut Composer, x: OutletId, alpha: f32) -> TractResult<OutletId> {
    if alpha == 1.0 {
        return composer.wire(Activate(Activation::Silu), &[x]);
    }
    if alpha == 1.702 {
        return composer.wire(Activate(Activation::QuickGelu), &[x]);
    }
    let scaled = composer.binary_with(mul(), x, alpha)?;
    let gate = composer.wire(Activate(Activation::Sigmoid), &[scaled])?;
    composer.binary(mul(), x, gate)
}
