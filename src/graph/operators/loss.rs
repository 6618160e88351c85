//! ONNX `NegativeLogLikelihoodLoss` (12 to 22) and `SoftmaxCrossEntropyLoss` (12 to 13), float32.
//!
//! Inputs: scores `[batch, classes, ...]`, of which the former takes the logarithms of probabilities; integer labels
//! `[batch, ...]`; optionally weights `[classes]`. Outputs: the losses; of the latter, optionally, the logarithms of the
//! probabilities. Attributes: `reduction` `none`, `sum`, `mean`; `ignore_index`. A label that is no class is refused when it is met.

use super::compose::Composer;
use super::log_softmax::log_softmax;
use super::{Wiring, arguments, attribute, has_output, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::negative_log_likelihood::{LossReduction, NegativeLogLikelihood};
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct NegativeLogLikelihoodLoss(NegativeLogLikelihood);

impl Wiring for NegativeLogLikelihoodLoss {
    const OPERATOR: &'static str = "NegativeLogLikelihoodLoss";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        Ok(NegativeLogLikelihoodLoss(parse(node)?))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        Ok(tvec!(wire(&self.0, composer, inputs[0], &inputs[1..])?))
    }
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct SoftmaxCrossEntropyLoss {
    loss: NegativeLogLikelihood,
    has_loss: bool,
    has_logarithms: bool,
}

impl Wiring for SoftmaxCrossEntropyLoss {
    const OPERATOR: &'static str = "SoftmaxCrossEntropyLoss";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        let (has_loss, has_logarithms) = (has_output(node, 0), has_output(node, 1));
        Ok(SoftmaxCrossEntropyLoss { loss: parse(node)?, has_loss, has_logarithms })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[..1])? {
            return Err(unsupported("only float32 is supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        ensure!(composer.fact(inputs[0])?.rank() >= 2, "the scores have no axis of classes");
        let logarithms = log_softmax(composer, inputs[0], &[1])?;
        let mut outlets = tvec!();
        if self.has_loss {
            outlets.push(wire(&self.loss, composer, logarithms, &inputs[1..])?);
        }
        if self.has_logarithms {
            outlets.push(logarithms);
        }
        Ok(outlets)
    }
}

fn parse(node: &NodeProto) -> TractResult<NegativeLogLikelihood> {
    only_attributes(node, &["reduction", "ignore_index"])?;
    let reduction = match &*arguments::string(node, "reduction", "mean") {
        "none" => LossReduction::None,
        "sum" => LossReduction::Sum,
        "mean" => LossReduction::Mean,
        other => return Err(unsupported(format!("reduction `{other}` is not supported"))),
    };
    Ok(NegativeLogLikelihood { reduction, ignored: attribute(node, "ignore_index").map(|label| label.i) })
}

fn wire(
    loss: &NegativeLogLikelihood,
    composer: &mut Composer,
    logarithms: OutletId,
    labels_and_weights: &[OutletId],
) -> TractResult<OutletId> {
    let inputs: Vec<OutletId> = [&[logarithms], labels_and_weights].concat();
    for (position, input) in inputs.iter().enumerate() {
        if position != 1 && composer.fact(*input)?.datum_type != f32::datum_type() {
            return Err(unsupported("only float32 is supported"));
        }
    }
    composer.wire(PlainOperator(loss.clone()), &inputs)
}
