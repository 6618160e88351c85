//! Exact sums of products of 8-bit integers, made as this machine makes them fastest.
//!
//! Pairs are widened to 16 bits, which every machine can. Quads are four bytes multiplied as they are; what WebAssembly's
//! relaxed instructions make of factors beyond 127, and of sums of two products beyond 16 bits, differs between machines, so
//! [`Way::of_this_machine`] tries it once. Where sums of two products saturate, weights can be split into two of which none is so
//! large. Builds without relaxed SIMD make quads of pairs.

use super::RELAXED_SIMD;
use super::simd::bytes::{I16x8, I32x4};
use std::sync::OnceLock;

/// Four rows of four columns of the right-hand matrix, the rows of a column side by side.
pub(super) type Block = [i8; 16];

/// Whether two weights that are added first, rows 0 and 1 or 2 and 3 of a column, are both -128.
pub(super) fn has_least_pair(block: &Block) -> bool {
    block.as_chunks().0.contains(&[i8::MIN; 2])
}

/// The largest sum of the magnitudes of two weights, rows 0 and 1 or 2 and 3 of a column, whose products with factors up to 255 are
/// sums of 16 bits: 255 · 128 < 2^15.
const BOUND: u16 = 128;

fn is_bounded(pair: [i8; 2]) -> bool {
    pair.iter().map(|weight| u16::from(weight.unsigned_abs())).sum::<u16>() <= BOUND
}

/// Whether some pair of weights is beyond the bound of [`Way::BoundedQuads`].
pub(super) fn has_large_pair(block: &Block) -> bool {
    !block.as_chunks().0.iter().copied().all(is_bounded)
}

/// Two blocks whose sum is the block, neither with a large pair.
pub(super) fn halved(block: &Block) -> [Block; 2] {
    let mut halves = [*block, [0; 16]];
    for pair in 0..8 {
        let weights = 2 * pair..2 * pair + 2;
        if !is_bounded([block[weights.start], block[weights.start + 1]]) {
            for at in weights {
                halves[0][at] = block[at].clamp(-64, 64);
                halves[1][at] = block[at] - halves[0][at];
            }
        }
    }
    halves
}

/// How products are made and added up.
pub(super) trait Products: Copy {
    /// An element of the left-hand matrix.
    type Element: Copy + Default + Send + Sync;
    /// Four elements of a row of the left-hand matrix.
    type Factors: Copy;
    /// A block.
    type Weights: Copy;
    /// Sums of the four columns of a block.
    type Sums: Copy;

    fn factors(elements: &[Self::Element; 4]) -> Self::Factors;

    fn weights(block: &Block) -> Self::Weights;

    fn zero() -> Self::Sums;

    /// Adds the products of the factors with every column; sums wrap.
    fn add_products(self, sums: Self::Sums, factors: Self::Factors, weights: Self::Weights) -> Self::Sums;
}

/// [`Products`] of 8-bit integers.
pub(super) trait ByteProducts: Products {
    /// Rows of a tile, of which sums and operands fit into sixteen registers.
    const TILE_ROWS: usize;
    /// Blocks of a tile: one, or all of a panel.
    const TILE_BLOCKS: usize;

    /// To be called outside the loop.
    fn new() -> Self;

    /// What is added to elements on the left, and so to their zero point.
    fn offset(signed: bool) -> i32;

    /// An 8-bit integer, `signed` or not, plus the offset.
    fn element(value: i16, signed: bool) -> Self::Element;

    fn total(sums: Self::Sums) -> I32x4;

    /// The elements, where this machine's sums of two products are made in 16 bits and can stay there.
    fn narrow(values: &[[Self::Element; 4]]) -> Option<&[[u8; 4]]>;
}

/// Products in 16 bits, two to a sum.
#[derive(Clone, Copy)]
pub(super) struct Pairs;

impl Products for Pairs {
    type Element = i16;
    type Factors = I16x8;
    /// Two columns each.
    type Weights = [I16x8; 2];
    /// Two columns each; of every column rows 0 and 1, then 2 and 3.
    type Sums = [I32x4; 2];

    #[inline(always)]
    fn factors(elements: &[i16; 4]) -> I16x8 {
        I16x8::twice(elements)
    }

    #[inline(always)]
    fn weights(block: &Block) -> [I16x8; 2] {
        let (halves, _) = block.as_chunks();
        [I16x8::from_i8(&halves[0]), I16x8::from_i8(&halves[1])]
    }

    #[inline(always)]
    fn zero() -> [I32x4; 2] {
        [I32x4::splat(0); 2]
    }

    #[inline(always)]
    fn add_products(self, sums: [I32x4; 2], factors: I16x8, weights: [I16x8; 2]) -> [I32x4; 2] {
        [sums[0] + weights[0].dot(factors), sums[1] + weights[1].dot(factors)]
    }
}

impl ByteProducts for Pairs {
    const TILE_ROWS: usize = 4;
    const TILE_BLOCKS: usize = 1;

    #[inline(always)]
    fn new() -> Pairs {
        Pairs
    }

    #[inline(always)]
    fn offset(_: bool) -> i32 {
        0
    }

    #[inline(always)]
    fn element(value: i16, _: bool) -> i16 {
        value
    }

    #[inline(always)]
    fn total(sums: [I32x4; 2]) -> I32x4 {
        sums[0].add_neighbours(sums[1])
    }

    #[inline(always)]
    fn narrow(_: &[[i16; 4]]) -> Option<&[[u8; 4]]> {
        None
    }
}

/// A way to make products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Pairs.
    Pairs,
    /// Quads whose factors are unsigned.
    UnsignedQuads,
    /// Quads whose factors are signed; for weights without a least pair.
    SignedQuads,
    /// Quads whose factors are unsigned, with sums of two products in 16 bits; for weights without a large pair.
    BoundedQuads,
}

/// Something to be done with products, however they are made.
pub(super) trait Multiplication {
    fn run<P: ByteProducts>(self);
}

impl Way {
    /// Does `multiplication` this way.
    pub(super) fn run(self, multiplication: impl Multiplication) {
        match self {
            Way::Pairs => multiplication.run::<Pairs>(),
            Way::UnsignedQuads => multiplication.run::<quads::Quads<false, false>>(),
            Way::SignedQuads => multiplication.run::<quads::Quads<true, false>>(),
            Way::BoundedQuads => multiplication.run::<quads::Quads<false, true>>(),
        }
    }

    /// Every way that is exact on this machine.
    #[cfg(any(test, feature = "selftest"))]
    pub(super) fn exact_here() -> Vec<Way> {
        match Way::of_this_machine() {
            way if !RELAXED_SIMD => vec![way, Way::UnsignedQuads, Way::SignedQuads, Way::BoundedQuads],
            Way::Pairs => vec![Way::Pairs],
            way => vec![Way::Pairs, way],
        }
    }

    /// This way, or another one if it is not exact for blocks that contain a least pair, or a large one.
    pub(super) fn for_weights(self, has_least_pair: bool, has_large_pair: bool) -> Way {
        match self {
            Way::SignedQuads if has_least_pair => Way::Pairs,
            Way::BoundedQuads if has_large_pair => Way::Pairs,
            way => way,
        }
    }

    /// The fastest way that is exact on this machine.
    pub(super) fn of_this_machine() -> Way {
        static FOUND: OnceLock<Way> = OnceLock::new();
        if RELAXED_SIMD { *FOUND.get_or_init(|| quads::exact().unwrap_or(Way::Pairs)) } else { Way::Pairs }
    }
}

/// Whether this machine makes products of bytes from sums of two in 16 bits, where it pays to leave them as long as they fit.
pub(super) fn sums_are_narrow() -> bool {
    RELAXED_SIMD && matches!(Way::of_this_machine(), Way::Pairs | Way::BoundedQuads)
}

mod quads {
    use super::{Block, ByteProducts, Products, Way};
    use crate::kernels::integer_panel::{BLOCKS, MOST_ROWS};
    use crate::kernels::narrow_panel;
    use crate::kernels::simd::bytes::{Bytes16, I16x8, I32x4};

    /// Products of bytes, four to a sum, where the machine takes factors as `SIGNED` says; `BOUNDED` ones are first added two by two in
    /// 16 bits, and then by way of the ones that are held.
    #[derive(Clone, Copy)]
    pub(super) struct Quads<const SIGNED: bool, const BOUNDED: bool>(I16x8);

    const ONES: [i16; 4] = [1; 4];

    impl<const SIGNED: bool, const BOUNDED: bool> Products for Quads<SIGNED, BOUNDED> {
        type Element = u8;
        type Factors = Bytes16;
        type Weights = Bytes16;
        type Sums = I32x4;

        #[inline(always)]
        fn factors(elements: &[u8; 4]) -> Bytes16 {
            Bytes16::four_times(elements)
        }

        #[inline(always)]
        fn weights(block: &Block) -> Bytes16 {
            Bytes16::load(block)
        }

        #[inline(always)]
        fn zero() -> I32x4 {
            I32x4::splat(0)
        }

        #[inline(always)]
        fn add_products(self, sums: I32x4, factors: Bytes16, weights: Bytes16) -> I32x4 {
            if BOUNDED {
                sums + weights.dot_pairs(factors).dot(self.0)
            } else {
                weights.dot_add::<SIGNED>(factors, sums)
            }
        }
    }

    impl<const SIGNED: bool, const BOUNDED: bool> ByteProducts for Quads<SIGNED, BOUNDED> {
        const TILE_ROWS: usize = if BOUNDED { narrow_panel::TILE_ROWS } else { MOST_ROWS };
        const TILE_BLOCKS: usize = BLOCKS;

        /// The ones are read from memory: a vector written into the code is put together by several instructions wherever V8 uses it.
        #[inline(always)]
        fn new() -> Self {
            Quads(I16x8::twice(if BOUNDED { std::hint::black_box(&ONES) } else { &ONES }))
        }

        #[inline(always)]
        fn offset(signed: bool) -> i32 {
            match (signed, SIGNED) {
                (true, false) => 128,
                (false, true) => -128,
                _ => 0,
            }
        }

        #[inline(always)]
        fn element(value: i16, signed: bool) -> u8 {
            (value as u8).wrapping_add(Self::offset(signed) as u8)
        }

        #[inline(always)]
        fn total(sums: I32x4) -> I32x4 {
            sums
        }

        #[inline(always)]
        fn narrow(values: &[[u8; 4]]) -> Option<&[[u8; 4]]> {
            BOUNDED.then_some(values)
        }
    }

    /// The way in which this machine multiplies bytes without loss, if there is one.
    pub(super) fn exact() -> Option<Way> {
        const WEIGHTS: [i8; 4] = [-128, -127, 127, 1];
        const FACTORS: [u8; 6] = [255, 254, 129, 128, 127, 1];
        let is_exact = |meaning: fn(u8) -> i32, weight: i8, factor: u8| {
            // What is known when compiling could be computed there, by other rules than this machine's.
            let (weights, factors) = std::hint::black_box(([weight; 16], [factor; 4]));
            let mut sums = [0; 4];
            Bytes16::load(&weights).dot_add::<false>(Bytes16::four_times(&factors), I32x4::splat(1)).store(&mut sums);
            sums == [1 + 4 * i32::from(weight) * meaning(factor); 4]
        };
        let all = || WEIGHTS.into_iter().flat_map(|weight| FACTORS.map(|factor| (weight, factor)));
        if all().all(|(weight, factor)| is_exact(i32::from, weight, factor)) {
            return Some(Way::UnsignedQuads);
        }
        let signed = |factor: u8| i32::from(factor as i8);
        let least = (i8::MIN, i8::MIN as u8);
        if all().all(|case| case == least || is_exact(signed, case.0, case.1)) {
            return Some(Way::SignedQuads);
        }
        bounded_is_exact().then_some(Way::BoundedQuads)
    }

    /// Whether the machine adds the products of every bounded pair of weights without loss.
    fn bounded_is_exact() -> bool {
        const PAIRS: [[i8; 2]; 8] =
            [[64, 64], [-64, -64], [127, 1], [-1, 127], [-128, 0], [0, -128], [-127, -1], [63, -65]];
        const FACTORS: [[u8; 2]; 5] = [[255, 255], [255, 0], [128, 127], [129, 254], [1, 255]];
        let is_exact = |pair: [i8; 2], factor: [u8; 2]| {
            let weights: [i8; 16] = std::array::from_fn(|at| pair[at % 2]);
            let (weights, factors) = std::hint::black_box((weights, [factor[0], factor[1], factor[0], factor[1]]));
            let products = Bytes16::load(&weights).dot_pairs(Bytes16::four_times(&factors));
            let mut sums = [0; 4];
            products.dot(I16x8::twice(&ONES)).store(&mut sums);
            let sum: i32 = pair.iter().zip(factor).map(|(weight, factor)| i32::from(*weight) * i32::from(factor)).sum();
            sums == [2 * sum; 4]
        };
        PAIRS.into_iter().all(|pair| FACTORS.into_iter().all(|factor| is_exact(pair, factor)))
    }
}
