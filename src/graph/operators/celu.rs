//! ONNX `Celu` (12): `max(0, x) + min(0, alpha · (e^(x / alpha) - 1))`, float32. Attribute: `alpha`.

use super::compose::Composer;
use super::{Wiring, float, is_f32, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use tract_core::internal::*;
use tract_core::ops::math::{add, div, exp, min, mul, sub};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Celu {
    alpha: f32,
}

impl Wiring for Celu {
    const OPERATOR: &'static str = "Celu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha"])?;
        Ok(Celu { alpha: float(node, "alpha").unwrap_or(1.0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let positive = composer.wire(Activate(Activation::Relu), inputs)?;
        // With the positive part left out, the exponential of a large element is not infinite.
        let negative = composer.binary_with(min(), inputs[0], 0.0)?;
        let negative = composer.binary_with(div(), negative, self.alpha)?;
        let power = composer.wire(exp(), &[negative])?;
        let curve = composer.binary_with(sub(), power, 1.0)?;
        let curve = composer.binary_with(mul(), curve, self.alpha)?;
        let curve = composer.binary_with(min(), curve, 0.0)?;
        Ok(tvec!(composer.binary(add(), positive, curve)?))
    }
}
