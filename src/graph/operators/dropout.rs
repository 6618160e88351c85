//! ONNX `Dropout` (7 to 22) outside training, where it passes its input on. The mask is all true, before opset 12 all false,
//! as in ONNX Runtime. Dropping at random is refused.

use super::{Wiring, constant, input, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::array::MultiBroadcastTo;
use tract_core::ops::identity::Identity;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Dropout {
    ratio: Option<usize>,
    training: Option<usize>,
    mask: bool,
    kept: bool,
}

impl Wiring for Dropout {
    const OPERATOR: &'static str = "Dropout";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        super::only_attributes(node, &["ratio", "seed"])?;
        Ok(Dropout {
            ratio: input(node, 1),
            training: input(node, 2),
            mask: node.output.get(1).is_some_and(|name| !name.is_empty()),
            kept: opset >= 12,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if self.training(model, inputs)? {
            return Err(unsupported("training is not supported"));
        }
        let mut outlets = model.wire_node(prefix, Identity, &inputs[..1])?;
        if self.mask {
            let shape = model.outlet_fact(inputs[0])?.shape.clone();
            let all = tensor0(self.kept).broadcast_into_rank(shape.rank())?;
            let all = model.add_const(format!("{prefix}.all"), all)?;
            outlets.extend(model.wire_node(format!("{prefix}.mask"), MultiBroadcastTo { shape }, &[all])?);
        }
        Ok(outlets)
    }
}

impl Dropout {
    /// Whether elements are dropped: in training, by a ratio that is not zero.
    fn training(&self, model: &TypedModel, inputs: &[OutletId]) -> TractResult<bool> {
        let Some(training) = self.training else { return Ok(false) };
        let training = constant(model, inputs[training])?.context("training_mode is not constant")?;
        if !training.cast_to_scalar::<bool>()? {
            return Ok(false);
        }
        let Some(ratio) = self.ratio else { return Ok(true) };
        let ratio = constant(model, inputs[ratio])?.context("ratio is not constant")?;
        Ok(ratio.cast_to_scalar::<f32>()? != 0.0)
    }
}
