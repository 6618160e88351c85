//! com.microsoft `SkipLayerNormalization`: `input`, `skip` of the same shape or without its batch, `gamma`, optional
//! `beta`, optional `bias`. Outputs: the normalised rows of `input + skip + bias`; their mean and inverse deviation in
//! float32; that sum. Attribute: `epsilon`.

use super::compose::Composer;
use super::normalise::{Kind, Normalisation};
use super::{Wiring, float, has_output, input, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::{add, mul};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct SkipLayerNormalization(SkipNormalization);

/// What is common to the normalisations of a sum.
#[derive(Debug, Clone)]
pub struct SkipNormalization {
    kind: Kind,
    epsilon: f32,
    beta: Option<usize>,
    bias: Option<usize>,
    mean: bool,
    inverse_deviation: bool,
    sum: bool,
}

impl Wiring for SkipLayerNormalization {
    const OPERATOR: &'static str = "com.microsoft.SkipLayerNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        SkipNormalization::parse(node, Kind::Layer, input(node, 3), input(node, 4)).map(SkipLayerNormalization)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(&mut Composer::new(prefix, model), inputs)
    }
}

impl SkipNormalization {
    /// Reads the attributes and outputs; `beta` and `bias` are positions among the inputs.
    pub fn parse(node: &NodeProto, kind: Kind, beta: Option<usize>, bias: Option<usize>) -> TractResult<Self> {
        only_attributes(node, &["epsilon"])?;
        let epsilon = float(node, "epsilon").unwrap_or(1e-12);
        let [mean, inverse_deviation, sum] = [1, 2, 3].map(|position| has_output(node, position));
        Ok(SkipNormalization { kind, epsilon, beta, bias, mean, inverse_deviation, sum })
    }

    /// Wires the sum and its normalisation.
    pub fn wire(&self, composer: &mut Composer, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut sum = composer.binary(add(), inputs[0], inputs[1])?;
        if let Some(bias) = self.bias {
            sum = composer.binary(add(), sum, inputs[bias])?;
        }
        let axis = composer.fact(sum)?.rank().checked_sub(1).context("a scalar cannot be normalised")?;
        let normalisation = Normalisation { kind: self.kind, axis, epsilon: self.epsilon };
        let beta = self.beta.map(|at| inputs[at]);
        let mut outputs = tvec!(normalisation.wire(composer, sum, Some(inputs[2]), beta)?);
        if self.mean || self.inverse_deviation {
            let statistics = normalisation.statistics(composer, sum)?;
            let mean = match self.kind {
                Kind::Layer => statistics.mean,
                // ONNX Runtime takes no mean here, and gives zeros.
                Kind::RootMeanSquare => composer.binary_with(mul(), statistics.mean, 0.0)?,
            };
            outputs.extend(self.mean.then_some(mean));
            outputs.extend(self.inverse_deviation.then_some(statistics.inverse_deviation));
        }
        outputs.extend(self.sum.then_some(sum));
        Ok(outputs)
    }
}
