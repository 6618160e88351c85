//! ONNX `RMSNormalization` (23): `x` and `scale`, which broadcasts to `x`. Attributes: `axis`, `epsilon`, `stash_type` 1.

use super::compose::Composer;
use super::normalise::{Kind, Normalisation};
use super::{Wiring, axis_of, float, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct RmsNormalization {
    axis: i64,
    epsilon: f32,
}

impl Wiring for RmsNormalization {
    const OPERATOR: &'static str = "RMSNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis", "epsilon", "stash_type"])?;
        if int(node, "stash_type", 1) != 1 {
            return Err(unsupported("only statistics in float32 (stash_type 1) are supported"));
        }
        Ok(RmsNormalization { axis: int(node, "axis", -1), epsilon: float(node, "epsilon").unwrap_or(1e-5) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axis = axis_of(self.axis, model.outlet_fact(inputs[0])?.rank())?;
        let normalisation = Normalisation { kind: Kind::RootMeanSquare, axis, epsilon: self.epsilon };
        let composer = &mut Composer::new(prefix, model);
        Ok(tvec!(normalisation.wire(composer, inputs[0], Some(inputs[1]), None)?))
    }
}
