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

/// Vectors of integers, for products of 8-bit ones.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[path = "bytes_array.rs"]
pub(super) mod bytes;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "bytes_wasm.rs"]
pub(super) mod bytes;

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

/// The words of machines on which these hold two 16-bit integers.
#[cfg(not(all(target_arch = "wasm32", target_feature = "relaxed-simd")))]
mod pairs {
    pub(in crate::kernels) const WORDS: usize = 4;

    /// 16 bits do not hold sums of products of 16 bits.
    pub(in crate::kernels) type NarrowSums = super::bytes::I32x4;

    #[inline(always)]
    pub(in crate::kernels) fn words(activations: [i8; 8]) -> [u32; WORDS] {
        let [a, b, c, d, e, f, g, h] = activations.map(|value| u32::from(i16::from(value) as u16));
        [a | c << 16, b | d << 16, e | g << 16, f | h << 16]
    }
}

/// Sums of products with [`nibbles`], four outputs in the lanes.
pub(super) trait ProductSums: Copy {
    /// The start whose halves count with the products of words' first and last two bytes, or with those of all.
    fn start(halves: [i32; 2]) -> u32;

    /// The same start for each output.
    fn begin(start: u32) -> Self;

    /// Adds to each lane the products of the word's activations with that lane's part of the operand. Between
    /// [`ProductSums::begin`] and [`ProductSums::total`] at most [`RUN`] words.
    fn add_products(self, word: u32, operand: nibbles::Operand) -> Self;

    fn total(self) -> bytes::I32x4;
}

/// Words of 32 inputs. Where these are eight, after as many 16 bits might not hold the sums of their products: 2 · 128 · 15 · 8 < 2^15;
/// elsewhere there are no sums of 16 bits.
pub(super) const RUN: usize = 4 * nibbles::WORDS;

impl ProductSums for bytes::I32x4 {
    #[inline(always)]
    fn start(halves: [i32; 2]) -> u32 {
        (halves[0] + halves[1]) as u32
    }

    #[inline(always)]
    fn begin(start: u32) -> Self {
        Self::splat(start as i32)
    }

    #[inline(always)]
    fn add_products(self, word: u32, operand: nibbles::Operand) -> Self {
        bytes::I32x4::add_products(self, word, operand)
    }

    #[inline(always)]
    fn total(self) -> Self {
        self
    }
}

pub(super) use lanes::F32x4;
use std::array::from_fn;

impl bytes::I32x4 {
    /// The lanes.
    #[inline(always)]
    pub(super) fn to_array(self) -> [i32; 4] {
        let mut lanes = [0; 4];
        self.store(&mut lanes);
        lanes
    }
}

/// Added to a number below 2^22 it leaves no bits for a fraction: the sum is rounded to an integer, ties to even.
pub(super) const ROUNDER: f32 = 12_582_912.0;

/// As [`ROUNDER`]; the last bits of a sum with n are n + 127, the exponent of 2^n.
const EXPONENT_ROUNDER: f32 = ROUNDER + 127.0;

/// Lanes of an [`F32x4`].
pub(super) const LANES: usize = 4;

impl F32x4 {
    /// The first four elements of `values`, filled up with 0 where there are fewer.
    #[inline(always)]
    pub(super) fn load_partial(values: &[f32]) -> F32x4 {
        F32x4::load(&from_fn(|lane| values.get(lane).copied().unwrap_or(0.0)))
    }

    /// The value of the polynomial with these coefficients, at least one, the constant one first. It is a polynomial of the
    /// square whose coefficients are linear: so half as many operations wait for each other as in Horner's scheme.
    #[inline(always)]
    pub(super) fn polynomial<const COUNT: usize>(self, coefficients: [F32x4; COUNT]) -> F32x4 {
        let [value] = polynomials_by(F32x4::mul_add, [self], coefficients);
        value
    }
}

/// [`F32x4::polynomial`] of several vectors, which go from step to step together: each coefficient is read once for all of them.
#[inline(always)]
pub(super) fn polynomials<const VECTORS: usize, const COUNT: usize>(
    x: [F32x4; VECTORS],
    coefficients: [F32x4; COUNT],
) -> [F32x4; VECTORS] {
    polynomials_by(F32x4::mul_add, x, coefficients)
}

/// [`polynomials`] where every product is rounded: the same on every machine.
#[inline(always)]
pub(super) fn rounded_polynomials<const VECTORS: usize, const COUNT: usize>(
    x: [F32x4; VECTORS],
    coefficients: [F32x4; COUNT],
) -> [F32x4; VECTORS] {
    polynomials_by(|value, factor, addend| value * factor + addend, x, coefficients)
}

#[inline(always)]
fn polynomials_by<const VECTORS: usize, const COUNT: usize>(
    multiply_add: impl Fn(F32x4, F32x4, F32x4) -> F32x4,
    x: [F32x4; VECTORS],
    coefficients: [F32x4; COUNT],
) -> [F32x4; VECTORS] {
    let squares = x.map(|x| x * x);
    let pairs = |index: usize| x.map(|x| multiply_add(x, coefficients[2 * index + 1], coefficients[2 * index]));
    let highest = (COUNT - 1) / 2;
    let mut values = if COUNT % 2 == 1 { [coefficients[COUNT - 1]; VECTORS] } else { pairs(highest) };
    for index in (0..highest).rev() {
        let pairs = pairs(index);
        values = from_fn(|vector| multiply_add(values[vector], squares[vector], pairs[vector]));
    }
    values
}

/// Numbers that every turn of a loop uses in all lanes. They are read from memory: a vector written into the code is put
/// together by several instructions wherever V8 uses it, which costs more than the arithmetic. They lie there in all lanes, because
/// to spread a number while it reads it takes V8 an instruction more.
#[derive(Clone, Copy)]
pub(super) struct Constants<const COUNT: usize>(&'static [[f32; LANES]; COUNT]);

/// Each number in all lanes.
pub(super) const fn in_all_lanes<const COUNT: usize>(numbers: [f32; COUNT]) -> [[f32; LANES]; COUNT] {
    let mut vectors = [[0.0; LANES]; COUNT];
    let mut index = 0;
    while index < COUNT {
        vectors[index] = [numbers[index]; LANES];
        index += 1;
    }
    vectors
}

impl<const COUNT: usize> Constants<COUNT> {
    /// To be called outside the loop.
    #[inline(always)]
    pub(super) fn new(vectors: &'static [[f32; LANES]; COUNT]) -> Constants<COUNT> {
        Constants(std::hint::black_box(vectors))
    }

    /// One of them in all lanes.
    #[inline(always)]
    pub(super) fn splat(&self, index: usize) -> F32x4 {
        F32x4::load(&self.0[index])
    }

    /// Some of them, from number `first` on.
    #[inline(always)]
    pub(super) fn splat_from<const PART: usize>(&self, first: usize) -> [F32x4; PART] {
        from_fn(|index| self.splat(first + index))
    }
}

/// The exponential function.
///
/// With x = n·ln 2 + r and n integral, e^x = 2^n · e^r, where |r| ≤ ln 2 / 2 and e^r is a polynomial of degree 6 (minimax
/// fit, relative error 3.3e-9). ln 2 is split into two parts, so that n·ln 2 loses nothing.
#[derive(Clone, Copy)]
pub(super) struct Exp(Constants<13>);

impl Exp {
    /// To be called outside the loop.
    #[inline(always)]
    pub(super) fn new() -> Exp {
        const NUMBERS: [[f32; LANES]; 13] = in_all_lanes([
            std::f32::consts::LOG2_E,
            EXPONENT_ROUNDER,
            -0.693_359_4,
            2.121_944_4e-4,
            0.499_999_94,
            0.166_665_15,
            0.041_668_456,
            0.008_369_419,
            0.001_381_314_6,
            1.0,
            -86.0,
            88.0,
            f32::INFINITY,
        ]);
        Exp(Constants::new(&NUMBERS))
    }

    /// Lane-wise e to the power of x, within 2 units in the last place; 0 below -86, infinite from 88 on, NaN for NaN.
    #[inline(always)]
    pub(super) fn of(&self, x: F32x4) -> F32x4 {
        let rounded = x.mul_add(self.0.splat(0), self.0.splat(1));
        let power = rounded - self.0.splat(1);
        let rest = power.mul_add(self.0.splat(2), x);
        let rest = power.mul_add(self.0.splat(3), rest);
        let curve = rest.polynomial(self.0.splat_from::<5>(4));
        let mantissa = (rest * rest).mul_add(curve, rest) + self.one();
        let power = (mantissa * rounded.power_of_two()).zero_below(x, self.0.splat(10));
        x.select_at_least(self.0.splat(11), self.0.splat(12), power)
    }

    /// 1 in all lanes.
    #[inline(always)]
    pub(super) fn one(&self) -> F32x4 {
        self.0.splat(9)
    }
}

/// e to the power of what is not above 0, with fewer operations than [`Exp`]: the weights of a softmax.
///
/// With x · log2 e = n + r and n integral, e^x = 2^n · 2^r, where |r| ≤ 1/2 and 2^r is a polynomial of degree 5 (minimax fit, relative
/// error 1.1e-7).
#[derive(Clone, Copy)]
pub(super) struct NegativePowers(Constants<9>);

impl NegativePowers {
    /// To be called outside the loop.
    #[inline(always)]
    pub(super) fn new() -> NegativePowers {
        const NUMBERS: [[f32; LANES]; 9] = in_all_lanes([
            std::f32::consts::LOG2_E,
            EXPONENT_ROUNDER,
            -86.0,
            1.0,
            std::f32::consts::LN_2,
            0.240_222_81,
            0.055_505_585,
            0.009_669_697,
            0.001_330_058_9,
        ]);
        NegativePowers(Constants::new(&NUMBERS))
    }

    /// Lane-wise e to the power of x, within (2 + |x|) units in the last place; 1 for 0, 0 below -86, NaN for NaN. Vectors go from step to
    /// step together: each number is read once for all of them.
    #[inline(always)]
    pub(super) fn of<const COUNT: usize>(&self, x: [F32x4; COUNT]) -> [F32x4; COUNT] {
        let (log2_e, rounder) = (self.0.splat(0), self.0.splat(1));
        let rounded = x.map(|x| x.mul_add(log2_e, rounder));
        let rest: [F32x4; COUNT] = from_fn(|index| x[index].mul_add(log2_e, rounder - rounded[index]));
        let coefficients = self.0.splat_from::<6>(3);
        let mantissas = polynomials(rest, coefficients);
        let limit = self.0.splat(2);
        from_fn(|index| (mantissas[index] * rounded[index].power_of_two()).zero_below(x[index], limit))
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
        let last = function(F32x4::load_partial(rest)).to_array();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// As [`map_in_place`], of two vectors at a time as far as there are two.
#[inline(always)]
pub(super) fn map_pairs_in_place<F: MapVectors>(values: &mut [f32], function: F) {
    let (pairs, rest) = values.as_chunks_mut::<{ 2 * LANES }>();
    for pair in pairs {
        let (pair, _) = pair.as_chunks_mut::<LANES>();
        let mapped = function.map([F32x4::load(&pair[0]), F32x4::load(&pair[1])]);
        pair.iter_mut().zip(mapped).for_each(|(lanes, mapped)| mapped.store(lanes));
    }
    map_in_place(rest, |x| function.map([x])[0]);
}

/// A function of vectors that go from step to step together: what is needed in a step is read once for all of them.
pub(super) trait MapVectors {
    fn map<const VECTORS: usize>(&self, x: [F32x4; VECTORS]) -> [F32x4; VECTORS];
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
        let last = function(F32x4::load_partial(rest), F32x4::load_partial(other_rest)).to_array();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Writes `function(left element, right element)` for every element, four at a time.
///
/// # Panics
/// When the slices differ in length.
#[inline(always)]
pub(super) fn zip_into(out: &mut [f32], left: &[f32], right: &[f32], function: impl Fn(F32x4, F32x4) -> F32x4) {
    assert_eq!([left.len(), right.len()], [out.len(); 2]);
    let (out, out_rest) = out.as_chunks_mut::<LANES>();
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    for (out, (left, right)) in out.iter_mut().zip(left.iter().zip(right)) {
        function(F32x4::load(left), F32x4::load(right)).store(out);
    }
    if !out_rest.is_empty() {
        let last = function(F32x4::load_partial(left_rest), F32x4::load_partial(right_rest)).to_array();
        out_rest.iter_mut().zip(last).for_each(|(out, last)| *out = last);
    }
}

/// As [`map_in_place`]. Gives the largest value; minus infinity where there is none. A NaN may be passed over.
#[inline(always)]
pub(super) fn largest_of_mapped(values: &mut [f32], function: impl Fn(F32x4) -> F32x4) -> f32 {
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    let mut largest = F32x4::splat(f32::NEG_INFINITY);
    for lanes in whole {
        let mapped = function(F32x4::load(lanes));
        mapped.store(lanes);
        largest = largest.max_number(mapped);
    }
    map_in_place(rest, function);
    rest.iter().copied().fold(largest.largest(), f32::max)
}

/// As [`zip_in_place`]. Gives the largest value; minus infinity where there is none. A NaN may be passed over.
///
/// # Panics
/// When the slices differ in length.
#[inline(always)]
pub(super) fn largest_of_zipped(values: &mut [f32], others: &[f32], function: impl Fn(F32x4, F32x4) -> F32x4) -> f32 {
    assert_eq!(values.len(), others.len());
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    let (other_whole, other_rest) = others.as_chunks::<LANES>();
    let mut largest = F32x4::splat(f32::NEG_INFINITY);
    for (lanes, other) in whole.iter_mut().zip(other_whole) {
        let zipped = function(F32x4::load(lanes), F32x4::load(other));
        zipped.store(lanes);
        largest = largest.max_number(zipped);
    }
    zip_in_place(rest, other_rest, function);
    rest.iter().copied().fold(largest.largest(), f32::max)
}

/// As [`map_in_place`]. Gives the sum of the values.
#[inline(always)]
pub(super) fn sum_of_mapped(values: &mut [f32], function: impl Fn(F32x4) -> F32x4) -> f32 {
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    let mut total = F32x4::splat(0.0);
    for lanes in whole {
        let mapped = function(F32x4::load(lanes));
        mapped.store(lanes);
        total = total + mapped;
    }
    map_in_place(rest, function);
    rest.iter().fold(total.sum(), |total, value| total + value)
}

/// Sum of `function(element)` over all elements.
#[inline(always)]
pub(super) fn sum_of(values: &[f32], function: impl Fn(F32x4) -> F32x4) -> f32 {
    // Several sums, so that an addition need not wait for the one before it.
    let (blocks, rest) = values.as_chunks::<{ 4 * LANES }>();
    let mut totals = [F32x4::splat(0.0); 4];
    for block in blocks {
        for (total, lanes) in totals.iter_mut().zip(block.as_chunks::<LANES>().0) {
            *total = *total + function(F32x4::load(lanes));
        }
    }
    let (whole, rest) = rest.as_chunks::<LANES>();
    for lanes in whole {
        totals[0] = totals[0] + function(F32x4::load(lanes));
    }
    let total = (totals[0] + totals[1]) + (totals[2] + totals[3]);
    if rest.is_empty() {
        return total.sum();
    }
    let last = function(F32x4::load_partial(rest)).to_array();
    last[..rest.len()].iter().fold(total.sum(), |total, value| total + value)
}

/// Largest element; minus infinity where there is none. A NaN may be passed over.
#[inline(always)]
pub(super) fn largest_of(values: &[f32]) -> f32 {
    // Several, so that a comparison need not wait for the one before it.
    let (blocks, rest) = values.as_chunks::<{ 4 * LANES }>();
    let mut largest = [F32x4::splat(f32::NEG_INFINITY); 4];
    for block in blocks {
        for (largest, lanes) in largest.iter_mut().zip(block.as_chunks::<LANES>().0) {
            *largest = largest.max_number(F32x4::load(lanes));
        }
    }
    let (whole, rest) = rest.as_chunks::<LANES>();
    for lanes in whole {
        largest[0] = largest[0].max_number(F32x4::load(lanes));
    }
    let largest = largest[0].max_number(largest[1]).max_number(largest[2].max_number(largest[3])).largest();
    rest.iter().copied().fold(largest, f32::max)
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds every operation against scalar arithmetic, at every length around a vector's.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures: Vec<String> =
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 23, 45].into_iter().flat_map(failures_of_length).collect();
        failures.extend(failures_of_nan());
        failures.extend(failures_of_exp());
        failures.extend(failures_of_negative_powers());
        failures.extend(failures_of_transposing());
        failures
    }

    struct Halves;

    impl MapVectors for Halves {
        fn map<const VECTORS: usize>(&self, x: [F32x4; VECTORS]) -> [F32x4; VECTORS] {
            x.map(|x| x * F32x4::splat(0.5))
        }
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
        unary(
            "power of two",
            |x| (x * F32x4::splat(126.0) + F32x4::splat(EXPONENT_ROUNDER)).power_of_two(),
            |x| 2f32.powi((x * 126.0).round_ties_even() as i32),
        );
        unary("polynomial", |x| x.polynomial([0.5, 0.0, 1.0].map(F32x4::splat)), |x| x * x + 0.5);
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
        binary("max of magnitudes", |a, b| a.abs().max_magnitude(b), |a, b| a.abs().max(b.abs()));
        binary("max of numbers", F32x4::max_number, f32::max);
        binary("min of numbers", F32x4::min_number, f32::min);
        binary("zero below", |a, b| a.zero_below(a, b), |a, b| if a < b { 0.0 } else { a });
        binary("copysign", F32x4::copysign, f32::copysign);
        // Numbers of the tables are multiples of 1/1024 below 1: products and sums are exact, in whatever order.
        binary("mul_add", |a, b| a.mul_add(b, a), |a, b| a * b + a);
        let mut written = vec![f32::NAN; len];
        zip_into(&mut written, &left, &right, |a, b| a - b);
        let expected: Vec<f32> = left.iter().zip(&right).map(|(a, b)| a - b).collect();
        failures.extend(difference(format!("writing, {len} elements"), &written, &expected, 0.0));
        let half = F32x4::splat(0.5);
        let [mut mapped, mut in_pairs, mut zipped, mut summed] = from_fn(|_| left.clone());
        map_pairs_in_place(&mut in_pairs, Halves);
        let totals = [
            largest_of_mapped(&mut mapped, |x| x * half),
            largest_of_zipped(&mut zipped, &right, |a, b| a + b),
            sum_of_mapped(&mut summed, |x| x * half),
        ];
        let halves: Vec<f32> = left.iter().map(|x| x / 2.0).collect();
        let sums: Vec<f32> = left.iter().zip(&right).map(|(a, b)| a + b).collect();
        let largest_in = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let expected = [largest_in(&halves), largest_in(&sums), halves.iter().sum()];
        failures.extend(difference(format!("totals, {len} elements"), &totals, &expected, 0.0));
        for (got, expected) in [(mapped, &halves), (in_pairs, &halves), (zipped, &sums), (summed, &halves)] {
            failures.extend(difference(format!("values with totals, {len} elements"), &got, expected, 0.0));
        }
        let sum = sum_of(&left, |x| x * x);
        let largest = largest_of(&left);
        let expected = [left.iter().map(|x| x * x).sum(), left.iter().copied().fold(f32::NEG_INFINITY, f32::max)];
        failures.extend(difference(format!("sum and largest, {len} elements"), &[sum, largest], &expected, 0.0));
        failures
    }

    /// Of `max` with NaN on the left and on the right, of a selection by NaN, and of what puts 0 for NaN alone.
    fn failures_of_nan() -> Option<String> {
        let (nan, one, two) = (F32x4::splat(f32::NAN), F32x4::splat(1.0), F32x4::splat(2.0));
        let results = [nan.max(one), one.max(nan), nan.select_at_least(one, one, two), nan.or_zero(), two.or_zero()];
        let expected = [f32::NAN, 1.0, 2.0, 0.0, 2.0];
        difference("NaN", &results.map(|lanes| lanes.to_array()[0]), &expected, 0.0)
    }

    fn failures_of_exp() -> Vec<String> {
        let exp = |x: f32| Exp::new().of(F32x4::splat(x)).to_array()[0];
        let special = [f32::NEG_INFINITY, f32::MIN, -86.5, -0.0, 0.0, 88.0, 89.0, f32::MAX, f32::INFINITY, f32::NAN];
        let infinite = f32::INFINITY;
        let expected = [0.0, 0.0, 0.0, 1.0, 1.0, infinite, infinite, infinite, infinite, f32::NAN];
        let mut failures = Vec::from_iter(difference("exp", &special.map(exp), &expected, 0.0));
        let points = (-8600..8800).map(|index| index as f32 / 100.0);
        let wrong =
            points.map(|x| (x, f64::from(exp(x)) / f64::from(x).exp())).find(|(_, ratio)| (ratio - 1.0).abs() > 2.4e-7);
        failures.extend(wrong.map(|(x, ratio)| format!("exp({x}) is {ratio} times what is expected")));
        failures
    }

    fn failures_of_negative_powers() -> Vec<String> {
        let power = |x: f32| NegativePowers::new().of([F32x4::splat(x)])[0].to_array()[0];
        // A NaN whose lower bits would change the exponent.
        let special = [f32::NEG_INFINITY, f32::MIN, -87.0, -0.0, 0.0, f32::NAN, f32::from_bits(0x7fc0_01ff)];
        let expected = [0.0, 0.0, 0.0, 1.0, 1.0, f32::NAN, f32::NAN];
        let mut failures = Vec::from_iter(difference("negative powers", &special.map(power), &expected, 0.0));
        let points = (-8600..=0).map(|index| index as f32 / 100.0);
        let error = |x: f32| (f64::from(power(x)) / f64::from(x).exp() - 1.0).abs();
        let wrong = points.map(|x| (x, error(x))).find(|(x, error)| *error > 1.2e-7 * f64::from(2.0 + x.abs()));
        failures.extend(wrong.map(|(x, error)| format!("e^{x} is wrong by {error} of it")));
        failures
    }

    fn failures_of_transposing() -> Option<String> {
        let rows = numbers(16, 1);
        let columns = F32x4::transpose(from_fn(|row| F32x4::load_partial(&rows[4 * row..])));
        let expected: Vec<f32> = (0..16).map(|at| rows[at % 4 * 4 + at / 4]).collect();
        difference("transposing", columns.map(F32x4::to_array).as_flattened(), &expected, 0.0)
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
