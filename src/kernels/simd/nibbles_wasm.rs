//! [`I32x4`] and products of 4-bit integers as `v128` of WebAssembly's `simd128`, with `relaxed-simd` where the build has it.
#![allow(unsafe_code)]

use super::F32x4;
use core::arch::wasm32::*;

/// Four i32.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct I32x4(v128);

/// 4-bit integers of four outputs, spread out for a product with a word of activations.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Operand(v128);

#[cfg(target_feature = "relaxed-simd")]
pub(in crate::kernels) use relaxed::*;
#[cfg(not(target_feature = "relaxed-simd"))]
pub(in crate::kernels) use strict::*;

/// Words of four bytes. The activations are the first operand of the instruction, which every machine reads as signed. The
/// second one is from 0 to 15: inside the 7 bits in which machines agree, and a sum of two products, at most
/// 2 · 128 · 15, is far from the 16 bits at which some of them saturate. So the result is exact everywhere.
#[cfg(target_feature = "relaxed-simd")]
mod relaxed {
    use super::*;

    pub(in crate::kernels) const WORDS: usize = 2;

    #[inline(always)]
    pub(in crate::kernels) fn words(activations: [i8; 8]) -> [u32; WORDS] {
        let [a, b, c, d, e, f, g, h] = activations.map(|value| value as u8);
        [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
    }

    #[inline(always)]
    pub(in crate::kernels) fn operands(nibbles: &[u32; 4]) -> [Operand; WORDS] {
        let nibbles = I32x4::load(nibbles).0;
        let lowest = u8x16_splat(15);
        [Operand(v128_and(nibbles, lowest)), Operand(v128_and(u16x8_shr(nibbles, 4), lowest))]
    }

    #[inline(always)]
    pub(super) fn add_products(sums: v128, word: v128, operand: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(word, operand, sums)
    }
}

/// Words of two 16-bit integers: the instruction's sums of two products are exact.
#[cfg(not(target_feature = "relaxed-simd"))]
mod strict {
    use super::*;

    pub(in crate::kernels) const WORDS: usize = 4;

    #[inline(always)]
    pub(in crate::kernels) fn words(activations: [i8; 8]) -> [u32; WORDS] {
        let [a, b, c, d, e, f, g, h] = activations.map(|value| u32::from(i16::from(value) as u16));
        [a | c << 16, b | d << 16, e | g << 16, f | h << 16]
    }

    #[inline(always)]
    pub(in crate::kernels) fn operands(nibbles: &[u32; 4]) -> [Operand; WORDS] {
        let nibbles = I32x4::load(nibbles).0;
        let lowest = u16x8_splat(15);
        [
            Operand(v128_and(nibbles, lowest)),
            Operand(v128_and(u16x8_shr(nibbles, 8), lowest)),
            Operand(v128_and(u16x8_shr(nibbles, 4), lowest)),
            Operand(u16x8_shr(nibbles, 12)),
        ]
    }

    #[inline(always)]
    pub(super) fn add_products(sums: v128, word: v128, operand: v128) -> v128 {
        i32x4_add(sums, i32x4_dot_i16x8(word, operand))
    }
}

impl I32x4 {
    /// The same value in every lane.
    #[inline(always)]
    pub(in crate::kernels) fn splat(value: i32) -> I32x4 {
        I32x4(i32x4_splat(value))
    }

    #[inline(always)]
    fn load(bits: &[u32; 4]) -> I32x4 {
        // SAFETY: the reference covers the 16 bytes read, and `v128_load` asks for no alignment.
        I32x4(unsafe { v128_load(bits.as_ptr().cast()) })
    }

    /// The low and the high 16 bits of each word.
    #[inline(always)]
    pub(in crate::kernels) fn pair_from_u16(words: &[u32; 4]) -> [I32x4; 2] {
        let words = I32x4::load(words).0;
        [I32x4(v128_and(words, u32x4_splat(0xffff))), I32x4(u32x4_shr(words, 16))]
    }

    /// Sixteen times each lane.
    #[inline(always)]
    pub(in crate::kernels) fn times_16(self) -> I32x4 {
        I32x4(i32x4_shl(self.0, 4))
    }

    /// The lanes as f32, rounded where they are beyond 24 bits.
    #[inline(always)]
    pub(in crate::kernels) fn to_f32(self) -> F32x4 {
        F32x4(f32x4_convert_i32x4(self.0))
    }

    /// Adds to each lane the products of the word's activations with that lane's part of the operand.
    #[inline(always)]
    pub(in crate::kernels) fn add_products(self, word: u32, operand: Operand) -> I32x4 {
        I32x4(add_products(self.0, u32x4_splat(word), operand.0))
    }
}

impl F32x4 {
    /// The f32 of these bits.
    #[inline(always)]
    pub(in crate::kernels) fn from_bits(bits: &[u32; 4]) -> F32x4 {
        F32x4(I32x4::load(bits).0)
    }

    /// Inputs 0 to 7 of four outputs as numbers from 0 to 15.
    #[inline(always)]
    pub(in crate::kernels) fn inputs_from_nibbles(nibbles: &[u32; 4]) -> [F32x4; 8] {
        let nibbles = I32x4::load(nibbles).0;
        let input = |shift| F32x4(f32x4_convert_i32x4(v128_and(u32x4_shr(nibbles, shift), u32x4_splat(15))));
        [input(0), input(8), input(16), input(24), input(4), input(12), input(20), input(28)]
    }
}
