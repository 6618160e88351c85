//! The softmax of rows of scores, the online one too (Milakov and Gimelshein, arXiv 1805.02867).

use super::simd::{F32x4, LANES, NegativePowers, sum_of_mapped};

/// The softmax of one row over the scores so far.
#[derive(Clone, Copy)]
pub(super) struct Softmax {
    /// The largest score, the sink's too; minus infinity where all are masked.
    largest: f32,
    /// The sum of e^(score - largest).
    pub(super) sum: f32,
}

impl Softmax {
    /// Of no score but the sink, where there is one.
    pub(super) fn new(sink: Option<f32>) -> Softmax {
        match sink {
            None | Some(f32::NEG_INFINITY) => Softmax { largest: f32::NEG_INFINITY, sum: 0.0 },
            // e^(sink - sink), which is NaN for what is not finite.
            Some(sink) => Softmax { largest: sink, sum: if sink.is_finite() { 1.0 } else { f32::NAN } },
        }
    }

    /// Whether there is no score but minus infinity.
    pub(super) fn is_all_masked(&self) -> bool {
        self.largest == f32::NEG_INFINITY && self.sum == 0.0
    }

    /// Adds some more scores, which are `values` times `factor`, and of which this is the largest; a NaN may have been passed over. Each
    /// value is replaced by its score's weight. Gives the factor by which earlier weights shrink.
    pub(super) fn add(&mut self, values: &mut [f32], factor: f32, largest: f32) -> f32 {
        let before = self.largest;
        self.largest = before.max(largest);
        // Where all scores so far are minus infinity, their weights are e^(-infinity - 0).
        let shift = if self.largest == f32::NEG_INFINITY { 0.0 } else { self.largest };
        // There are no weights before the first score that is not minus infinity.
        let stays = before == self.largest || before == f32::NEG_INFINITY;
        let shrinks = if stays { 1.0 } else { (before - shift).exp() };
        self.sum = self.sum * shrinks + weigh(values, factor, shift);
        shrinks
    }
}

/// Replaces each value by e^(value · factor - largest). Gives their sum.
///
/// It is a function by itself because V8 has no registers for it amid others.
#[inline(never)]
pub(super) fn weigh(values: &mut [f32], factor: f32, largest: f32) -> f32 {
    let (factor, largest, powers) = (F32x4::splat(factor), F32x4::splat(largest), NegativePowers::new());
    let weights = |scores: F32x4| scores * factor - largest;
    let mut totals = [F32x4::splat(0.0); 2];
    let (pairs, rest) = values.as_chunks_mut::<{ 2 * LANES }>();
    for pair in pairs {
        let (pair, _) = pair.as_chunks_mut::<LANES>();
        let weights = powers.of([weights(F32x4::load(&pair[0])), weights(F32x4::load(&pair[1]))]);
        for ((lanes, weights), total) in pair.iter_mut().zip(weights).zip(&mut totals) {
            weights.store(lanes);
            *total = *total + weights;
        }
    }
    let rest = sum_of_mapped(rest, |scores| powers.of([weights(scores)])[0]);
    (totals[0] + totals[1]).sum() + rest
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds weights and sums against the definition in f64, of rows in one part and in two.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let of_length = |len: usize| [None, Some(0.25)].into_iter().flat_map(move |sink| failures_of_row(len, sink));
        [1, 3, 4, 7, 8, 9, 12, 15, 16, 29].into_iter().flat_map(of_length).collect()
    }

    fn failures_of_row(len: usize, sink: Option<f32>) -> Vec<String> {
        const FACTOR: f32 = 20.0;
        let values = numbers(len, len as u32);
        let score = |value: &f32| f64::from(value * FACTOR);
        let largest = values.iter().map(score).chain(sink.map(f64::from)).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = values.iter().map(|value| (score(value) - largest).exp()).collect();
        let sum = weights.iter().sum::<f64>() + sink.map_or(0.0, |sink| (f64::from(sink) - largest).exp());
        let expected: Vec<f32> = weights.iter().chain([&sum]).map(|number| *number as f32).collect();
        let got_in_parts = |cut: usize| {
            let (mut got, mut softmax) = (values.clone(), Softmax::new(sink));
            let (first, second) = got.split_at_mut(cut);
            let mut add = |part: &mut [f32]| {
                let largest = part.iter().fold(f32::NEG_INFINITY, |largest, value| largest.max(value * FACTOR));
                softmax.add(part, FACTOR, largest)
            };
            add(first);
            let shrinks = add(second);
            first.iter_mut().for_each(|weight| *weight *= shrinks);
            got.push(softmax.sum);
            got
        };
        let failure =
            |cut| difference(format!("{len} scores, {cut} of them first"), &got_in_parts(cut), &expected, 1e-6);
        [0, len / 2].into_iter().filter_map(failure).collect()
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
