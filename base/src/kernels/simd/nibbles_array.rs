//! [`I32x4`] and products of 4-bit integers as arrays, for every target without WebAssembly's vectors.

use super::F32x4;
use super::bytes::I32x4;
use std::array::from_fn;

/// 4-bit integers of four outputs, two for each, spread out for a product with a word of activations.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
pub(in crate::kernels) struct Operand([i16; 8]);

pub(in crate::kernels) use super::pairs::{NarrowSums, WORDS, words};

/// What spreads 4-bit integers out.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Spreader;

impl Spreader {
    #[inline(always)]
    pub(in crate::kernels) fn new() -> Spreader {
        Spreader
    }

    #[inline(always)]
    pub(in crate::kernels) fn operands(self, nibbles: &[u32; 4]) -> [Operand; WORDS] {
        let halves: [u16; 8] = from_fn(|lane| (nibbles[lane / 2] >> (16 * (lane % 2))) as u16);
        [0, 8, 4, 12].map(|shift| Operand(halves.map(|half| (half >> shift & 15) as i16)))
    }
}

impl I32x4 {
    /// The low and the high 16 bits of each word.
    #[inline(always)]
    pub(in crate::kernels) fn pair_from_u16(words: &[u32; 4]) -> [I32x4; 2] {
        [I32x4(words.map(|word| (word & 0xffff) as i32)), I32x4(words.map(|word| (word >> 16) as i32))]
    }

    /// Sixteen times each lane.
    #[inline(always)]
    pub(in crate::kernels) fn times_16(self) -> I32x4 {
        I32x4(self.0.map(|lane| lane << 4))
    }

    /// Adds to each lane the products of the word's activations with that lane's part of the operand.
    #[inline(always)]
    pub(in crate::kernels) fn add_products(self, word: u32, operand: Operand) -> I32x4 {
        let (low, high) = (i32::from(word as i16), i32::from((word >> 16) as i16));
        let product = |lane: usize| i32::from(operand.0[2 * lane]) * low + i32::from(operand.0[2 * lane + 1]) * high;
        I32x4(from_fn(|lane| self.0[lane] + product(lane)))
    }
}

impl F32x4 {
    /// The f32 of these bits.
    #[inline(always)]
    pub(in crate::kernels) fn from_bits(bits: &[u32; 4]) -> F32x4 {
        F32x4(bits.map(f32::from_bits))
    }

    /// Inputs 0 to 7 of four outputs as numbers from 0 to 15.
    #[inline(always)]
    pub(in crate::kernels) fn inputs_from_nibbles(nibbles: &[u32; 4]) -> [F32x4; 8] {
        [0, 8, 16, 24, 4, 12, 20, 28].map(|shift| F32x4(nibbles.map(|word| (word >> shift & 15) as f32)))
    }
}
