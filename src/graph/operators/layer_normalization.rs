//! ONNX `LayerNormalization` (17; ONNX Runtime also knows it below): `x`, `Scale` and optionally `B` broadcast to `x`.
//! Outputs: the normalised rows; `Mean` and `InvStdDev` in float32. Attributes: `axis`, `epsilon`, `stash_type` 1.

use super::compose::Composer;
use super::normalise::{Kind, Normalisation};
use super::{Wiring, axis_of, float, has_output, input, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct LayerNormalization {
    axis: i64,
    epsilon: f32,
    bias: Option<usize>,
    mean: bool,
    inverse_deviation: bool,
}

impl Wiring for LayerNormalization {
    const OPERATOR: &'static str = "LayerNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis", "epsilon", "stash_type"])?;
        if int(node, "stash_type", 1) != 1 {
            return Err(unsupported("only statistics in float32 (stash_type 1) are supported"));
        }
        Ok(LayerNormalization {
            axis: int(node, "axis", -1),
            epsilon: float(node, "epsilon").unwrap_or(1e-5),
            bias: input(node, 2),
            mean: has_output(node, 1),
            inverse_deviation: has_output(node, 2),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axis = axis_of(self.axis, model.outlet_fact(inputs[0])?.rank())?;
        let normalisation = Normalisation { kind: Kind::Layer, axis, epsilon: self.epsilon };
        let composer = &mut Composer::new(prefix, model);
        let bias = self.bias.map(|at| inputs[at]);
        let mut outputs = tvec!(normalisation.wire(composer, inputs[0], Some(inputs[1]), bias)?);
        if self.mean || self.inverse_deviation {
            let statistics = normalisation.statistics(composer, inputs[0])?;
            outputs.extend(self.mean.then_some(statistics.mean));
            outputs.extend(self.inverse_deviation.then_some(statistics.inverse_deviation));
        }
        Ok(outputs)
    }
}
