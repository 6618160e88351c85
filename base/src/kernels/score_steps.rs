//! What a quantised model does to the scores of attention between its two products, softmax included, one step after the
//! other.

use super::simd::{F32x4, largest_of, map_in_place};
use super::softmax::weigh;
use super::steps::{QuantizedSoftmax, Step};
use crate::attention::MaskStrides;

/// One step. Those that read a mask read the next one.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum ScoreStep {
    /// Every score by itself.
    Each(Step),
    /// A mask is added.
    AddMask,
    /// Scores stay where the mask is not 0 if `kept`, and where it is 0 if not; elsewhere they become `value`.
    Replace {
        /// Where scores stay.
        kept: bool,
        /// What the others become.
        value: f32,
    },
    /// The softmax over the keys.
    Softmax,
    /// The same on integers.
    QuantizedSoftmax(QuantizedSoftmax),
    /// NaN becomes 0.
    ZeroForNan,
}

impl ScoreStep {
    /// Whether the step reads a mask.
    pub fn reads_mask(&self) -> bool {
        matches!(self, ScoreStep::AddMask | ScoreStep::Replace { .. })
    }
}

/// A mask that steps read.
#[derive(Debug, Clone, Copy)]
pub struct StepMask<'a> {
    /// The elements.
    pub elements: &'a [f32],
    /// Where that of each score lies.
    pub strides: MaskStrides,
}

/// The steps of a call with what they read.
pub(super) struct ScoreSteps<'a>(Vec<BoundStep<'a>>);

/// A [`ScoreStep`] with its mask or table.
enum BoundStep<'a> {
    Each(Step),
    AddMask(StepMask<'a>),
    Replace { mask: StepMask<'a>, kept: bool, value: f32 },
    Softmax,
    QuantizedSoftmax(QuantizedSoftmax, Box<[f32; 256]>),
    ZeroForNan,
}

impl<'a> ScoreSteps<'a> {
    /// For rows of `keys` scores.
    ///
    /// # Panics
    /// When there is not one mask for each step that reads one.
    pub(super) fn new(steps: &[ScoreStep], masks: &[StepMask<'a>], keys: usize) -> ScoreSteps<'a> {
        let read = steps.iter().filter(|step| step.reads_mask()).count();
        assert_eq!(masks.len(), read, "there is a mask for each step that reads one");
        let mut masks = masks.iter();
        let mut mask = || *masks.next().expect("they are as many");
        let bound = steps.iter().map(|step| match *step {
            ScoreStep::Each(step) => BoundStep::Each(step),
            ScoreStep::AddMask => BoundStep::AddMask(mask()),
            ScoreStep::Replace { kept, value } => BoundStep::Replace { mask: mask(), kept, value },
            ScoreStep::Softmax => BoundStep::Softmax,
            ScoreStep::QuantizedSoftmax(softmax) => {
                BoundStep::QuantizedSoftmax(softmax, Box::new(softmax.table(keys.max(1))))
            }
            ScoreStep::ZeroForNan => BoundStep::ZeroForNan,
        });
        ScoreSteps(bound.collect())
    }

    /// Takes a row of scores through all steps; `start` says where its part of a mask begins.
    pub(super) fn apply(&self, row: &mut [f32], start: impl Fn(&MaskStrides) -> usize) {
        let elements = |mask: &StepMask<'a>| {
            let StepMask { elements, strides } = *mask;
            let start = start(&strides);
            (0..).map(move |key| elements[start + key * strides.key])
        };
        for step in &self.0 {
            match step {
                BoundStep::Each(step) => step.apply(row),
                BoundStep::AddMask(mask) => row.iter_mut().zip(elements(mask)).for_each(|(score, mask)| *score += mask),
                BoundStep::Replace { mask, kept, value } => {
                    let replaced = row.iter_mut().zip(elements(mask)).filter(|(_, mask)| (*mask != 0.0) != *kept);
                    replaced.for_each(|(score, _)| *score = *value);
                }
                BoundStep::Softmax => softmax(row),
                BoundStep::QuantizedSoftmax(softmax, table) => softmax.apply(table, row),
                BoundStep::ZeroForNan => row.iter_mut().filter(|score| score.is_nan()).for_each(|nan| *nan = 0.0),
            }
        }
    }
}

fn softmax(row: &mut [f32]) {
    let sum = F32x4::splat(weigh(row, 1.0, largest_of(row)));
    map_in_place(row, |weight| weight / sum);
}
