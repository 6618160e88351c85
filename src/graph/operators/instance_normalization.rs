//! ONNX `InstanceNormalization` (6 to 22): `input` `[batch, channels, ...]` normalised over all that follows the channels, times `scale`
//! and plus `B`, both `[channels]`. Attribute: `epsilon`.

use super::normalise::{Kind, Normalisation};
use super::{Composer, Wiring, float, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::{add, mul};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct InstanceNormalization {
    epsilon: f32,
}

impl Wiring for InstanceNormalization {
    const OPERATOR: &'static str = "InstanceNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["epsilon"])?;
        Ok(InstanceNormalization { epsilon: float(node, "epsilon").unwrap_or(1e-5) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[x, scale, bias] = inputs else { bail!("three operands are needed") };
        let composer = &mut Composer::new(prefix, model);
        let rank = composer.fact(x)?.rank();
        ensure!(rank >= 2, "an operand of rank {rank} has no channels");
        let normalisation = Normalisation { kind: Kind::Layer, axis: 2, epsilon: self.epsilon };
        let normal = normalisation.wire(composer, x, None, None)?;
        let scale = composer.trailing_axes(scale, rank - 1)?;
        let bias = composer.trailing_axes(bias, rank - 1)?;
        let product = composer.binary(mul(), normal, scale)?;
        Ok(tvec!(composer.binary(add(), product, bias)?))
    }
}
