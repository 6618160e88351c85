//! `SimplifiedLayerNormalization` of ONNX Runtime, which exporters write into ONNX's own domain: `x` and `scale`.
//! Outputs: the rows divided by their root mean square, and optionally the inverse of that root, in float32.
//! Attributes: `axis`, `epsilon`, `stash_type` 1.

use super::compose::Composer;
use super::normalise::{Kind, Normalisation};
use super::{Wiring, axis_of, float, has_output, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct SimplifiedLayerNormalization {
    axis: i64,
    epsilon: f32,
    inverse_deviation: bool,
}

impl Wiring for SimplifiedLayerNormalization {
    const OPERATOR: &'static str = "SimplifiedLayerNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis", "epsilon", "stash_type"])?;
        if int(node, "stash_type", 1) != 1 {
            return Err(unsupported("only statistics in float32 (stash_type 1) are supported"));
        }
        Ok(SimplifiedLayerNormalization {
            axis: int(node, "axis", -1),
            epsilon: float(node, "epsilon").unwrap_or(1e-5),
            inverse_deviation: has_output(node, 1),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        ensure!(inputs.len() == 2, "it takes 2 inputs");
        let axis = axis_of(self.axis, model.outlet_fact(inputs[0])?.rank())?;
        let normalisation = Normalisation { kind: Kind::RootMeanSquare, axis, epsilon: self.epsilon };
        let composer = &mut Composer::new(prefix, model);
        let mut outputs = tvec!(normalisation.wire(composer, inputs[0], Some(inputs[1]), None)?);
        if self.inverse_deviation {
            outputs.push(normalisation.statistics(composer, inputs[0])?.inverse_deviation);
        }
        Ok(outputs)
    }
}
