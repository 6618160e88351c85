//! [`I32x4`] and products of 4-bit integers as `v128` of WebAssembly's `simd128`, with `relaxed-simd` where the build has it.
#![allow(unsafe_code)]

use super::F32x4;
use super::bytes::I32x4;
use core::arch::wasm32::*;

/// 4-bit integers of four outputs, spread out for a product with a word of activations.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Operand(v128);

/// What spreads 4-bit integers out. It holds a vector that loops use in every turn, read from memory: one written into the code
/// is put together by several instructions wherever V8 uses it.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Spreader(v128);

impl Spreader {
    /// To be called outside the loop.
    #[inline(always)]
    pub(in crate::kernels) fn new() -> Spreader {
        Spreader(load(std::hint::black_box(&LOWEST)))
    }
}

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
    use crate::kernels::simd::ProductSums;

    pub(in crate::kernels) const WORDS: usize = 2;

    #[inline(always)]
    pub(in crate::kernels) fn words(activations: [i8; 8]) -> [u32; WORDS] {
        let [a, b, c, d, e, f, g, h] = activations.map(|value| value as u8);
        [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
    }

    /// Four bits of each byte.
    pub(super) const LOWEST: [u32; 4] = [0x0f0f_0f0f; 4];

    impl Spreader {
        #[inline(always)]
        pub(in crate::kernels) fn operands(self, nibbles: &[u32; 4]) -> [Operand; WORDS] {
            let nibbles = load(nibbles);
            [Operand(v128_and(nibbles, self.0)), Operand(v128_and(u16x8_shr(nibbles, 4), self.0))]
        }
    }

    #[inline(always)]
    pub(super) fn add_products(sums: v128, word: v128, operand: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(word, operand, sums)
    }

    /// Sums in 16 bits, two for each output, of the products of words' first and last two bytes: one instruction less for each word,
    /// where the machine has none for all of it.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::kernels) struct NarrowSums(v128);

    impl ProductSums for NarrowSums {
        #[inline(always)]
        fn start(halves: [i32; 2]) -> u32 {
            u32::from(halves[0] as u16) | (halves[1] as u32) << 16
        }

        #[inline(always)]
        fn begin(start: u32) -> NarrowSums {
            NarrowSums(u32x4_splat(start))
        }

        #[inline(always)]
        fn add_products(self, word: u32, operand: Operand) -> NarrowSums {
            NarrowSums(i16x8_add(self.0, i16x8_relaxed_dot_i8x16_i7x16(u32x4_splat(word), operand.0)))
        }

        #[inline(always)]
        fn total(self) -> I32x4 {
            I32x4(i32x4_extadd_pairwise_i16x8(self.0))
        }
    }
}

/// Words of two 16-bit integers: the instruction's sums of two products are exact.
#[cfg(not(target_feature = "relaxed-simd"))]
mod strict {
    use super::*;

    pub(in crate::kernels) use crate::kernels::simd::pairs::{NarrowSums, WORDS, words};

    /// Four bits of each two bytes.
    pub(super) const LOWEST: [u32; 4] = [0x000f_000f; 4];

    impl Spreader {
        #[inline(always)]
        pub(in crate::kernels) fn operands(self, nibbles: &[u32; 4]) -> [Operand; WORDS] {
            let nibbles = load(nibbles);
            [
                Operand(v128_and(nibbles, self.0)),
                Operand(v128_and(u16x8_shr(nibbles, 8), self.0)),
                Operand(v128_and(u16x8_shr(nibbles, 4), self.0)),
                Operand(u16x8_shr(nibbles, 12)),
            ]
        }
    }

    #[inline(always)]
    pub(super) fn add_products(sums: v128, word: v128, operand: v128) -> v128 {
        i32x4_add(sums, i32x4_dot_i16x8(word, operand))
    }
}

#[inline(always)]
fn load(bits: &[u32; 4]) -> v128 {
    // SAFETY: the reference covers the 16 bytes read, and `v128_load` asks for no alignment.
    unsafe { v128_load(bits.as_ptr().cast()) }
}

impl I32x4 {
    /// The low and the high 16 bits of each word.
    #[inline(always)]
    pub(in crate::kernels) fn pair_from_u16(words: &[u32; 4]) -> [I32x4; 2] {
        let words = load(words);
        [I32x4(v128_and(words, u32x4_splat(0xffff))), I32x4(u32x4_shr(words, 16))]
    }

    /// Sixteen times each lane.
    #[inline(always)]
    pub(in crate::kernels) fn times_16(self) -> I32x4 {
        I32x4(i32x4_shl(self.0, 4))
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
        F32x4(load(bits))
    }

    /// Inputs 0 to 7 of four outputs as numbers from 0 to 15.
    #[inline(always)]
    pub(in crate::kernels) fn inputs_from_nibbles(nibbles: &[u32; 4]) -> [F32x4; 8] {
        let nibbles = load(nibbles);
        let input = |shift| F32x4(f32x4_convert_i32x4(v128_and(u32x4_shr(nibbles, shift), u32x4_splat(15))));
        [input(0), input(8), input(16), input(24), input(4), input(12), input(20), input(28)]
    }
}
