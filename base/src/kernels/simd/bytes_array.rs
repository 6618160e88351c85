//! Vectors of integers as arrays, for every target without WebAssembly's vectors.

use super::{F32x4, ROUNDER};
use std::array::from_fn;
use std::ops::{Add, Mul, Sub};

/// Four i32. Results beyond their range wrap.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
pub(in crate::kernels) struct I32x4(pub(super) [i32; 4]);

/// Eight i16. Results beyond their range wrap.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
pub(in crate::kernels) struct I16x8([i16; 8]);

/// Sixteen bytes.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
pub(in crate::kernels) struct Bytes16([u8; 16]);

impl I32x4 {
    /// The same value in every lane.
    #[inline(always)]
    pub(in crate::kernels) fn splat(value: i32) -> I32x4 {
        I32x4([value; 4])
    }

    /// Reads four elements.
    #[inline(always)]
    pub(in crate::kernels) fn load(values: &[i32; 4]) -> I32x4 {
        I32x4(*values)
    }

    /// Writes four elements.
    #[inline(always)]
    pub(in crate::kernels) fn store(self, values: &mut [i32; 4]) {
        *values = self.0;
    }

    /// The lanes as f32, rounded to nearest, ties to even.
    #[inline(always)]
    pub(in crate::kernels) fn to_f32(self) -> F32x4 {
        F32x4(self.0.map(|lane| lane as f32))
    }

    /// The sums of lanes 0 and 1, and 2 and 3, of `self`, then of `other`.
    #[inline(always)]
    pub(in crate::kernels) fn add_neighbours(self, other: I32x4) -> I32x4 {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        I32x4([a.wrapping_add(b), c.wrapping_add(d), e.wrapping_add(f), g.wrapping_add(h)])
    }
}

impl I16x8 {
    /// Eight signed bytes.
    #[inline(always)]
    pub(in crate::kernels) fn from_i8(bytes: &[i8; 8]) -> I16x8 {
        I16x8(bytes.map(i16::from))
    }

    /// Eight unsigned bytes.
    #[inline(always)]
    pub(in crate::kernels) fn from_u8(bytes: &[u8; 8]) -> I16x8 {
        I16x8(bytes.map(i16::from))
    }

    /// The same value in every lane.
    #[inline(always)]
    pub(in crate::kernels) fn splat(value: i16) -> I16x8 {
        I16x8([value; 8])
    }

    /// Reads eight elements.
    #[inline(always)]
    pub(in crate::kernels) fn load(values: &[i16; 8]) -> I16x8 {
        I16x8(*values)
    }

    /// The lanes.
    #[inline(always)]
    pub(in crate::kernels) fn to_array(self) -> [i16; 8] {
        self.0
    }

    /// The same four elements twice.
    #[inline(always)]
    pub(in crate::kernels) fn twice(elements: &[i16; 4]) -> I16x8 {
        I16x8(from_fn(|lane| elements[lane % 4]))
    }

    /// Lane `n` is the sum of the products of lanes `2n` and `2n + 1`.
    #[inline(always)]
    pub(in crate::kernels) fn dot(self, other: I16x8) -> I32x4 {
        let product = |lane: usize| i32::from(self.0[lane]) * i32::from(other.0[lane]);
        I32x4(from_fn(|lane| product(2 * lane).wrapping_add(product(2 * lane + 1))))
    }
}

impl Bytes16 {
    /// Reads sixteen signed bytes.
    #[inline(always)]
    pub(in crate::kernels) fn load(bytes: &[i8; 16]) -> Bytes16 {
        Bytes16(bytes.map(|byte| byte as u8))
    }

    /// The same four bytes four times.
    #[inline(always)]
    pub(in crate::kernels) fn four_times(bytes: &[u8; 4]) -> Bytes16 {
        Bytes16(from_fn(|lane| bytes[lane % 4]))
    }

    /// `addend`, and in lane `n` the sum of the products of bytes `4n` to `4n + 3`, signed ones with unsigned ones of
    /// `other`; where `SIGNED`, with signed ones, and each two of them are added in 16 bits.
    #[inline(always)]
    pub(in crate::kernels) fn dot_add<const SIGNED: bool>(self, other: Bytes16, addend: I32x4) -> I32x4 {
        let factor = |byte: u8| if SIGNED { i32::from(byte as i8) } else { i32::from(byte) };
        let product = |lane: usize| i32::from(self.0[lane] as i8) * factor(other.0[lane]);
        let pair = |lane: usize| {
            let sum = product(lane) + product(lane + 1);
            if SIGNED { i32::from(sum as i16) } else { sum }
        };
        I32x4(from_fn(|lane| addend.0[lane].wrapping_add(pair(4 * lane)).wrapping_add(pair(4 * lane + 2))))
    }
}

impl Bytes16 {
    /// In lane `n` the sum of the products of bytes `2n` and `2n + 1`, signed ones with unsigned ones of `other`, saturated to 16 bits.
    #[inline(always)]
    pub(in crate::kernels) fn dot_pairs(self, other: Bytes16) -> I16x8 {
        let product = |at: usize| i32::from(self.0[at] as i8) * i32::from(other.0[at]);
        let saturated = |sum: i32| sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        I16x8(from_fn(|lane| saturated(product(2 * lane) + product(2 * lane + 1))))
    }
}

/// The sums of the first two, and of the last two, of every four of the bytes.
#[inline(always)]
pub(in crate::kernels) fn sums_of_halves(bytes: &[i8; 16]) -> [i32; 2] {
    let (fours, _) = bytes.as_chunks::<4>();
    let sum = |first: usize| fours.iter().map(|four| i32::from(four[first]) + i32::from(four[first + 1])).sum();
    [sum(0), sum(2)]
}

/// What rounds numbers to bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct ByteRounder {
    /// [`ROUNDER`] and what makes bytes of the integers: sums with it end with the byte.
    rounder: f32,
    /// What is still to be taken from the byte, without carrying.
    rest: u8,
}

impl ByteRounder {
    /// For signed bytes.
    #[inline(always)]
    pub(in crate::kernels) fn signed() -> ByteRounder {
        // As for unsigned bytes around 128, whose first bit is the other one.
        ByteRounder { rounder: ROUNDER + 128.0, rest: 128 }
    }

    /// For unsigned bytes, to which `zero_point` is added.
    #[inline(always)]
    pub(in crate::kernels) fn unsigned(zero_point: u8) -> ByteRounder {
        ByteRounder { rounder: ROUNDER + f32::from(zero_point), rest: 0 }
    }

    /// The lanes, rounded to nearest, and with the zero point a byte; ties are rounded to an even byte. Anything for others.
    #[inline(always)]
    pub(in crate::kernels) fn round(self, values: [F32x4; 4]) -> [u8; 16] {
        from_fn(|lane| (values[lane / 4].0[lane % 4] + self.rounder).to_bits() as u8 ^ self.rest)
    }

    /// What the lanes are beyond the integers that they are rounded to.
    #[inline(always)]
    pub(in crate::kernels) fn rest_of(self, lanes: F32x4) -> F32x4 {
        F32x4(lanes.0.map(|value| value - (value + self.rounder - self.rounder)))
    }
}

macro_rules! operators {
    ($type:ident: $($trait:ident $method:ident $function:ident;)*) => {
        $(impl $trait for $type {
            type Output = $type;
            #[inline(always)]
            fn $method(self, other: $type) -> $type {
                $type(from_fn(|lane| self.0[lane].$function(other.0[lane])))
            }
        })*
    };
}

operators! { I32x4: Add add wrapping_add; Sub sub wrapping_sub; Mul mul wrapping_mul; }
operators! { I16x8: Add add wrapping_add; Sub sub wrapping_sub; Mul mul wrapping_mul; }
