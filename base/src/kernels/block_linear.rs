//! Products with [`BlockWeights`]: of activations rounded to 8 bits, with exact integer sums over each block, or of a few
//! rows of f32.
//!
//! Activations are rounded as ONNX Runtime rounds them for `accuracy_level` 4 of `com.microsoft.MatMulNBits`: of every
//! block of a row, the scale is the largest magnitude / 127, and the integers are the quotients, rounded to even. So with the
//! weights `(q - z) · s` the product of a row is Σ over blocks of `scale · s · (Σ a·q - z · Σ a)`. What stands in
//! parentheses is exact where the zero points are integers; where those are half the range, sums start from `-z · Σ a`.
//! 8-bit weights are two of 4 bits: the sums over the high halves, times 16, are what those over the low halves start from.
//!
//! A NaN or an infinity in a block of activations makes the whole row NaN.
#![allow(unsafe_code)]

use super::block_weights::{Block, BlockWeights, GROUP, Group, Layout, OUTPUTS};
use super::byte_products::sums_are_narrow;
use super::linear::Part;
use super::parallel::SharedOutput;
use super::simd::bytes::I32x4;
use super::simd::nibbles::{NarrowSums, Operand, WORDS, operands, words};
use super::simd::{F32x4, LANES, ProductSums, ROUNDER, RUN, zip_in_place};

/// Longest block of which sums, and differences of them, are exact as f32: 256 · 128 · 255 < 2^24.
pub(super) const LONGEST_BLOCK: usize = 256;

/// Rows of f32 that are multiplied at a time.
pub(super) const FLOAT_ROWS: usize = 4;

/// Rows whose integer sums, with the operands, stay in sixteen registers.
const TILE_ROWS: usize = 4;

/// Bytes of activations that go through all weights together: they stay in the second-level cache.
const ROW_BLOCK_BYTES: usize = 1 << 18;

/// Rows, and the weights that they are multiplied with.
pub(super) struct BlockProduct<'a> {
    weights: &'a BlockWeights,
    left: Left,
}

enum Left {
    Rounded {
        activations: Activations,
        /// Whether sums are kept in 16 bits as long as they fit.
        narrow: bool,
    },
    /// At most [`FLOAT_ROWS`] rows of f32, the elements of an input side by side. Inputs that fill up the last block are 0.
    Floats { rows: usize, values: Vec<f32> },
}

impl<'a> BlockProduct<'a> {
    /// The product with rows of `weights.inputs()` elements, rounded to 8 bits.
    pub(super) fn of_rounded(x: &[f32], rows: usize, weights: &'a BlockWeights) -> BlockProduct<'a> {
        let activations = Activations::new(x, rows, weights);
        BlockProduct { weights, left: Left::Rounded { activations, narrow: sums_are_narrow() } }
    }

    /// The product with at most [`FLOAT_ROWS`] rows of `weights.inputs()` elements, as they are.
    pub(super) fn of_floats(x: &[f32], rows: usize, weights: &'a BlockWeights) -> BlockProduct<'a> {
        let mut values = vec![0.0; weights.blocks() * weights.layout().block_size() * rows];
        for (row, x) in x.chunks_exact(weights.inputs().max(1)).enumerate() {
            values[row..].iter_mut().step_by(rows).zip(x).for_each(|(value, x)| *value = *x);
        }
        BlockProduct { weights, left: Left::Floats { rows, values } }
    }

    /// Rows that go through all weights together. The first row of a [`Part`] is a multiple of it.
    pub(super) fn row_block(&self) -> usize {
        match &self.left {
            Left::Rounded { activations, .. } => activations.row_block(),
            Left::Floats { rows, .. } => (*rows).max(1),
        }
    }

    /// Writes a part of the product, from the first column of a panel on.
    ///
    /// # Safety
    /// As long as this runs, no one else may use the part of `out`.
    pub(super) unsafe fn multiply(&self, part: Part, out: &SharedOutput<'_>, scratch: &mut Scratch) {
        // SAFETY: as the caller promises.
        unsafe { self.multiply_by(self.weights, Put::Write, part, out, scratch) };
    }

    /// As [`BlockProduct::multiply`], of the same rows with weights of the same size and layout.
    ///
    /// # Safety
    /// As long as this runs, no one else may use the part of `out`.
    pub(super) unsafe fn multiply_by(
        &self,
        weights: &BlockWeights,
        put: Put<'_>,
        part: Part,
        out: &SharedOutput<'_>,
        scratch: &mut Scratch,
    ) {
        for column in (part.first_column..part.first_column + part.columns).step_by(OUTPUTS) {
            let columns = OUTPUTS.min(part.first_column + part.columns - column);
            let panel = Panel { weights, index: column / OUTPUTS };
            let mut write = |row: usize, sums: &[[F32x4; 2]]| {
                for (row, sums) in (row..).zip(sums) {
                    // SAFETY: a row of the part, which the caller keeps for this call.
                    put.apply(*sums, column, unsafe { out.slice(row * weights.outputs() + column, columns) });
                }
            };
            match &self.left {
                Left::Rounded { activations, narrow: true } => {
                    panel.multiply_rounded::<NarrowSums>(activations, part, scratch, &mut write);
                }
                Left::Rounded { activations, narrow: false } => {
                    panel.multiply_rounded::<I32x4>(activations, part, scratch, &mut write);
                }
                Left::Floats { rows, values } => panel.multiply_floats(*rows, values, &mut write),
            }
        }
    }
}

/// What becomes of sums.
#[derive(Clone, Copy)]
pub(super) enum Put<'a> {
    /// They are written.
    Write,
    /// What stands in their place is multiplied by them, after the bias `[outputs]` is added.
    Multiply(Option<&'a [f32]>),
}

impl Put<'_> {
    /// Of the sums of a row of a panel, from `column` on, as many as `out` has elements.
    #[inline(always)]
    fn apply(self, sums: [F32x4; 2], column: usize, out: &mut [f32]) {
        match (self, out.as_chunks_mut()) {
            (Put::Write, ([low, high], [])) => {
                sums[0].store(low);
                sums[1].store(high);
            }
            (Put::Write, _) => out.copy_from_slice(&sums.map(F32x4::to_array).as_flattened()[..out.len()]),
            (Put::Multiply(bias), _) => {
                let mut lanes = sums.map(F32x4::to_array);
                let factors = &mut lanes.as_flattened_mut()[..out.len()];
                if let Some(bias) = bias {
                    zip_in_place(factors, &bias[column..][..out.len()], |sum, bias| sum + bias);
                }
                zip_in_place(out, factors, |value, factor| value * factor);
            }
        }
    }
}

/// Room for the sums of a panel, and for the integers of a block, spread out.
#[derive(Default)]
pub(super) struct Scratch {
    sums: Vec<[F32x4; 2]>,
    spread: Vec<[Operand; 2]>,
}

/// A panel of the weights.
#[derive(Clone, Copy)]
struct Panel<'a> {
    weights: &'a BlockWeights,
    index: usize,
}

impl Panel<'_> {
    /// Gives the rows of the part to `write`, which takes the first one's number and the sums.
    fn multiply_rounded<S: ProductSums>(
        self,
        activations: &Activations,
        part: Part,
        scratch: &mut Scratch,
        write: &mut impl FnMut(usize, &[[F32x4; 2]]),
    ) {
        match activations.rows {
            1 => write(0, &self.multiply_few::<S, 1>(activations)),
            2 => write(0, &self.multiply_few::<S, 2>(activations)),
            3 => write(0, &self.multiply_few::<S, 3>(activations)),
            TILE_ROWS => write(0, &self.multiply_few::<S, TILE_ROWS>(activations)),
            _ => {
                self.multiply_many::<S>(activations, part, scratch);
                write(part.first_row, &scratch.sums);
            }
        }
    }

    /// All rows, where they are one tile, as fast as the weights come from memory.
    #[inline(never)]
    fn multiply_few<S: ProductSums, const ROWS: usize>(self, activations: &Activations) -> [[F32x4; 2]; ROWS] {
        let planes = self.weights.layout().planes();
        let words = activations.words.chunks_exact((ROWS * activations.block_words).max(1));
        let (scales, starts) = (activations.scales.as_chunks::<ROWS>().0, activations.starts.as_chunks::<ROWS>().0);
        let rows = words.zip(scales).zip(starts).zip(activations.sums.as_chunks::<ROWS>().0);
        let mut sums = [[F32x4::splat(0.0); 2]; ROWS];
        for (block, (((words, scales), starts), integer_sums)) in self.weights.panel(self.index).zip(rows) {
            let tile = Tile { words: words.as_chunks().0, scales, starts, sums: integer_sums };
            sums = multiply_tile::<S, ROWS>(tile, &block, Integers::Packed(block.groups), planes, sums);
        }
        sums
    }

    /// Leaves the sums of the part's rows in `scratch`.
    ///
    /// All rows go through a block before any goes through the next one, so that the registers hold nothing but the
    /// block's integer sums, and its integers are spread out once.
    fn multiply_many<S: ProductSums>(self, activations: &Activations, part: Part, scratch: &mut Scratch) {
        let Scratch { sums, spread } = scratch;
        sums.clear();
        sums.resize(part.rows, [F32x4::splat(0.0); 2]);
        let planes = self.weights.layout().planes();
        for (index, block) in self.weights.panel(self.index).enumerate() {
            spread.clear();
            for group in block.groups {
                let [first, second] = [operands(&group[0].0), operands(&group[1].0)];
                spread.extend((0..WORDS).map(|word| [first[word], second[word]]));
            }
            let integers = Integers::Spread(spread);
            let (tiles, rest) = sums.as_chunks_mut::<TILE_ROWS>();
            let mut row = part.first_row;
            for sums in tiles {
                *sums = multiply_tile::<S, _>(activations.tile(index, row), &block, integers, planes, *sums);
                row += TILE_ROWS;
            }
            match rest {
                [a] => [*a] = multiply_tile::<S, _>(activations.tile(index, row), &block, integers, planes, [*a]),
                [a, b] => {
                    [*a, *b] = multiply_tile::<S, _>(activations.tile(index, row), &block, integers, planes, [*a, *b])
                }
                [a, b, c] => {
                    [*a, *b, *c] =
                        multiply_tile::<S, _>(activations.tile(index, row), &block, integers, planes, [*a, *b, *c]);
                }
                _ => {}
            }
        }
    }

    /// As [`Panel::multiply_rounded`] for rows of f32.
    fn multiply_floats(self, rows: usize, values: &[f32], write: &mut impl FnMut(usize, &[[F32x4; 2]])) {
        let (layout, blocks) = (self.weights.layout(), self.weights.panel(self.index));
        match rows {
            1 => write(0, &multiply_floats::<1>(values, layout, blocks)),
            2 => write(0, &multiply_floats::<2>(values, layout, blocks)),
            3 => write(0, &multiply_floats::<3>(values, layout, blocks)),
            _ => write(0, &multiply_floats::<4>(values, layout, blocks)),
        }
    }
}

/// Activations rounded to 8 bits, block after block, all rows of a block together.
pub(super) struct Activations {
    rows: usize,
    blocks: usize,
    /// Words that a row has of each block.
    block_words: usize,
    /// In tiles of [`TILE_ROWS`] rows, the last one of a block perhaps of fewer. Inside a tile, the words of the same inputs
    /// lie side by side.
    words: Vec<u32>,
    /// One for each block and row, as all that follow.
    scales: Vec<f32>,
    /// What sums start from.
    starts: Vec<i32>,
    /// Sums of the integers.
    sums: Vec<f32>,
}

/// The rows of a tile, in a block.
struct Tile<'a, const ROWS: usize> {
    words: &'a [[u32; ROWS]],
    scales: &'a [f32; ROWS],
    starts: &'a [i32; ROWS],
    sums: &'a [f32; ROWS],
}

impl Activations {
    /// Rounds rows of `weights.inputs()` elements.
    pub(super) fn new(x: &[f32], rows: usize, weights: &BlockWeights) -> Activations {
        let (layout, blocks) = (weights.layout(), weights.blocks());
        let block_words = layout.groups() * WORDS;
        let mut activations = Activations {
            rows,
            blocks,
            block_words,
            words: vec![0; rows * blocks * block_words],
            scales: vec![0.0; rows * blocks],
            starts: vec![0; rows * blocks],
            sums: vec![0.0; rows * blocks],
        };
        for row in 0..rows {
            activations.round_row(&x[row * weights.inputs()..][..weights.inputs()], row, layout);
        }
        activations
    }

    fn round_row(&mut self, x: &[f32], row: usize, layout: Layout) {
        let first = row / TILE_ROWS * TILE_ROWS;
        let (tile_rows, row) = (TILE_ROWS.min(self.rows - first), row - first);
        for (index, values) in x.chunks(layout.block_size()).enumerate() {
            let block = RoundedBlock::new(values);
            let out = &mut self.words[(index * self.rows + first) * self.block_words + row..];
            let mut sum = 0;
            for (group, values) in values.chunks(GROUP).enumerate() {
                let rounded = block.round(values);
                sum += rounded.iter().map(|value| i32::from(*value)).sum::<i32>();
                for (word, bits) in words(rounded).into_iter().enumerate() {
                    out[(group * WORDS + word) * tile_rows] = bits;
                }
            }
            let at = index * self.rows + first + row;
            self.scales[at] = block.scale;
            if layout.symmetric() {
                // Half the range of 4 bits, and of 8 bits once the sums over the high halves are multiplied by 16.
                self.starts[at] = -8 * sum;
            } else {
                self.sums[at] = sum as f32;
            }
        }
    }

    /// The tile of so many rows that begins with `row`.
    #[inline(always)]
    fn tile<const ROWS: usize>(&self, block: usize, row: usize) -> Tile<'_, ROWS> {
        let first = block * self.rows + row;
        let words = &self.words[first * self.block_words..][..ROWS * self.block_words];
        let own = first..first + ROWS;
        Tile {
            words: words.as_chunks().0,
            scales: self.scales[own.clone()].as_array().expect("a slice of ROWS"),
            starts: self.starts[own.clone()].as_array().expect("a slice of ROWS"),
            sums: self.sums[own].as_array().expect("a slice of ROWS"),
        }
    }

    /// Rows that go through all weights together: whole tiles.
    pub(super) fn row_block(&self) -> usize {
        let row_bytes = self.blocks * self.block_words * 4;
        (ROW_BLOCK_BYTES / row_bytes.max(1) / TILE_ROWS).clamp(8, 64) * TILE_ROWS
    }
}

/// How a block is rounded.
#[derive(Clone, Copy)]
struct RoundedBlock {
    scale: f32,
    reciprocal: f32,
}

impl RoundedBlock {
    /// NaN and infinities make the scale NaN. Blocks far below the normal numbers become 0.
    #[inline(always)]
    fn new(values: &[f32]) -> RoundedBlock {
        // Of positive numbers, the bits are in the numbers' order, and NaN comes last.
        let largest = values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff));
        let scale = f32::from_bits(largest) / 127.0;
        let reciprocal = 1.0 / scale;
        match (scale.is_finite(), reciprocal.is_finite()) {
            (true, true) => RoundedBlock { scale, reciprocal },
            (true, false) => RoundedBlock { scale: 0.0, reciprocal: 0.0 },
            (false, _) => RoundedBlock { scale: f32::NAN, reciprocal: 0.0 },
        }
    }

    /// Up to eight elements, filled up with 0.
    #[inline(always)]
    fn round(self, values: &[f32]) -> [i8; GROUP] {
        let mut rounded = [0; GROUP];
        let (outs, _) = rounded.as_chunks_mut::<LANES>();
        for (values, out) in values.chunks(LANES).zip(outs) {
            let values = values.as_array().map_or_else(|| F32x4::load_partial(values), F32x4::load);
            let shifted = (values * F32x4::splat(self.reciprocal) + F32x4::splat(ROUNDER)).to_array();
            // The lowest byte of what is added is 0: that of the sum is the integer.
            out.iter_mut().zip(shifted).for_each(|(out, shifted)| *out = shifted.to_bits() as i8);
        }
        rounded
    }
}

/// The integers of a block: as they are stored, or as operands, for outputs 0 to 3 and 4 to 7.
#[derive(Clone, Copy)]
enum Integers<'a> {
    Packed(&'a [Group]),
    Spread(&'a [[Operand; 2]]),
}

impl Integers<'_> {
    /// The first part of so many, and the rest.
    #[inline(always)]
    fn split(self, parts: usize) -> (Self, Self) {
        match self {
            Integers::Packed(groups) => {
                let (first, rest) = groups.split_at(groups.len() / parts);
                (Integers::Packed(first), Integers::Packed(rest))
            }
            Integers::Spread(operands) => {
                let (first, rest) = operands.split_at(operands.len() / parts);
                (Integers::Spread(first), Integers::Spread(rest))
            }
        }
    }
}

/// Adds the product of a tile's rows with a block.
#[inline(always)]
fn multiply_tile<S: ProductSums, const ROWS: usize>(
    tile: Tile<'_, ROWS>,
    block: &Block<'_>,
    integers: Integers<'_>,
    planes: usize,
    mut sums: [[F32x4; 2]; ROWS],
) -> [[F32x4; 2]; ROWS] {
    let mut products = tile.starts.map(|start| [I32x4::splat(start); 2]);
    let (first, second) = integers.split(planes);
    add_plane::<S, ROWS>(&mut products, first, tile.words);
    if planes > 1 {
        products = products.map(|halves| halves.map(I32x4::times_16));
        add_plane::<S, ROWS>(&mut products, second, tile.words);
    }
    let mut products = products.map(|halves| halves.map(I32x4::to_f32));
    if let Some(zero_points) = block.own_zero_points() {
        for (product, sum) in products.iter_mut().zip(tile.sums) {
            *product = [0, 1].map(|half| product[half] - zero_points[half] * F32x4::splat(*sum));
        }
    }
    let block_scales = block.scales();
    for ((sums, product), scale) in sums.iter_mut().zip(products).zip(tile.scales) {
        let scale = F32x4::splat(*scale);
        *sums = [0, 1].map(|half| product[half].mul_add(block_scales[half] * scale, sums[half]));
    }
    sums
}

/// Adds the products with 4 bits of a block's integers.
#[inline(always)]
fn add_plane<S: ProductSums, const ROWS: usize>(
    products: &mut [[I32x4; 2]; ROWS],
    integers: Integers<'_>,
    words: &[[u32; ROWS]],
) {
    const GROUPS: usize = RUN / WORDS;
    match integers {
        Integers::Packed(groups) => {
            for (groups, words) in groups.chunks(GROUPS).zip(words.chunks(RUN)) {
                let mut sums = products.map(|halves| halves.map(S::begin));
                for (group, words) in groups.iter().zip(words.as_chunks::<WORDS>().0) {
                    let [first, second] = [operands(&group[0].0), operands(&group[1].0)];
                    for word in 0..WORDS {
                        add_word(&mut sums, [first[word], second[word]], &words[word]);
                    }
                }
                add_totals(products, sums);
            }
        }
        Integers::Spread(operands) => {
            for (operands, words) in operands.chunks(RUN).zip(words.chunks(RUN)) {
                let mut sums = products.map(|halves| halves.map(S::begin));
                for (operands, words) in operands.iter().zip(words) {
                    add_word(&mut sums, *operands, words);
                }
                add_totals(products, sums);
            }
        }
    }
}

#[inline(always)]
fn add_word<S: ProductSums, const ROWS: usize>(sums: &mut [[S; 2]; ROWS], operands: [Operand; 2], words: &[u32; ROWS]) {
    for (sums, word) in sums.iter_mut().zip(words) {
        *sums = [0, 1].map(|half| sums[half].add_products(*word, operands[half]));
    }
}

#[inline(always)]
fn add_totals<S: ProductSums, const ROWS: usize>(products: &mut [[I32x4; 2]; ROWS], sums: [[S; 2]; ROWS]) {
    for (products, sums) in products.iter_mut().zip(sums) {
        *products = [0, 1].map(|half| sums[half].total(products[half]));
    }
}

/// Rows of f32, times a panel.
#[inline(never)]
fn multiply_floats<'a, const ROWS: usize>(
    values: &[f32],
    layout: Layout,
    panel: impl Iterator<Item = Block<'a>>,
) -> [[F32x4; 2]; ROWS] {
    let mut sums = [[F32x4::splat(0.0); 2]; ROWS];
    let values = values.as_chunks::<ROWS>().0.as_chunks::<GROUP>().0.chunks_exact(layout.groups());
    for (block, values) in panel.zip(values) {
        let (scales, zero_points) = (block.scales(), block.zero_points(layout));
        let mut products = [[F32x4::splat(0.0); 2]; ROWS];
        for (group, values) in values.iter().enumerate() {
            let integers = block.group_as_f32(layout, group);
            for (k, values) in values.iter().enumerate() {
                for half in 0..2 {
                    let weights = integers[half][k] - zero_points[half];
                    for row in 0..ROWS {
                        products[row][half] = F32x4::splat(values[row]).mul_add(weights, products[row][half]);
                    }
                }
            }
        }
        for (sums, products) in sums.iter_mut().zip(products) {
            for half in 0..2 {
                sums[half] = products[half].mul_add(scales[half], sums[half]);
            }
        }
    }
    sums
}

/// A row rounded as products with blocks of that size round it, by definition: integers times their scale.
pub(super) fn rounded_reference(row: &[f32], block_size: usize) -> Vec<f64> {
    let blocks = row.chunks(block_size).flat_map(|values| {
        let finite = values.iter().all(|value| value.is_finite());
        let largest = values.iter().fold(0.0, |largest, value| f32::max(largest, value.abs()));
        let scale = largest / 127.0;
        let reciprocal = 1.0 / scale;
        values.iter().map(move |value| match (finite, reciprocal.is_finite()) {
            (true, true) => f64::from((value * reciprocal).round_ties_even()) * f64::from(scale),
            (true, false) => 0.0,
            (false, _) => f64::NAN,
        })
    });
    blocks.collect()
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::{Left, Part, Scratch, SharedOutput};
    use crate::kernels::activation::Activation;
    use crate::kernels::linear::cases::joined;
    use crate::kernels::linear::{LinearWeights, NBits, NBitsZeroPoints, linear, linear_reference};
    use crate::kernels::self_test::{bytes, difference, numbers, signed_bytes};

    const BLOCK_SIZES: [usize; 5] = [16, 32, 64, 128, 256];

    /// Holds the products against their twin for every kind of weights and at many sizes, and against integer arithmetic
    /// at the ends of the integers' ranges.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = failures_of_non_finite();
        for bits in [2, 4, 8] {
            for block_size in BLOCK_SIZES {
                for zero_points in [Zeros::None, Zeros::Packed, Zeros::Floats] {
                    let kind = Kind { bits, block_size, zero_points };
                    failures.extend(failures_of_sizes(kind));
                    failures.extend(failures_of_extremes(kind));
                }
            }
        }
        failures
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Zeros {
        None,
        Packed,
        Floats,
    }

    #[derive(Debug, Clone, Copy)]
    struct Kind {
        bits: usize,
        block_size: usize,
        zero_points: Zeros,
    }

    impl Kind {
        fn weights(
            self,
            inputs: usize,
            outputs: usize,
            byte: impl Fn(usize) -> u8,
            scale: impl Fn(usize) -> f32,
        ) -> LinearWeights {
            let Kind { bits, block_size, zero_points } = self;
            let blocks = inputs.div_ceil(block_size);
            let b: Vec<u8> = (0..outputs * blocks * block_size * bits / 8).map(&byte).collect();
            let scales: Vec<f32> = (0..outputs * blocks).map(scale).collect();
            let packed: Vec<u8> = (0..outputs * (blocks * bits).div_ceil(8)).map(|at| byte(at + 7)).collect();
            let floats: Vec<f32> = numbers(outputs * blocks, 9).iter().map(|zero| zero * 8.0 + 4.0).collect();
            let zero_points = match zero_points {
                Zeros::None => NBitsZeroPoints::None,
                Zeros::Packed => NBitsZeroPoints::Packed(&packed),
                Zeros::Floats => NBitsZeroPoints::Floats(&floats),
            };
            LinearWeights::from_nbits(NBits {
                bits,
                inputs,
                outputs,
                block_size,
                b: &b,
                scales: &scales,
                zero_points,
                groups: None,
            })
            .expect("weights in blocks")
        }
    }

    fn failures_of_sizes(kind: Kind) -> Vec<String> {
        let mut failures = Vec::new();
        for (inputs, outputs) in [(1, 9), (40, 17), (300, 5)] {
            let random = bytes(4096 * outputs, 1);
            let scales = numbers(outputs * inputs, 2);
            // Weights up to about 1.
            let weights = || {
                let byte = |at: usize| random[at % random.len()];
                kind.weights(inputs, outputs, byte, |at| scales[at] / (1 << kind.bits) as f32)
            };
            for weights in [weights(), weights().rounding_activations()] {
                for rows in [0, 1, 2, 3, 4, 5, 8, 15] {
                    failures.extend(failure_of_rows(kind, rows, &weights));
                }
            }
        }
        failures
    }

    fn failure_of_rows(kind: Kind, rows: usize, weights: &LinearWeights) -> Option<String> {
        let (inputs, outputs) = (weights.inputs(), weights.outputs());
        let x = numbers(rows * inputs, 5);
        let (bias, values) = (numbers(outputs, 6), numbers(rows * outputs, 7));
        // Between them, the sizes meet every combination.
        let bias = (!rows.is_multiple_of(3)).then_some(&bias[..]);
        let joined = joined(rows, &values);
        let activation = if outputs == 17 { Activation::Silu } else { Activation::Identity };
        let mut got = vec![f32::NAN; rows * outputs];
        let mut expected = got.clone();
        linear(&x, rows, weights, bias, activation, joined, &mut got);
        linear_reference(&x, rows, weights, bias, activation, joined, &mut expected);
        // Sums of at most 300 products of about 1, in f32.
        difference(format!("{rows} rows, {weights:?}, {kind:?}"), &got, &expected, 5e-6)
    }

    /// With scales of 1 and at most 300 products of 127 · 255, everything is an integer below 2^24: results are exact.
    fn failures_of_extremes(kind: Kind) -> Vec<String> {
        let (inputs, outputs) = (300, 9);
        if kind.zero_points == Zeros::Floats {
            return Vec::new();
        }
        let random = signed_bytes(8 * inputs, 3);
        let patterns: [fn(usize, i8) -> i8; 4] =
            [|_, _| 127, |_, _| -127, |at, _| if at % 2 == 0 { 127 } else { -127 }, |_, random| random.max(-127)];
        let fillings: [fn(usize) -> u8; 4] =
            [|_| 0xff, |_| 0, |at| if at % 3 == 0 { 0x80 } else { 0x7f }, |at| (at * 73) as u8];
        let mut failures = Vec::new();
        for filling in fillings {
            let weights = kind.weights(inputs, outputs, filling, |_| 1.0).rounding_activations();
            let matrix = weights.to_f32();
            for pattern in patterns {
                for rows in [1, 4, 7] {
                    let integer = |at: usize| match at % inputs % kind.block_size {
                        // One of 127 makes the scale of its block 1.
                        0 => 127,
                        _ => pattern(at, random[at]),
                    };
                    let x: Vec<f32> = (0..rows * inputs).map(|at| f32::from(integer(at))).collect();
                    let expected = (0..rows * outputs).map(|at| {
                        let (row, column) = (at / outputs, at % outputs);
                        let product =
                            |k: usize| i64::from(integer(row * inputs + k)) * matrix[k * outputs + column] as i64;
                        (0..inputs).map(product).sum::<i64>() as f32
                    });
                    let expected: Vec<f32> = expected.collect();
                    for narrow in [false, true] {
                        let what = format!("extremes, {rows} rows, {kind:?}, narrow sums {narrow}");
                        failures.extend(difference(what, &product(&weights, &x, rows, narrow), &expected, 0.0));
                    }
                }
            }
        }
        failures
    }

    /// The product of rounded rows, with sums in 16 bits or not.
    fn product(weights: &LinearWeights, x: &[f32], rows: usize, narrow: bool) -> Vec<f32> {
        let mut product = weights.block_product(x, rows).expect("weights in blocks");
        if let Left::Rounded { narrow: chosen, .. } = &mut product.left {
            *chosen = narrow;
        }
        let mut out = vec![f32::NAN; rows * weights.outputs()];
        let part = Part { first_row: 0, first_column: 0, rows, columns: weights.outputs() };
        // SAFETY: nobody else knows the buffer.
        unsafe { product.multiply(part, &SharedOutput::new(&mut out), &mut Scratch::default()) };
        out
    }

    /// Each reaches its row and no other; numbers far below the normal ones, and blocks of zeros, are 0.
    fn failures_of_non_finite() -> Vec<String> {
        let kind = Kind { bits: 4, block_size: 16, zero_points: Zeros::None };
        let weights = kind.weights(20, 1, |_| 0x99, |_| 1.0).rounding_activations();
        let cases = [
            (127.0, 127.0),
            (f32::NAN, f32::NAN),
            (f32::INFINITY, f32::NAN),
            (f32::NEG_INFINITY, f32::NAN),
            (1e-40, 0.0),
            (0.0, 0.0),
        ];
        let mut x = vec![0.0; cases.len() * 20];
        for (row, (value, _)) in cases.iter().enumerate() {
            x[row * 20 + 17] = *value;
        }
        let mut got = vec![5.0; cases.len()];
        linear(&x, cases.len(), &weights, None, Activation::Identity, None, &mut got);
        Vec::from_iter(difference("not finite", &got, &cases.map(|(_, expected)| expected), 0.0))
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
