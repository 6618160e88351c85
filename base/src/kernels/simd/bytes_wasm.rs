//! Vectors of integers as a `v128` of WebAssembly's `simd128`, with `relaxed-simd` where the build has it.
#![allow(unsafe_code)]

use super::{F32x4, ROUNDER};
use core::arch::wasm32::*;
use std::hint::black_box;
use std::ops::{Add, Mul, Sub};

/// Four i32. Results beyond their range wrap.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct I32x4(pub(super) v128);

/// Eight i16. Results beyond their range wrap.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct I16x8(v128);

/// Sixteen bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Bytes16(v128);

impl I32x4 {
    /// The same value in every lane.
    #[inline(always)]
    pub(in crate::kernels) fn splat(value: i32) -> I32x4 {
        I32x4(i32x4_splat(value))
    }

    /// Reads four elements.
    #[inline(always)]
    pub(in crate::kernels) fn load(values: &[i32; 4]) -> I32x4 {
        // SAFETY: the reference covers the 16 bytes read, and `v128_load` asks for no alignment.
        I32x4(unsafe { v128_load(values.as_ptr().cast()) })
    }

    /// Writes four elements.
    #[inline(always)]
    pub(in crate::kernels) fn store(self, values: &mut [i32; 4]) {
        // SAFETY: the reference covers the 16 bytes written, and `v128_store` asks for no alignment.
        unsafe { v128_store(values.as_mut_ptr().cast(), self.0) }
    }

    /// The lanes as f32, rounded to nearest, ties to even.
    #[inline(always)]
    pub(in crate::kernels) fn to_f32(self) -> F32x4 {
        F32x4(f32x4_convert_i32x4(self.0))
    }

    /// The sums of lanes 0 and 1, and 2 and 3, of `self`, then of `other`.
    #[inline(always)]
    pub(in crate::kernels) fn add_neighbours(self, other: I32x4) -> I32x4 {
        let (even, odd) = (i32x4_shuffle::<0, 2, 4, 6>(self.0, other.0), i32x4_shuffle::<1, 3, 5, 7>(self.0, other.0));
        I32x4(i32x4_add(even, odd))
    }
}

impl I16x8 {
    /// Eight signed bytes.
    #[inline(always)]
    pub(in crate::kernels) fn from_i8(bytes: &[i8; 8]) -> I16x8 {
        // SAFETY: the reference covers the 8 bytes read, and the instruction asks for no alignment.
        I16x8(unsafe { i16x8_load_extend_i8x8(bytes.as_ptr()) })
    }

    /// Eight unsigned bytes.
    #[inline(always)]
    pub(in crate::kernels) fn from_u8(bytes: &[u8; 8]) -> I16x8 {
        // SAFETY: the reference covers the 8 bytes read, and the instruction asks for no alignment.
        I16x8(unsafe { i16x8_load_extend_u8x8(bytes.as_ptr()) })
    }

    /// The same value in every lane.
    #[inline(always)]
    pub(in crate::kernels) fn splat(value: i16) -> I16x8 {
        I16x8(i16x8_splat(value))
    }

    /// Reads eight elements.
    #[inline(always)]
    pub(in crate::kernels) fn load(values: &[i16; 8]) -> I16x8 {
        // SAFETY: the reference covers the 16 bytes read, and `v128_load` asks for no alignment.
        I16x8(unsafe { v128_load(values.as_ptr().cast()) })
    }

    /// The lanes.
    #[inline(always)]
    pub(in crate::kernels) fn to_array(self) -> [i16; 8] {
        let mut lanes = [0; 8];
        // SAFETY: the array covers the 16 bytes written, and `v128_store` asks for no alignment.
        unsafe { v128_store(lanes.as_mut_ptr().cast(), self.0) };
        lanes
    }

    /// The same four elements twice.
    #[inline(always)]
    pub(in crate::kernels) fn twice(elements: &[i16; 4]) -> I16x8 {
        // SAFETY: the reference covers the 8 bytes read, and the instruction asks for no alignment.
        I16x8(unsafe { v128_load64_splat(elements.as_ptr().cast()) })
    }

    /// Lane `n` is the sum of the products of lanes `2n` and `2n + 1`.
    #[inline(always)]
    pub(in crate::kernels) fn dot(self, other: I16x8) -> I32x4 {
        I32x4(i32x4_dot_i16x8(self.0, other.0))
    }
}

impl Bytes16 {
    /// Reads sixteen signed bytes.
    #[inline(always)]
    pub(in crate::kernels) fn load(bytes: &[i8; 16]) -> Bytes16 {
        // SAFETY: the reference covers the 16 bytes read, and `v128_load` asks for no alignment.
        Bytes16(unsafe { v128_load(bytes.as_ptr().cast()) })
    }

    /// The same four bytes four times.
    #[inline(always)]
    pub(in crate::kernels) fn four_times(bytes: &[u8; 4]) -> Bytes16 {
        // SAFETY: the reference covers the 4 bytes read, and the instruction asks for no alignment.
        Bytes16(unsafe { v128_load32_splat(bytes.as_ptr().cast()) })
    }

    /// `addend`, and in lane `n` the sum of the products of bytes `4n` to `4n + 3`, signed ones with unsigned ones of
    /// `other`, or with signed ones where `SIGNED`. With `relaxed-simd` the machine decides instead what bytes of `other`
    /// beyond 127 mean, and whether sums of two products saturate or wrap at 16 bits.
    #[inline(always)]
    pub(in crate::kernels) fn dot_add<const SIGNED: bool>(self, other: Bytes16, addend: I32x4) -> I32x4 {
        #[cfg(target_feature = "relaxed-simd")]
        return I32x4(i32x4_relaxed_dot_i8x16_i7x16_add(self.0, other.0, addend.0));
        #[cfg(not(target_feature = "relaxed-simd"))]
        {
            let others = if SIGNED {
                [i16x8_extend_low_i8x16(other.0), i16x8_extend_high_i8x16(other.0)]
            } else {
                [i16x8_extend_low_u8x16(other.0), i16x8_extend_high_u8x16(other.0)]
            };
            let low = I16x8(i16x8_extend_low_i8x16(self.0)).dot(I16x8(others[0]));
            let high = I16x8(i16x8_extend_high_i8x16(self.0)).dot(I16x8(others[1]));
            addend + low.add_neighbours(high)
        }
    }
}

impl Bytes16 {
    /// In lane `n` the sum of the products of bytes `2n` and `2n + 1`, signed ones with unsigned ones of `other`, where it fits. With
    /// `relaxed-simd` the machine decides instead what bytes of `other` beyond 127 mean.
    #[inline(always)]
    pub(in crate::kernels) fn dot_pairs(self, other: Bytes16) -> I16x8 {
        #[cfg(target_feature = "relaxed-simd")]
        return I16x8(i16x8_relaxed_dot_i8x16_i7x16(self.0, other.0));
        #[cfg(not(target_feature = "relaxed-simd"))]
        {
            let low = i32x4_dot_i16x8(i16x8_extend_low_i8x16(self.0), i16x8_extend_low_u8x16(other.0));
            let high = i32x4_dot_i16x8(i16x8_extend_high_i8x16(self.0), i16x8_extend_high_u8x16(other.0));
            I16x8(i16x8_narrow_i32x4(low, high))
        }
    }
}

/// The sums of the first two, and of the last two, of every four of the bytes.
#[inline(always)]
pub(in crate::kernels) fn sums_of_halves(bytes: &[i8; 16]) -> [i32; 2] {
    // SAFETY: the reference covers the 16 bytes read, and `v128_load` asks for no alignment.
    let pairs = i16x8_extadd_pairwise_i8x16(unsafe { v128_load(bytes.as_ptr().cast()) });
    let pairs = i16x8_add(pairs, i64x2_shuffle::<1, 0>(pairs, pairs));
    let pairs = i16x8_add(pairs, i32x4_shuffle::<1, 0, 3, 2>(pairs, pairs));
    [i16x8_extract_lane::<0>(pairs).into(), i16x8_extract_lane::<1>(pairs).into()]
}

/// What rounds numbers to bytes. It holds vectors that are read from memory: V8 would put them together at each use.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct ByteRounder {
    /// [`ROUNDER`] and what makes bytes of the integers: sums with it end with the byte, behind 16 bits that are always the same and 8 that
    /// are 0.
    rounder: v128,
    /// What else there is where sums meet.
    rest: v128,
    /// The bytes' places where sums have met.
    order: v128,
}

/// [`ByteRounder::rest`] where bytes are unsigned.
const REST: u32 = ROUNDER.to_bits() ^ ROUNDER.to_bits() << 8;

impl ByteRounder {
    /// For signed bytes. To be called outside the loop.
    #[inline(always)]
    pub(in crate::kernels) fn signed() -> ByteRounder {
        // As for unsigned bytes around 128, whose first bit is the other one.
        ByteRounder::new(f32x4_splat(ROUNDER + 128.0), &[REST ^ 0x8080_8080; 4])
    }

    /// For unsigned bytes, to which `zero_point` is added. To be called outside the loop.
    #[inline(always)]
    pub(in crate::kernels) fn unsigned(zero_point: u8) -> ByteRounder {
        ByteRounder::new(f32x4_splat(ROUNDER + f32::from(zero_point)), &[REST; 4])
    }

    #[inline(always)]
    fn new(rounder: v128, rest: &'static [u32; 4]) -> ByteRounder {
        const ORDER: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
        let (rest, order) = (black_box(rest), black_box(&ORDER));
        // SAFETY: the references cover the 16 bytes read, and `v128_load` asks for no alignment.
        let [rest, order] = unsafe { [v128_load(rest.as_ptr().cast()), v128_load(order.as_ptr().cast())] };
        ByteRounder { rounder: black_box(rounder), rest, order }
    }

    /// The lanes, rounded to nearest, and with the zero point a byte; ties are rounded to an even byte. Anything for others.
    #[inline(always)]
    pub(in crate::kernels) fn round(self, values: [F32x4; 4]) -> [u8; 16] {
        // Not by instructions that narrow: LLVM 22 takes what stands for them apart, and does not find it again.
        let [a, b, c, d] = values.map(|lanes| f32x4_add(lanes.0, self.rounder));
        let pairs = [v128_xor(a, i32x4_shl(b, 8)), v128_xor(i32x4_shl(c, 16), i32x4_shl(d, 24))];
        let met = v128_xor(v128_xor(pairs[0], pairs[1]), self.rest);
        #[cfg(target_feature = "relaxed-simd")]
        let bytes = i8x16_relaxed_swizzle(met, self.order);
        #[cfg(not(target_feature = "relaxed-simd"))]
        let bytes = i8x16_swizzle(met, self.order);
        let mut out = [0; 16];
        // SAFETY: the reference covers the 16 bytes written, and `v128_store` asks for no alignment.
        unsafe { v128_store(out.as_mut_ptr().cast(), bytes) }
        out
    }

    /// What the lanes are beyond the integers that they are rounded to.
    #[inline(always)]
    pub(in crate::kernels) fn rest_of(self, lanes: F32x4) -> F32x4 {
        F32x4(f32x4_sub(lanes.0, f32x4_sub(f32x4_add(lanes.0, self.rounder), self.rounder)))
    }
}

macro_rules! operators {
    ($type:ident: $($trait:ident $method:ident $instruction:ident;)*) => {
        $(impl $trait for $type {
            type Output = $type;
            #[inline(always)]
            fn $method(self, other: $type) -> $type {
                $type($instruction(self.0, other.0))
            }
        })*
    };
}

operators! { I32x4: Add add i32x4_add; Sub sub i32x4_sub; Mul mul i32x4_mul; }
operators! { I16x8: Add add i16x8_add; Sub sub i16x8_sub; Mul mul i16x8_mul; }
