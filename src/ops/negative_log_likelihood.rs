//! `NegativeLogLikelihood`: ONNX `NegativeLogLikelihoodLoss` (12 to 22).
//!
//! Inputs: f32 logarithms of probabilities `[batch, classes, ...]`; int32 or int64 labels `[batch, ...]`; optionally f32
//! weights `[classes]`. Output: f32 losses, with the labels' shape or, reduced, a scalar.

use super::plain::{Plain, around, elements, tensor_of};
use super::{f32_slice, integers};
use crate::error::Error;
use tract_core::internal::*;

/// What becomes of the losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReduction {
    /// All are given.
    None,
    /// Their sum.
    Sum,
    /// Their sum over that of their weights.
    Mean,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct NegativeLogLikelihood {
    /// What becomes of the losses.
    pub reduction: LossReduction,
    /// The label whose loss and weight are 0.
    pub ignored: Option<i64>,
}

impl Plain for NegativeLogLikelihood {
    const NAME: &'static str = "NegativeLogLikelihood";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let (logarithms, labels) = (inputs[0].shape.to_tvec(), inputs[1].shape.to_tvec());
        ensure!(logarithms.len() == labels.len() + 1 && !labels.is_empty(), "labels {labels:?} for {logarithms:?}");
        let floats = inputs.iter().enumerate().all(|(at, fact)| at == 1 || fact.datum_type == f32::datum_type());
        ensure!(floats && inputs[1].datum_type.is_integer(), "{inputs:?} are not float32 and labels");
        Ok(tvec!(match self.reduction {
            LossReduction::None => f32::fact(labels),
            LossReduction::Sum | LossReduction::Mean => f32::fact(TVec::<TDim>::new()),
        }))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let shape = inputs[0].shape();
        let fits = inputs[1].shape()[0] == shape[0] && inputs[1].shape()[1..] == shape[2..];
        ensure!(fits, "labels of shape {:?} for {shape:?}", inputs[1].shape());
        let [_, classes, inner] = around(shape, 1);
        let logarithms = f32_slice(&inputs[0])?;
        let weights = inputs.get(2).map(|weights| elements::<f32>(weights)).transpose()?;
        ensure!(weights.is_none_or(|weights| weights.len() == classes), "the weights are not as many as the classes");
        let labels = integers(&inputs[1])?;
        let mut losses = vec![0f32; labels.len()];
        let mut total_weight = 0f32;
        for (position, label) in labels.into_iter().enumerate().filter(|(_, label)| Some(*label) != self.ignored) {
            let class = usize::try_from(label).ok().filter(|class| *class < classes);
            let class = class.ok_or_else(|| Error::invalid_input(format!("label {label} of {classes} classes")))?;
            let weight = weights.map_or(1.0, |weights| weights[class]);
            let place = (position / inner * classes + class) * inner + position % inner;
            losses[position] = -logarithms[place] * weight;
            total_weight += weight;
        }
        let sum: f32 = losses.iter().sum();
        Ok(tvec!(match self.reduction {
            LossReduction::None => tensor_of(inputs[1].shape(), &losses)?,
            LossReduction::Sum => tensor0(sum),
            LossReduction::Mean => tensor0(sum / total_weight),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses() {
        struct Case {
            reduction: LossReduction,
            ignored: Option<i64>,
            labels: [i64; 2],
            expected: Option<&'static [f32]>,
        }
        use LossReduction::{Mean, None as All, Sum};
        // -x[label] · weight[label] for x [[1, 2], [3, 4]] and weights [0.5, 2].
        let cases = [
            Case { reduction: All, ignored: None, labels: [1, 0], expected: Some(&[-4.0, -1.5]) },
            Case { reduction: Sum, ignored: None, labels: [1, 0], expected: Some(&[-5.5]) },
            Case { reduction: Mean, ignored: None, labels: [1, 0], expected: Some(&[-2.2]) },
            Case { reduction: Mean, ignored: Some(-7), labels: [1, -7], expected: Some(&[-2.0]) },
            Case { reduction: All, ignored: Some(-7), labels: [1, -7], expected: Some(&[-4.0, 0.0]) },
            Case { reduction: All, ignored: None, labels: [1, 2], expected: None },
            Case { reduction: All, ignored: None, labels: [1, -1], expected: None },
        ];
        for case in cases {
            let operator = NegativeLogLikelihood { reduction: case.reduction, ignored: case.ignored };
            let inputs = [tensor2(&[[1f32, 2.0], [3.0, 4.0]]), tensor1(&case.labels), tensor1(&[0.5f32, 2.0])];
            let losses = operator.compute(&inputs.map(IntoTValue::into_tvalue)).ok();
            let losses = losses.as_ref().map(|losses| f32_slice(&losses[0]).unwrap());
            assert_eq!(losses, case.expected, "{operator:?} of {:?}", case.labels);
        }
    }
}
