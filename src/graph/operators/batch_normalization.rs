//! ONNX `BatchNormalization` (7 to 15) at inference: `(x - mean) / sqrt(variance + epsilon) · scale + B` along the second
//! axis. Attributes: `epsilon`; `momentum` matters in training only; `training_mode` and `spatial` of 0 are refused.

use super::compose::Composer;
use super::{Wiring, float, has_output, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::{add, mul, rsqrt, sub};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct BatchNormalization {
    epsilon: f32,
}

impl Wiring for BatchNormalization {
    const OPERATOR: &'static str = "BatchNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["epsilon", "momentum", "spatial", "training_mode"])?;
        if int(node, "training_mode", 0) != 0 || (1..5).any(|position| has_output(node, position)) {
            return Err(unsupported("training is not supported"));
        }
        if int(node, "spatial", 1) != 1 {
            return Err(unsupported("statistics of single positions (`spatial` of 0) are not supported"));
        }
        Ok(BatchNormalization { epsilon: float(node, "epsilon").unwrap_or(1e-5) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[x, scale, bias, mean, variance] = inputs else { bail!("BatchNormalization takes 5 inputs") };
        let composer = &mut Composer::new(prefix, model);
        let sum = composer.binary_with(add(), variance, self.epsilon)?;
        let inverse_deviation = composer.wire(rsqrt(), &[sum])?;
        let factor = composer.binary(mul(), scale, inverse_deviation)?;
        let shift = composer.binary(mul(), mean, factor)?;
        let shift = composer.binary(sub(), bias, shift)?;
        let axes = composer.fact(x)?.rank().saturating_sub(1);
        let factor = composer.trailing_axes(factor, axes)?;
        let shift = composer.trailing_axes(shift, axes)?;
        let product = composer.binary(mul(), x, factor)?;
        Ok(tvec!(composer.binary(add(), product, shift)?))
    }
}
