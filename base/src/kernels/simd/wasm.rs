//! [`F32x4`] as a `v128` of WebAssembly's `simd128`, with `relaxed-simd` where the build has it.
//!
//! `max` is written as a comparison and a selection of bits: where `relaxed-simd` is on, LLVM 22 turns `f32x4.pmax` into its relaxed
//! form, which may lose a NaN.
#![allow(unsafe_code)]

use core::arch::wasm32::*;
use std::ops::{Add, Div, Mul, Sub};

/// Four f32.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct F32x4(pub(super) v128);

impl F32x4 {
    /// The same value in every lane.
    #[inline(always)]
    pub(in crate::kernels) fn splat(value: f32) -> F32x4 {
        F32x4(f32x4_splat(value))
    }

    /// Reads four elements.
    #[inline(always)]
    pub(in crate::kernels) fn load(values: &[f32; 4]) -> F32x4 {
        // SAFETY: the reference covers the 16 bytes read, and `v128_load` asks for no alignment.
        F32x4(unsafe { v128_load(values.as_ptr().cast()) })
    }

    /// Eight signed bytes as numbers.
    #[inline(always)]
    pub(in crate::kernels) fn pair_from_i8(bytes: &[i8; 8]) -> [F32x4; 2] {
        // SAFETY: the reference covers the 8 bytes read, and the instruction asks for no alignment.
        let words = unsafe { i16x8_load_extend_i8x8(bytes.as_ptr()) };
        [
            F32x4(f32x4_convert_i32x4(i32x4_extend_low_i16x8(words))),
            F32x4(f32x4_convert_i32x4(i32x4_extend_high_i16x8(words))),
        ]
    }

    /// Lane-wise absolute value.
    #[inline(always)]
    pub(in crate::kernels) fn abs(self) -> F32x4 {
        F32x4(f32x4_abs(self.0))
    }

    /// Writes four elements.
    #[inline(always)]
    pub(in crate::kernels) fn store(self, values: &mut [f32; 4]) {
        // SAFETY: the reference covers the 16 bytes written, and `v128_store` asks for no alignment.
        unsafe { v128_store(values.as_mut_ptr().cast(), self.0) }
    }

    /// The lanes.
    #[inline(always)]
    pub(in crate::kernels) fn to_array(self) -> [f32; 4] {
        let mut lanes = [0.0; 4];
        self.store(&mut lanes);
        lanes
    }

    /// Sum of the lanes: of the first and the third, and of the others.
    #[inline(always)]
    pub(in crate::kernels) fn sum(self) -> f32 {
        let halves = f32x4_add(self.0, i64x2_shuffle::<1, 0>(self.0, self.0));
        f32x4_extract_lane::<0>(f32x4_add(halves, i32x4_shuffle::<1, 0, 3, 2>(halves, halves)))
    }

    /// Largest lane. A NaN may be passed over.
    #[inline(always)]
    pub(in crate::kernels) fn largest(self) -> f32 {
        let halves = f32x4_pmax(self.0, i64x2_shuffle::<1, 0>(self.0, self.0));
        f32x4_extract_lane::<0>(f32x4_pmax(halves, i32x4_shuffle::<1, 0, 3, 2>(halves, halves)))
    }

    /// `self · factor + addend`, rounded once or twice.
    #[inline(always)]
    pub(in crate::kernels) fn mul_add(self, factor: F32x4, addend: F32x4) -> F32x4 {
        #[cfg(target_feature = "relaxed-simd")]
        return F32x4(f32x4_relaxed_madd(self.0, factor.0, addend.0));
        #[cfg(not(target_feature = "relaxed-simd"))]
        return self * factor + addend;
    }

    /// The larger of both; `self` where either is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn max(self, other: F32x4) -> F32x4 {
        F32x4(v128_bitselect(other.0, self.0, f32x4_gt(other.0, self.0)))
    }

    /// The larger of two numbers; either where one is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn max_number(self, other: F32x4) -> F32x4 {
        F32x4(f32x4_pmax(self.0, other.0))
    }

    /// The smaller of two numbers; either where one is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn min_number(self, other: F32x4) -> F32x4 {
        F32x4(f32x4_pmin(self.0, other.0))
    }

    /// 0 in the lanes that are NaN.
    #[inline(always)]
    pub(in crate::kernels) fn or_zero(self) -> F32x4 {
        F32x4(v128_and(self.0, f32x4_eq(self.0, self.0)))
    }

    /// The larger of `self`, which is not negative, and the magnitude of `other`; NaN where either is.
    #[inline(always)]
    pub(in crate::kernels) fn max_magnitude(self, other: F32x4) -> F32x4 {
        // The bits of what is not negative are in the order of what they stand for, and NaN's come last.
        F32x4(i32x4_max(self.0, f32x4_abs(other.0)))
    }

    /// The largest of the lanes, none of which is negative; NaN where there is one.
    #[inline(always)]
    pub(in crate::kernels) fn largest_magnitude(self) -> f32 {
        let halves = i32x4_max(self.0, i64x2_shuffle::<1, 0>(self.0, self.0));
        f32x4_extract_lane::<0>(i32x4_max(halves, i32x4_shuffle::<1, 0, 3, 2>(halves, halves)))
    }

    /// Whether a lane, none of which is negative, is above that of `limit`, or NaN.
    #[inline(always)]
    pub(in crate::kernels) fn exceeds(self, limit: F32x4) -> bool {
        v128_any_true(i32x4_gt(self.0, limit.0))
    }

    /// 0 in the lanes where `reference < limit`, `self` in the others and where either is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn zero_below(self, reference: F32x4, limit: F32x4) -> F32x4 {
        F32x4(v128_andnot(self.0, f32x4_lt(reference.0, limit.0)))
    }

    /// `then` in the lanes where `self >= limit`, `otherwise` in the others and where either is NaN.
    #[inline(always)]
    pub(in crate::kernels) fn select_at_least(self, limit: F32x4, then: F32x4, otherwise: F32x4) -> F32x4 {
        F32x4(v128_bitselect(then.0, otherwise.0, f32x4_ge(self.0, limit.0)))
    }

    /// The magnitude of `self` with the sign of `sign`.
    #[inline(always)]
    pub(in crate::kernels) fn copysign(self, sign: F32x4) -> F32x4 {
        F32x4(v128_bitselect(sign.0, self.0, f32x4_splat(-0.0)))
    }

    /// 2 to the power of n, from -126 to 127, for lanes that hold [`EXPONENT_ROUNDER`](super::EXPONENT_ROUNDER) + n. Lanes of other
    /// numbers hold anything.
    #[inline(always)]
    pub(in crate::kernels) fn power_of_two(self) -> F32x4 {
        F32x4(i32x4_shl(self.0, 23))
    }

    /// Column `n` of the rows becomes row `n`.
    #[inline(always)]
    pub(in crate::kernels) fn transpose(rows: [F32x4; 4]) -> [F32x4; 4] {
        let [a, b, c, d] = rows.map(|row| row.0);
        let (ab, cd) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<0, 4, 1, 5>(c, d));
        let (ab_high, cd_high) = (i32x4_shuffle::<2, 6, 3, 7>(a, b), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        [
            F32x4(i64x2_shuffle::<0, 2>(ab, cd)),
            F32x4(i64x2_shuffle::<1, 3>(ab, cd)),
            F32x4(i64x2_shuffle::<0, 2>(ab_high, cd_high)),
            F32x4(i64x2_shuffle::<1, 3>(ab_high, cd_high)),
        ]
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $instruction:ident;)*) => {
        $(impl $trait for F32x4 {
            type Output = F32x4;
            #[inline(always)]
            fn $method(self, other: F32x4) -> F32x4 {
                F32x4($instruction(self.0, other.0))
            }
        })*
    };
}

operators! { Add add f32x4_add; Sub sub f32x4_sub; Mul mul f32x4_mul; Div div f32x4_div; }
