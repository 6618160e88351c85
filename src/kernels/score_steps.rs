//! What a quantised model does to the scores of attention between its two products, softmax included, one step after the
//! other.

use super::simd::{Exp, F32x4, largest_of, map_in_place, sum_of_mapped};
use super::steps::{QuantizedSoftmax, Step};
use crate::attention::MaskStrides;

/// One step. Those that read a mask read the next one.
#[derive(Debug, Clone, Copy, PartialEq)]
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

/// The steps of a call, and what they read.
pub(super) struct ScoreSteps<'a> {
    steps: &'a [ScoreStep],
    masks: &'a [StepMask<'a>],
    /// For each quantised softmax.
    tables: Vec<[f32; 256]>,
}

impl<'a> ScoreSteps<'a> {
    /// For rows of `keys` scores.
    ///
    /// # Panics
    /// When there is not one mask for each step that reads one.
    pub(super) fn new(steps: &'a [ScoreStep], masks: &'a [StepMask<'a>], keys: usize) -> ScoreSteps<'a> {
        let read = steps.iter().filter(|step| step.reads_mask()).count();
        assert_eq!(masks.len(), read, "there is a mask for each step that reads one");
        let table = |step: &ScoreStep| match step {
            ScoreStep::QuantizedSoftmax(softmax) => Some(softmax.table(keys.max(1))),
            _ => None,
        };
        ScoreSteps { steps, masks, tables: steps.iter().filter_map(table).collect() }
    }

    /// Takes a row of scores through all steps; `start` says where its part of a mask begins.
    pub(super) fn apply(&self, row: &mut [f32], start: impl Fn(&MaskStrides) -> usize) {
        let (mut masks, mut tables) = (self.masks.iter(), self.tables.iter());
        for step in self.steps {
            let mut elements = step.reads_mask().then(|| masks.next()).flatten().map(|mask| {
                let start = start(&mask.strides);
                (0..).map(move |key| mask.elements[start + key * mask.strides.key])
            });
            match (step, elements.as_mut()) {
                (ScoreStep::Each(step), _) => step.apply(row),
                (ScoreStep::AddMask, Some(mask)) => row.iter_mut().zip(mask).for_each(|(score, mask)| *score += mask),
                (ScoreStep::Replace { kept, value }, Some(mask)) => {
                    let replaced = row.iter_mut().zip(mask).filter(|(_, mask)| (*mask != 0.0) != *kept);
                    replaced.for_each(|(score, _)| *score = *value);
                }
                (ScoreStep::Softmax, _) => softmax(row),
                (ScoreStep::QuantizedSoftmax(softmax), _) => {
                    if let Some(table) = tables.next() {
                        softmax.apply(table, row);
                    }
                }
                (ScoreStep::ZeroForNan, _) => row.iter_mut().filter(|score| score.is_nan()).for_each(|nan| *nan = 0.0),
                (ScoreStep::AddMask | ScoreStep::Replace { .. }, None) => {}
            }
        }
    }
}

fn softmax(row: &mut [f32]) {
    let largest = F32x4::splat(largest_of(row));
    let exp = Exp::new();
    let sum = F32x4::splat(sum_of_mapped(row, |score| exp.of_difference(score - largest)));
    map_in_place(row, |weight| weight / sum);
}
