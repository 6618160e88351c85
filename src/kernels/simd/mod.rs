//! [`F32x4`]: four f32 at once, written once for every target.
//!
//! With WebAssembly's `simd128` a vector is one `v128`; with `relaxed-simd` besides, [`F32x4::mul_add`] is one
//! instruction that rounds once or twice, as the machine likes. Everywhere else a vector is an array, which the compiler
//! turns into the machine's own vectors.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[path = "array.rs"]
mod lanes;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "wasm.rs"]
mod lanes;

/// Exact products of signed 8-bit activations with 4-bit integers from 0 to 15, of one output in each lane.
///
/// A group of eight inputs of four outputs is four words, one for each output: byte j of it holds input j in its low half and
/// input j + 4 in its high one. `operands` spreads a group out and `words` arranges the activations of its inputs, so that
/// adding the products of word and operand number `0..WORDS` makes the sums over the group. What a word holds depends
/// on the machine's instructions; the sums do not.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[path = "nibbles_array.rs"]
pub(super) mod nibbles;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "nibbles_wasm.rs"]
pub(super) mod nibbles;

pub(super) use lanes::F32x4;

/// Lanes of an [`F32x4`].
pub(super) const LANES: usize = 4;

impl F32x4 {
    /// The first four elements of `values`, filled up with `fill` where there are fewer.
    #[inline(always)]
    pub(super) fn load_partial(values: &[f32], fill: f32) -> F32x4 {
        let mut lanes = [fill; LANES];
        let count = values.len().min(LANES);
        lanes[..count].copy_from_slice(&values[..count]);
        F32x4::load(&lanes)
    }

    /// Lane-wise absolute value.
    #[inline(always)]
    pub(super) fn abs(self) -> F32x4 {
        self.max(F32x4::splat(0.0) - self)
    }

    /// Sum of the lanes.
    #[inline(always)]
    pub(super) fn sum(self) -> f32 {
        let [a, b, c, d] = self.to_array();
        (a + c) + (b + d)
    }

    /// Largest lane. A NaN may be passed over.
    #[inline(always)]
    pub(super) fn largest(self) -> f32 {
        self.to_array().into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    /// The value of the polynomial with these coefficients, the constant one first.
    #[inline(always)]
    pub(super) fn polynomial<const COUNT: usize>(self, coefficients: [f32; COUNT]) -> F32x4 {
        let mut value = F32x4::splat(0.0);
        for (index, coefficient) in coefficients.into_iter().rev().enumerate() {
            let coefficient = F32x4::splat(coefficient);
            value = if index == 0 { coefficient } else { value.mul_add(self, coefficient) };
        }
        value
    }

    /// Lane-wise e to the power of `self`, within 2 units in the last place; 0 for minus infinity, NaN for NaN.
    ///
    /// With x = n·ln 2 + r and n integral, e^x = 2^n · e^r, where |r| ≤ ln 2 / 2 and e^r is a polynomial of degree 6
    /// (minimax fit, relative error 3.3e-9). ln 2 is split into two parts, so that n·ln 2 loses nothing.
    #[inline(always)]
    pub(super) fn exp(self) -> F32x4 {
        // Beyond these bounds the result is infinite or rounds to zero in any case.
        let x = self.max(F32x4::splat(-104.0)).min(F32x4::splat(89.0));
        // Adding 1.5 · 2^23 leaves no bits for a fraction: the sum is rounded to an integer.
        let rounder = F32x4::splat(12_582_912.0);
        let power = (x * F32x4::splat(std::f32::consts::LOG2_E) + rounder) - rounder;
        let rest = power.mul_add(F32x4::splat(-0.693_359_4), x);
        let rest = power.mul_add(F32x4::splat(2.121_944_4e-4), rest);
        let curve = rest.polynomial([0.499_999_94, 0.166_665_15, 0.041_668_456, 0.008_369_419, 0.001_381_314_6]);
        let mantissa = (rest * rest).mul_add(curve, rest) + F32x4::splat(1.0);
        // 2^n in two factors, since n runs from -150 to 128.
        let half = (power * F32x4::splat(0.5) + rounder) - rounder;
        mantissa * half.power_of_two() * (power - half).power_of_two()
    }
}

/// Applies `function` to every element, four at a time.
#[inline(always)]
pub(super) fn map_in_place(values: &mut [f32], function: impl Fn(F32x4) -> F32x4) {
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    for lanes in whole {
        function(F32x4::load(lanes)).store(lanes);
    }
    if !rest.is_empty() {
        let last = function(F32x4::load_partial(rest, 0.0)).to_array();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Replaces every element by `function(element, other element)`, four at a time.
///
/// # Panics
/// When the slices differ in length.
#[inline(always)]
pub(super) fn zip_in_place(values: &mut [f32], others: &[f32], function: impl Fn(F32x4, F32x4) -> F32x4) {
    assert_eq!(values.len(), others.len());
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    let (other_whole, other_rest) = others.as_chunks::<LANES>();
    for (lanes, other) in whole.iter_mut().zip(other_whole) {
        function(F32x4::load(lanes), F32x4::load(other)).store(lanes);
    }
    if !rest.is_empty() {
        let last = function(F32x4::load_partial(rest, 0.0), F32x4::load_partial(other_rest, 0.0)).to_array();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Sum of `function(element)` over all elements.
#[inline(always)]
pub(super) fn sum_of(values: &[f32], function: impl Fn(F32x4) -> F32x4) -> f32 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let total = whole.iter().fold(F32x4::splat(0.0), |total, lanes| total + function(F32x4::load(lanes)));
    let last = function(F32x4::load_partial(rest, 0.0)).to_array();
    last[..rest.len()].iter().fold(total.sum(), |total, value| total + value)
}

/// Largest element; minus infinity where there is none. A NaN may be passed over.
#[inline(always)]
pub(super) fn largest_of(values: &[f32]) -> f32 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let least = F32x4::splat(f32::NEG_INFINITY);
    let largest = whole.iter().fold(least, |largest, lanes| largest.max(F32x4::load(lanes)));
    largest.max(F32x4::load_partial(rest, f32::NEG_INFINITY)).largest()
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds every operation against scalar arithmetic, at every length around a vector's.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures: Vec<String> = (0..=9).flat_map(failures_of_length).collect();
        failures.extend(failures_of_nan());
        failures.extend(failures_of_exp());
        failures
    }

    fn failures_of_length(len: usize) -> Vec<String> {
        let (left, right) = (numbers(len, 1), numbers(len, 2));
        let mut failures = Vec::new();
        let mut unary = |name: &str, vector: fn(F32x4) -> F32x4, scalar: fn(f32) -> f32| {
            let mut got = left.clone();
            map_in_place(&mut got, vector);
            let expected: Vec<f32> = left.iter().map(|x| scalar(*x)).collect();
            failures.extend(difference(format!("{name}, {len} elements"), &got, &expected, 0.0));
        };
        unary("abs", F32x4::abs, f32::abs);
        unary("power of two", |x| (x * F32x4::splat(0.0) + F32x4::splat(-126.0)).power_of_two(), |_| 2f32.powi(-126));
        unary("polynomial", |x| x.polynomial([0.5, 0.0, 1.0]), |x| x * x + 0.5);
        unary(
            "select",
            |x| x.select_at_least(F32x4::splat(0.25), F32x4::splat(1.0), x),
            |x| if x >= 0.25 { 1.0 } else { x },
        );
        let mut binary = |name: &str, vector: fn(F32x4, F32x4) -> F32x4, scalar: fn(f32, f32) -> f32| {
            let mut got = left.clone();
            zip_in_place(&mut got, &right, vector);
            let expected: Vec<f32> = left.iter().zip(&right).map(|(a, b)| scalar(*a, *b)).collect();
            failures.extend(difference(format!("{name}, {len} elements"), &got, &expected, 0.0));
        };
        binary("add", |a, b| a + b, |a, b| a + b);
        binary("sub", |a, b| a - b, |a, b| a - b);
        binary("mul", |a, b| a * b, |a, b| a * b);
        binary("div", |a, b| a / b, |a, b| a / b);
        binary("max", F32x4::max, f32::max);
        binary("min", F32x4::min, f32::min);
        binary("copysign", F32x4::copysign, f32::copysign);
        // Numbers of the tables are multiples of 1/1024 below 1: products and sums are exact, in whatever order.
        binary("mul_add", |a, b| a.mul_add(b, a), |a, b| a * b + a);
        let sum = sum_of(&left, |x| x * x);
        let largest = largest_of(&left);
        let expected = [left.iter().map(|x| x * x).sum(), left.iter().copied().fold(f32::NEG_INFINITY, f32::max)];
        failures.extend(difference(format!("sum and largest, {len} elements"), &[sum, largest], &expected, 0.0));
        failures
    }

    /// Of `max` and `min` with NaN on the left and on the right, and of a selection by NaN.
    fn failures_of_nan() -> Option<String> {
        let (nan, one, two) = (F32x4::splat(f32::NAN), F32x4::splat(1.0), F32x4::splat(2.0));
        let results = [nan.max(one), nan.min(one), one.max(nan), one.min(nan), nan.select_at_least(one, one, two)];
        let expected = [f32::NAN, f32::NAN, 1.0, 1.0, 2.0];
        difference("NaN", &results.map(|lanes| lanes.to_array()[0]), &expected, 0.0)
    }

    fn failures_of_exp() -> Vec<String> {
        let exp = |x: f32| F32x4::splat(x).exp().to_array()[0];
        let special = [f32::NEG_INFINITY, -200.0, -0.0, 0.0, 89.0, f32::INFINITY, f32::NAN];
        let expected = [0.0, 0.0, 1.0, 1.0, f32::INFINITY, f32::INFINITY, f32::NAN];
        let mut failures = Vec::from_iter(difference("exp", &special.map(exp), &expected, 0.0));
        let points = (-8700..=8850).map(|index| index as f32 / 100.0);
        let wrong =
            points.map(|x| (x, f64::from(exp(x)) / f64::from(x).exp())).find(|(_, ratio)| (ratio - 1.0).abs() > 2.4e-7);
        failures.extend(wrong.map(|(x, ratio)| format!("exp({x}) is {ratio} times what is expected")));
        failures
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
