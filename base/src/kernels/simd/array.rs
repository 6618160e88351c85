//! [`F32x4`] as an array, for every target without WebAssembly's vectors.

use std::array::from_fn;
use std::ops::{Add, Div, Mul, Sub};

/// Four f32.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
pub(in crate::kernels) struct F32x4(pub(super) [f32; 4]);

impl F32x4 {
    /// The same value in every lane.
    #[inline(always)]
    pub(in crate::kernels) fn splat(value: f32) -> F32x4 {
        F32x4([value; 4])
    }

    /// Reads four elements.
    #[inline(always)]
    pub(in crate::kernels) fn load(values: &[f32; 4]) -> F32x4 {
        F32x4(*values)
    }

    /// Eight signed bytes as numbers.
    #[inline(always)]
    pub(in crate::kernels) fn pair_from_i8(bytes: &[i8; 8]) -> [F32x4; 2] {
        from_fn(|half| F32x4(from_fn(|lane| f32::from(bytes[4 * half + lane]))))
    }

    /// Lane-wise absolute value.
    #[inline(always)]
    pub(in crate::kernels) fn abs(self) -> F32x4 {
        F32x4(self.0.map(f32::abs))
    }

    /// Writes four elements.
    #[inline(always)]
    pub(in crate::kernels) fn store(self, values: &mut [f32; 4]) {
        *values = self.0;
    }

    /// The lanes.
    #[inline(always)]
    pub(in crate::kernels) fn to_array(self) -> [f32; 4] {
        self.0
    }

    /// Sum of the lanes: of the first and the third, and of the others.
    #[inline(always)]
    pub(in crate::kernels) fn sum(self) -> f32 {
        let [a, b, c, d] = self.0;
        (a + c) + (b + d)
    }

    /// Largest lane. A NaN may be passed over.
    #[inline(always)]
    pub(in crate::kernels) fn largest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    /// `self · factor + addend`.
    #[inline(always)]
    pub(in crate::kernels) fn mul_add(self, factor: F32x4, addend: F32x4) -> F32x4 {
        self * factor + addend
    }

    /// The larger of both; `self` where either is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn max(self, other: F32x4) -> F32x4 {
        self.zip(other, |a, b| if b > a { b } else { a })
    }

    /// The larger of two numbers; either where one is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn max_number(self, other: F32x4) -> F32x4 {
        self.max(other)
    }

    /// The smaller of two numbers; either where one is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn min_number(self, other: F32x4) -> F32x4 {
        self.zip(other, |a, b| if b < a { b } else { a })
    }

    /// 0 in the lanes that are NaN.
    #[inline(always)]
    pub(in crate::kernels) fn or_zero(self) -> F32x4 {
        F32x4(self.0.map(|lane| if lane.is_nan() { 0.0 } else { lane }))
    }

    /// The larger of `self`, which is not negative, and the magnitude of `other`; NaN where either is.
    #[inline(always)]
    pub(in crate::kernels) fn max_magnitude(self, other: F32x4) -> F32x4 {
        // The bits of what is not negative are in the order of what they stand for, and NaN's come last.
        self.zip(other, |a, b| f32::from_bits(a.to_bits().max(b.abs().to_bits())))
    }

    /// The largest of the lanes, none of which is negative; NaN where there is one.
    #[inline(always)]
    pub(in crate::kernels) fn largest_magnitude(self) -> f32 {
        f32::from_bits(self.0.map(f32::to_bits).into_iter().fold(0, u32::max))
    }

    /// Whether a lane, none of which is negative, is above that of `limit`, or NaN.
    #[inline(always)]
    pub(in crate::kernels) fn exceeds(self, limit: F32x4) -> bool {
        self.0.iter().zip(limit.0).any(|(value, limit)| value.to_bits() > limit.to_bits())
    }

    /// 0 in the lanes where `reference < limit`, `self` in the others and where either is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn zero_below(self, reference: F32x4, limit: F32x4) -> F32x4 {
        F32x4(from_fn(|lane| if reference.0[lane] < limit.0[lane] { 0.0 } else { self.0[lane] }))
    }

    /// `then` in the lanes where `self >= limit`, `otherwise` in the others and where either is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn select_at_least(self, limit: F32x4, then: F32x4, otherwise: F32x4) -> F32x4 {
        F32x4(from_fn(|lane| if self.0[lane] >= limit.0[lane] { then.0[lane] } else { otherwise.0[lane] }))
    }

    /// The magnitude of `self` with the sign of `sign`.
    #[inline(always)]
    pub(in crate::kernels) fn copysign(self, sign: F32x4) -> F32x4 {
        self.zip(sign, f32::copysign)
    }

    /// 2 to the power of n, from -126 to 127, for lanes that hold [`EXPONENT_ROUNDER`](super::EXPONENT_ROUNDER) + n. Lanes of other
    /// numbers hold anything.
    #[inline(always)]
    pub(in crate::kernels) fn power_of_two(self) -> F32x4 {
        F32x4(self.0.map(|lane| f32::from_bits(lane.to_bits() << 23)))
    }

    /// Column `n` of the rows becomes row `n`.
    #[inline(always)]
    pub(in crate::kernels) fn transpose(rows: [F32x4; 4]) -> [F32x4; 4] {
        from_fn(|column| F32x4(rows.map(|row| row.0[column])))
    }

    #[inline(always)]
    fn zip(self, other: F32x4, function: impl Fn(f32, f32) -> f32) -> F32x4 {
        F32x4(from_fn(|lane| function(self.0[lane], other.0[lane])))
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $operator:tt;)*) => {
        $(impl $trait for F32x4 {
            type Output = F32x4;
            #[inline(always)]
            fn $method(self, other: F32x4) -> F32x4 {
                self.zip(other, |a, b| a $operator b)
            }
        })*
    };
}

operators! { Add add +; Sub sub -; Mul mul *; Div div /; }
