//! Quantisation of activations at run time.
#![allow(unsafe_code)]

use super::parallel::{SharedOutput, for_each};
use super::simd::bytes::ByteRounder;
use super::simd::{F32x4, LANES};
use std::array::from_fn;
use std::hint::black_box;

/// Elements that are quantised together.
pub(super) const STEP: usize = 4 * LANES;

/// Elements whose range is one task.
const RANGE_TASK: usize = 1 << 14;

/// Multiply-adds that take as long as to widen a range by an element.
const RANGE_WORK: usize = 4;

/// Scale and zero point of 8-bit unsigned integers `q`: each stands for `(q - zero_point) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantization {
    /// Distance between numbers that integers stand for.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: u8,
}

/// Quantises to the range of `x` and 0, as ONNX `DynamicQuantizeLinear` (11) does: the least element, or 0, becomes 0, and the
/// greatest, or 0, becomes 255. NaN has no part in the range and becomes 0.
///
/// # Panics
/// When `out` is not as long as `x`.
pub fn dynamic_quantize(x: &[f32], out: &mut [u8]) -> Quantization {
    let quantization = Quantization::of(x);
    quantize(x, quantization, out);
    quantization
}

impl Quantization {
    /// What [`dynamic_quantize`] makes of these elements.
    pub fn of(x: &[f32]) -> Quantization {
        let mut ranges = vec![(0.0, 0.0); x.len().div_ceil(RANGE_TASK)];
        let shared = SharedOutput::new(&mut ranges);
        for_each(
            x.len().div_ceil(RANGE_TASK),
            x.len().saturating_mul(RANGE_WORK),
            || (),
            |(), task| {
                let first = task * RANGE_TASK;
                // SAFETY: every task has its own.
                let own = unsafe { shared.slice(task, 1) };
                own[0] = range(&x[first..x.len().min(first + RANGE_TASK)]);
            },
        );
        let widest = |(least, greatest): (f32, f32), (low, high): (f32, f32)| (least.min(low), greatest.max(high));
        let (least, greatest) = ranges.into_iter().fold((0.0, 0.0), widest);
        quantization(least, greatest)
    }
}

/// [`dynamic_quantize`] by its definition.
///
/// # Panics
/// When `out` is not as long as `x`.
pub fn dynamic_quantize_reference(x: &[f32], out: &mut [u8]) -> Quantization {
    assert_eq!(out.len(), x.len(), "out is as long as x");
    let least = x.iter().copied().fold(0.0, f32::min);
    let greatest = x.iter().copied().fold(0.0, f32::max);
    let quantization = quantization(least, greatest);
    for (out, x) in out.iter_mut().zip(x) {
        *out = ((x / quantization.scale).round_ties_even() + f32::from(quantization.zero_point)) as u8;
    }
    quantization
}

fn quantization(least: f32, greatest: f32) -> Quantization {
    let scale = if least == greatest { 1.0 } else { (greatest - least) / 255.0 };
    Quantization { scale, zero_point: (-least / scale).clamp(0.0, 255.0).round_ties_even() as u8 }
}

/// The least and the greatest element, or 0 where there is none beyond it.
fn range(x: &[f32]) -> (f32, f32) {
    let (least, greatest, sum) = range_by(x, |lanes| lanes);
    // Otherwise there may be a NaN, of which a comparison leaves either operand.
    if sum.is_finite() {
        return (least, greatest);
    }
    let (least, greatest, _) = range_by(x, F32x4::or_zero);
    (least, greatest)
}

/// [`range`] of what `number` makes of the elements, and their sum.
fn range_by(x: &[f32], number: impl Fn(F32x4) -> F32x4) -> (f32, f32, f32) {
    let zero = F32x4::splat(0.0);
    let (whole, rest) = x.as_chunks::<STEP>();
    let mut ranges = [(zero, zero, zero); STEP / LANES];
    let widen = |range: &mut (F32x4, F32x4, F32x4), lanes: F32x4| {
        let lanes = number(lanes);
        *range = (range.0.min_number(lanes), range.1.max_number(lanes), range.2 + lanes);
    };
    for step in whole {
        ranges.iter_mut().zip(step.as_chunks().0).for_each(|(range, lanes)| widen(range, F32x4::load(lanes)));
    }
    for lanes in rest.chunks(LANES) {
        widen(&mut ranges[0], F32x4::load_partial(lanes));
    }
    let joined = |all: (F32x4, F32x4, F32x4), one: (F32x4, F32x4, F32x4)| {
        (all.0.min_number(one.0), all.1.max_number(one.1), all.2 + one.2)
    };
    let (least, greatest, sum) = ranges.into_iter().fold((zero, zero, zero), joined);
    let greatest = greatest.to_array().into_iter().fold(0.0, f32::max);
    (least.to_array().into_iter().fold(0.0, f32::min), greatest, sum.sum())
}

/// `saturate(round(x / scale) + zero_point)`, ties to even; 0 for NaN.
pub(super) fn quantize(x: &[f32], quantization: Quantization, out: &mut [u8]) {
    assert_eq!(out.len(), x.len(), "out is as long as x");
    let quantizer = Quantizer::new(quantization);
    let (whole, rest) = x.as_chunks::<STEP>();
    let (whole_out, rest_out) = out.as_chunks_mut::<STEP>();
    for (x, out) in whole.iter().zip(whole_out) {
        *out = quantizer.step(x);
    }
    let mut last = [0.0; STEP];
    last[..rest.len()].copy_from_slice(rest);
    rest_out.copy_from_slice(&quantizer.step(&last)[..rest.len()]);
}

/// How far from an integer a quotient may be for that to be the nearest of the quotient as it is rounded, too. Both the reciprocal and a
/// product with it are within 2^-24 of what they stand for, as is the quotient: for quotients up to 256 that makes 3 · 2^-16.
const FAR: f32 = 0.5 - 4.0 / 65536.0;

/// What quantises to the range of all elements.
pub(super) struct Quantizer {
    quantization: Quantization,
    reciprocal: F32x4,
    rounder: ByteRounder,
    far: F32x4,
}

impl Quantizer {
    pub(super) fn new(quantization: Quantization) -> Quantizer {
        let reciprocal = F32x4::splat(1.0 / quantization.scale);
        let far = F32x4::load(black_box(&[FAR; LANES]));
        Quantizer { quantization, reciprocal, rounder: ByteRounder::unsigned(quantization.zero_point), far }
    }

    /// Quantises some elements. Those near ties, and what is not finite, are divided, which takes longer; others are never beyond a byte, as
    /// those at the ends of the range are not.
    #[inline(always)]
    pub(super) fn step(&self, x: &[f32; STEP]) -> [u8; STEP] {
        let quotients: [F32x4; STEP / LANES] = from_fn(|lane| F32x4::load(&x.as_chunks().0[lane]) * self.reciprocal);
        let farthest = |far: F32x4, quotient: &F32x4| far.max_magnitude(self.rounder.rest_of(*quotient));
        if quotients.iter().fold(F32x4::splat(0.0), farthest).exceeds(self.far) {
            return self.divide(x);
        }
        self.rounder.round(quotients)
    }

    #[cold]
    #[inline(never)]
    fn divide(&self, x: &[f32; STEP]) -> [u8; STEP] {
        let Quantization { scale, zero_point } = self.quantization;
        x.map(|x| ((x / scale).round_ties_even() + f32::from(zero_point)) as u8)
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::numbers;

    /// Holds the kernel, and its twin, against recorded results, and the kernel against its twin at many sizes.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        // From ONNX Runtime 1.32.
        let recorded: [(&[f32], &[u8], f32, u8); 4] = [
            (&[0., 2., -3., -2.5, 1.34, 0.5], &[153, 255, 0, 26, 221, 179], 0.019607844, 153),
            (&[1., 2.1, 1.3, 2.5], &[102, 214, 133, 255], 0.009803922, 0),
            (&[0., 0.], &[0, 0], 1.0, 0),
            (&[], &[], 1.0, 0),
        ];
        let mut failures = Vec::new();
        for (x, expected, scale, zero_point) in recorded {
            for (name, result) in [("kernel", run(dynamic_quantize, x)), ("twin", run(dynamic_quantize_reference, x))] {
                let fits = result == (expected.to_vec(), Quantization { scale, zero_point });
                failures.extend((!fits).then(|| format!("{name} of {x:?}: {result:?}")));
            }
        }
        // Scale 1, and quotients on, and next to, what lies between two integers.
        for zero_point in [0, 1, 2, 101] {
            let halves = (0..255).map(|at| at as f32 + 0.5 - zero_point as f32);
            let mut x: Vec<f32> = halves.flat_map(|half| [half.next_down(), half, half.next_up()]).collect();
            x.extend([-zero_point as f32, (255 - zero_point) as f32]);
            failures.extend(failure(&x, &format!("ties around a zero point of {zero_point}")));
        }
        // The widest element in every part of a range that threads share.
        for part in 0..5 {
            let mut x = numbers(4 * RANGE_TASK + 100, 1);
            [x[part * RANGE_TASK + 50], x[part * RANGE_TASK + 60]] = [-3.0, 5.0];
            failures.extend(failure(&x, &format!("the widest elements in part {part}")));
        }
        for length in (0..40).chain([100, 1000]) {
            for (scale, shift) in [(1.0, 0.0), (1.0, 3.0), (-1.0, -3.0), (1e30, 0.0), (1e-40, 0.0), (1024.0, 0.5)] {
                let mut x: Vec<f32> = numbers(length, 1).iter().map(|x| x * scale + shift).collect();
                failures.extend(failure(&x, &format!("{length} elements times {scale} plus {shift}")));
                for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                    if let Some(element) = x.get_mut(length / 2) {
                        *element = special;
                    }
                    failures.extend(failure(&x, &format!("{length} elements, one of them {special}")));
                }
            }
        }
        failures
    }

    fn failure(x: &[f32], what: &str) -> Option<String> {
        let [got, expected] = [run(dynamic_quantize, x), run(dynamic_quantize_reference, x)];
        let same = got.0 == expected.0
            && got.1.scale.to_bits() == expected.1.scale.to_bits()
            && got.1.zero_point == expected.1.zero_point;
        (!same).then(|| format!("{what}: {got:?} where {expected:?} is expected"))
    }

    fn run(quantize: fn(&[f32], &mut [u8]) -> Quantization, x: &[f32]) -> (Vec<u8>, Quantization) {
        let mut out = vec![77; x.len()];
        let quantization = quantize(x, &mut out);
        (out, quantization)
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
