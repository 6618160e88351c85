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

use super::block_weights::{Block, BlockWeights, GROUP, Group, Layout, OUTPUTS, Worth};
use super::byte_products::sums_are_narrow;
use super::linear::Part;
use super::parallel::{SharedOutput, for_each};
use super::simd::bytes::{ByteRounder, I32x4, sums_of_halves};
use super::simd::nibbles::{NarrowSums, Operand, Spreader, WORDS, words};
use super::simd::{F32x4, ProductSums, RUN, zip_in_place};
use std::array::from_fn;
use std::cell::Cell;
use std::mem::take;
use std::ops::Range;

/// Longest block of which sums, and differences of them, are exact as f32: 256 · 128 · 255 < 2^24.
pub(super) const LONGEST_BLOCK: usize = 256;

/// Rows of f32 that are multiplied at a time.
pub(super) const FLOAT_ROWS: usize = 4;

/// Rows whose integer sums, with the operands, stay in sixteen registers.
const TILE_ROWS: usize = 4;

/// Bytes of activations that go through all weights together: they stay in the second-level cache.
const ROW_BLOCK_BYTES: usize = 1 << 18;

/// Rows that one task rounds: whole tiles.
const TASK_ROWS: usize = 4 * TILE_ROWS;

/// Multiply-adds that take as long as to round an element.
const ROUNDING_WORK: usize = 32;

/// Rows, and the weights that they are multiplied with.
pub(super) struct BlockProduct<'a> {
    weights: &'a BlockWeights,
    left: Left,
}

enum Left {
    Rounded(Activations),
    /// At most [`FLOAT_ROWS`] rows of f32, the elements of an input side by side. Inputs that fill up the last block are 0.
    Floats {
        rows: usize,
        values: Vec<f32>,
    },
}

impl<'a> BlockProduct<'a> {
    /// The product with rows of `weights.inputs()` elements, rounded to 8 bits.
    pub(super) fn of_rounded(x: &[f32], rows: usize, weights: &'a BlockWeights) -> BlockProduct<'a> {
        BlockProduct { weights, left: Left::Rounded(Activations::new(x, rows, weights, sums_are_narrow())) }
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
            Left::Rounded(activations) => activations.row_block(),
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
            let mut write = |row: usize, [first, second]: [&[Sums]; 2]| {
                for ((row, first), second) in (row..).zip(first).zip(second) {
                    // SAFETY: a row of the part, which the caller keeps for this call.
                    put.apply([*first, *second], column, unsafe {
                        out.slice(row * weights.outputs() + column, columns)
                    });
                }
            };
            match &self.left {
                Left::Rounded(activations) if activations.narrow => {
                    panel.multiply_rounded::<NarrowSums>(activations, part, scratch, &mut write);
                }
                Left::Rounded(activations) => {
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
    fn apply(self, sums: [Sums; 2], column: usize, out: &mut [f32]) {
        match (self, out.as_mut_array()) {
            (Put::Write, Some(out)) => store(sums, out),
            (Put::Write, None) => out.copy_from_slice(&elements(sums)[..out.len()]),
            (Put::Multiply(bias), Some(out)) => {
                let bias = bias.map(|bias| &bias[column..][..OUTPUTS]);
                for (lanes, (out, sums)) in out.as_chunks_mut().0.iter_mut().zip(sums.as_flattened()).enumerate() {
                    let sums = bias.map_or(*sums, |bias| *sums + F32x4::load(&bias.as_chunks().0[lanes]));
                    (F32x4::load(out) * sums).store(out);
                }
            }
            (Put::Multiply(bias), None) => {
                let mut elements = elements(sums);
                let factors = &mut elements[..out.len()];
                if let Some(bias) = bias {
                    zip_in_place(factors, &bias[column..][..out.len()], |sum, bias| sum + bias);
                }
                zip_in_place(out, factors, |value, factor| value * factor);
            }
        }
    }
}

/// Sums for outputs 0 to 3 and 4 to 7 of a block.
type Sums = [F32x4; 2];

#[inline(always)]
fn store(sums: [Sums; 2], out: &mut [f32; OUTPUTS]) {
    out.as_chunks_mut().0.iter_mut().zip(sums.as_flattened()).for_each(|(out, sums)| sums.store(out));
}

fn elements(sums: [Sums; 2]) -> [f32; OUTPUTS] {
    let mut elements = [0.0; OUTPUTS];
    store(sums, &mut elements);
    elements
}

/// Room for the sums of a panel, those of its first eight outputs and of the others, and for the integers of a block, spread out.
#[derive(Default)]
pub(super) struct Scratch {
    totals: [Vec<Sums>; 2],
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
        write: &mut impl FnMut(usize, [&[Sums]; 2]),
    ) {
        match activations.rows {
            1 => write(0, slices(&self.multiply_few::<S, 1>(activations))),
            2 => write(0, slices(&self.multiply_few::<S, 2>(activations))),
            3 => write(0, slices(&self.multiply_few::<S, 3>(activations))),
            TILE_ROWS => write(0, slices(&self.multiply_few::<S, TILE_ROWS>(activations))),
            _ => {
                self.multiply_many::<S>(activations, part, scratch);
                write(part.first_row, scratch.totals.each_ref().map(|totals| &totals[..]));
            }
        }
    }

    /// All rows, where they are one tile, as fast as the weights come from memory.
    #[inline(never)]
    fn multiply_few<S: ProductSums, const ROWS: usize>(self, activations: &Activations) -> [[Sums; ROWS]; 2] {
        let (layout, spreader) = (self.weights.layout(), Spreader::new());
        let mut totals = [[[F32x4::splat(0.0); 2]; ROWS]; 2];
        let rows = activations.all();
        let blocks = self.weights.panel(self.index).zip(rows.tiles::<ROWS>());
        // One loop for each kind of blocks: the common one shall not give registers to what the others need.
        match (rows.is_one_run(layout.planes()), layout.symmetric()) {
            (true, true) => blocks.for_each(|(blocks, tile)| {
                let worth = |block: &Block| Worth { scales: block.scales(), zero_points: None };
                tile.add_packed_run::<S>(&blocks, spreader, worth, &mut totals);
            }),
            (true, false) => blocks.for_each(|(blocks, tile)| {
                tile.add_packed_run::<S>(&blocks, spreader, |block| block.worth(), &mut totals);
            }),
            (false, _) if layout.planes() == 1 => blocks.for_each(|(blocks, tile)| {
                tile.add_packed_runs::<S>(&blocks, spreader, 1, &mut totals);
            }),
            (false, _) => blocks.for_each(|(blocks, tile)| {
                tile.add_packed_runs::<S>(&blocks, spreader, layout.planes(), &mut totals);
            }),
        }
        totals
    }

    /// Leaves the sums of the part's rows in `scratch`.
    ///
    /// All rows go through a block before any goes through the next one, so that the registers hold nothing but the
    /// block's integer sums, and its integers are spread out once.
    #[inline(never)]
    fn multiply_many<S: ProductSums>(self, activations: &Activations, part: Part, scratch: &mut Scratch) {
        let Scratch { totals, spread } = scratch;
        let (planes, spreader) = (self.weights.layout().planes(), Spreader::new());
        for totals in &mut *totals {
            totals.clear();
            totals.resize(part.rows, [F32x4::splat(0.0); 2]);
        }
        for (index, blocks) in self.weights.panel(self.index).enumerate() {
            for (block, totals) in blocks.iter().zip(&mut *totals) {
                spread.clear();
                for group in block.groups {
                    let [first, second] = [0, 1].map(|half| spreader.operands(&group[half].0));
                    spread.extend((0..WORDS).map(|word| [first[word], second[word]]));
                }
                let rows = activations.block(index, part.first_row..part.first_row + part.rows);
                let (tiles, rest) = totals.as_chunks_mut::<TILE_ROWS>();
                rows.add_tiles::<S, TILE_ROWS>(spread, planes, block.worth(), tiles);
                let first = part.first_row + tiles.len() * TILE_ROWS;
                let rows = activations.block(index, first..part.first_row + part.rows);
                match rest.len() {
                    1 => rows.add_tiles::<S, 1>(spread, planes, block.worth(), rest.as_chunks_mut().0),
                    2 => rows.add_tiles::<S, 2>(spread, planes, block.worth(), rest.as_chunks_mut().0),
                    3 => rows.add_tiles::<S, 3>(spread, planes, block.worth(), rest.as_chunks_mut().0),
                    _ => {}
                }
            }
        }
    }

    /// As [`Panel::multiply_rounded`] for rows of f32.
    fn multiply_floats(self, rows: usize, values: &[f32], write: &mut impl FnMut(usize, [&[Sums]; 2])) {
        let (layout, blocks) = (self.weights.layout(), self.weights.panel(self.index));
        match rows {
            1 => write(0, slices(&multiply_floats::<1>(values, layout, blocks))),
            2 => write(0, slices(&multiply_floats::<2>(values, layout, blocks))),
            3 => write(0, slices(&multiply_floats::<3>(values, layout, blocks))),
            _ => write(0, slices(&multiply_floats::<4>(values, layout, blocks))),
        }
    }
}

fn slices<const ROWS: usize>(sums: &[[Sums; ROWS]; 2]) -> [&[Sums]; 2] {
    sums.each_ref().map(|sums| &sums[..])
}

/// Activations rounded to 8 bits, block after block, all rows of a block together.
pub(super) struct Activations {
    /// Whether products are summed in 16 bits as long as they fit.
    narrow: bool,
    rows: usize,
    blocks: usize,
    /// Words that a row has of each block.
    block_words: usize,
    buffers: Buffers,
}

/// What [`Activations`] consist of.
#[derive(Default)]
struct Buffers {
    /// In tiles of [`TILE_ROWS`] rows, the last one of a block perhaps of fewer. Inside a tile, the words of the same inputs
    /// lie side by side.
    words: Vec<u32>,
    /// One for each block and row, as all that follow.
    scales: Vec<f32>,
    /// Sums of the integers.
    sums: Vec<f32>,
    /// What the sums of the runs of a row start from, in tiles as the words.
    starts: Vec<u32>,
}

thread_local! {
    /// Those of the last product: what the processor has at hand gives way to weights, but not what is read along with them.
    static LAST: Cell<Buffers> = Cell::default();
}

/// Bytes of buffers that are kept for the next product at most.
const MOST_KEPT: usize = 1 << 20;

impl Buffers {
    /// So many words, blocks and runs, all 0.
    fn zeros(words: usize, blocks: usize, runs: usize) -> Buffers {
        let mut buffers = LAST.take();
        let Buffers { words: all, scales, sums, starts } = &mut buffers;
        for (buffer, len) in [(all, words), (starts, runs)] {
            buffer.clear();
            buffer.resize(len, 0);
        }
        for buffer in [scales, sums] {
            buffer.clear();
            buffer.resize(blocks, 0.0);
        }
        buffers
    }

    fn bytes(&self) -> usize {
        let Buffers { words, scales, sums, starts } = self;
        4 * (words.capacity() + scales.capacity() + sums.capacity() + starts.capacity())
    }
}

impl Drop for Activations {
    fn drop(&mut self) {
        if self.buffers.bytes() <= MOST_KEPT {
            LAST.set(take(&mut self.buffers));
        }
    }
}

/// Some rows in a block, from the beginning of a tile on.
#[derive(Clone, Copy)]
struct BlockRows<'a> {
    words: &'a [u32],
    /// Words of a row.
    block_words: usize,
    scales: &'a [f32],
    sums: &'a [f32],
    /// One for each run of a row.
    starts: &'a [u32],
}

/// The rows of a tile, in a block.
#[derive(Clone, Copy)]
struct Tile<'a, const ROWS: usize> {
    words: &'a [[u32; ROWS]],
    scales: &'a [f32; ROWS],
    sums: &'a [f32; ROWS],
    /// Of each run.
    starts: &'a [[u32; ROWS]],
}

impl Activations {
    /// Rounds rows of `weights.inputs()` elements.
    pub(super) fn new(x: &[f32], rows: usize, weights: &BlockWeights, narrow: bool) -> Activations {
        let (layout, blocks) = (weights.layout(), weights.blocks());
        let block_words = layout.groups() * WORDS;
        let all = rows * blocks;
        let buffers = Buffers::zeros(all * block_words, all, all * block_words.div_ceil(RUN));
        let mut activations = Activations { narrow, rows, blocks, block_words, buffers };
        activations.round(x, weights.inputs(), layout);
        activations
    }

    /// Rounds rows of so many elements.
    fn round(&mut self, x: &[f32], inputs: usize, layout: Layout) {
        let (runs, &mut Activations { narrow, rows, block_words, .. }) = (self.runs(), &mut *self);
        let Buffers { words, scales, sums, starts } = &mut self.buffers;
        let (words, starts) = (SharedOutput::new(words), SharedOutput::new(starts));
        let (scales, sums) = (SharedOutput::new(scales), SharedOutput::new(sums));
        for_each(
            rows.div_ceil(TASK_ROWS),
            rows.saturating_mul(inputs).saturating_mul(ROUNDING_WORK),
            ByteRounder::signed,
            |rounder, task| {
                for row in task * TASK_ROWS..rows.min((task + 1) * TASK_ROWS) {
                    let first = row / TILE_ROWS * TILE_ROWS;
                    let tile_rows = TILE_ROWS.min(rows - first);
                    for (index, values) in x[row * inputs..][..inputs].chunks(layout.block_size()).enumerate() {
                        let at = index * rows + first;
                        // SAFETY: every tile is one task's, and has its own part of each buffer.
                        let tile = unsafe {
                            RoundedTile {
                                words: words.slice(at * block_words, tile_rows * block_words),
                                starts: starts.slice(at * runs, tile_rows * runs),
                                scales: scales.slice(at, tile_rows),
                                sums: sums.slice(at, tile_rows),
                            }
                        };
                        let block = RoundedBlock::new(values, *rounder);
                        let start = |halves| match (layout.symmetric(), narrow) {
                            (false, _) => 0,
                            (true, true) => NarrowSums::start(halves),
                            (true, false) => I32x4::start(halves),
                        };
                        tile.put(row - first, block, values, start);
                    }
                }
            },
        );
    }

    /// Runs of a block.
    fn runs(&self) -> usize {
        self.block_words.div_ceil(RUN)
    }

    /// All rows in every block, where they are one tile: the tiles are those of the blocks.
    #[inline(always)]
    fn all(&self) -> BlockRows<'_> {
        let Activations { block_words, buffers: Buffers { words, scales, sums, starts }, .. } = self;
        BlockRows { words, block_words: *block_words, scales, sums, starts }
    }

    /// Some rows, the first of which begins a tile.
    #[inline(always)]
    fn block(&self, block: usize, rows: Range<usize>) -> BlockRows<'_> {
        let own = block * self.rows + rows.start..block * self.rows + rows.end;
        BlockRows {
            words: &self.buffers.words[own.start * self.block_words..own.end * self.block_words],
            block_words: self.block_words,
            scales: &self.buffers.scales[own.clone()],
            sums: &self.buffers.sums[own.clone()],
            starts: &self.buffers.starts[own.start * self.runs()..own.end * self.runs()],
        }
    }

    /// Rows that go through all weights together: whole tiles.
    fn row_block(&self) -> usize {
        let row_bytes = self.blocks * self.block_words * 4;
        (ROW_BLOCK_BYTES / row_bytes.max(1) / TILE_ROWS).clamp(8, 64) * TILE_ROWS
    }
}

/// What [`Activations`] has of a tile in a block, to be written.
struct RoundedTile<'a> {
    words: &'a mut [u32],
    starts: &'a mut [u32],
    /// One for each row, as the sums.
    scales: &'a mut [f32],
    sums: &'a mut [f32],
}

impl RoundedTile<'_> {
    /// Writes the elements of a row. `start` gives what the sums of a run start from, given the products of half the range with the
    /// first and the last two bytes of its words.
    #[inline(always)]
    fn put(self, row: usize, block: RoundedBlock, values: &[f32], start: impl Fn([i32; 2]) -> u32) {
        let tile_rows = self.scales.len();
        let out = &mut self.words[row..];
        let mut sum = 0;
        for (run, values) in values.chunks(RUN / WORDS * GROUP).enumerate() {
            let mut halves = [0; 2];
            let out = out[run * RUN * tile_rows..].chunks_mut(2 * WORDS * tile_rows);
            for (values, out) in values.chunks(2 * GROUP).zip(out) {
                let rounded = block.round(values);
                let own = sums_of_halves(&rounded);
                halves = [halves[0] + own[0], halves[1] + own[1]];
                let words = rounded.as_chunks().0.iter().flat_map(|group| words(*group));
                out.iter_mut().step_by(tile_rows).zip(words).for_each(|(out, word)| *out = word);
            }
            sum += halves[0] + halves[1];
            // Half the range of 4 bits, and of 8 bits once the sums over the high halves are multiplied by 16.
            self.starts[run * tile_rows + row] = start(halves.map(|sum| -8 * sum));
        }
        self.scales[row] = block.scale;
        self.sums[row] = sum as f32;
    }
}

/// How a block is rounded.
#[derive(Clone, Copy)]
struct RoundedBlock {
    scale: f32,
    reciprocal: F32x4,
    rounder: ByteRounder,
}

impl RoundedBlock {
    /// NaN and infinities make the scale NaN. Blocks far below the normal numbers become 0.
    #[inline(always)]
    fn new(values: &[f32], rounder: ByteRounder) -> RoundedBlock {
        let (whole, rest) = values.as_chunks();
        let last = (!rest.is_empty()).then(|| F32x4::load_partial(rest));
        let lanes = whole.iter().map(F32x4::load).chain(last);
        let largest = lanes.fold(F32x4::splat(0.0), F32x4::max_magnitude).largest_magnitude();
        let scale = largest / 127.0;
        let reciprocal = 1.0 / scale;
        let (scale, reciprocal) = match (largest.is_finite(), reciprocal.is_finite()) {
            (true, true) => (scale, reciprocal),
            (true, false) => (0.0, 0.0),
            (false, _) => (f32::NAN, 0.0),
        };
        RoundedBlock { scale, reciprocal: F32x4::splat(reciprocal), rounder }
    }

    /// Up to sixteen elements, filled up with 0.
    #[inline(always)]
    fn round(self, values: &[f32]) -> [i8; 2 * GROUP] {
        let mut all = [0.0; 2 * GROUP];
        let values = values.as_array().unwrap_or_else(|| {
            all[..values.len()].copy_from_slice(values);
            &all
        });
        self.rounder
            .round(from_fn(|lanes| F32x4::load(&values.as_chunks().0[lanes]) * self.reciprocal))
            .map(|byte| byte as i8)
    }
}

impl<'a> BlockRows<'a> {
    /// Whether a block with integers of so many planes is one run.
    fn is_one_run(&self, planes: usize) -> bool {
        planes == 1 && self.block_words <= RUN
    }

    #[inline(always)]
    fn tiles<const ROWS: usize>(&self) -> impl Iterator<Item = Tile<'a, ROWS>> {
        let words = self.words.chunks_exact((ROWS * self.block_words).max(1));
        let starts = self.starts.chunks_exact((ROWS * self.block_words.div_ceil(RUN)).max(1));
        let rows = words.zip(starts).zip(self.scales.as_chunks().0).zip(self.sums.as_chunks().0);
        rows.map(|(((words, starts), scales), sums)| Tile {
            words: words.as_chunks().0,
            scales,
            sums,
            starts: starts.as_chunks().0,
        })
    }

    /// Adds the products of all tiles with a block to their totals.
    #[inline(always)]
    fn add_tiles<S: ProductSums, const ROWS: usize>(
        &self,
        operands: &[[Operand; 2]],
        planes: usize,
        worth: Worth,
        totals: &mut [[Sums; ROWS]],
    ) {
        if self.is_one_run(planes) {
            for (tile, totals) in self.tiles::<ROWS>().zip(totals) {
                tile.add_run::<S>(operands, worth, totals);
            }
        } else {
            for (tile, totals) in self.tiles::<ROWS>().zip(totals) {
                tile.add_runs::<S>(operands, planes, worth, totals);
            }
        }
    }
}

impl<const ROWS: usize> Tile<'_, ROWS> {
    /// Adds the product with a block that is one run to the totals. Its integers are spread out.
    #[inline(always)]
    fn add_run<S: ProductSums>(self, operands: &[[Operand; 2]], worth: Worth, totals: &mut [Sums; ROWS]) {
        let sums = multiply_run::<S, ROWS>(self.words, operands, &self.starts[0]);
        self.add(sums.map(|halves| halves.map(S::total)), worth, totals);
    }

    /// As [`Tile::add_run`], with a block of any size.
    #[inline(always)]
    fn add_runs<S: ProductSums>(
        self,
        operands: &[[Operand; 2]],
        planes: usize,
        worth: Worth,
        totals: &mut [Sums; ROWS],
    ) {
        self.add_planes(planes, worth, totals, |plane, products| {
            let operands = &operands[plane * operands.len() / planes..][..operands.len() / planes];
            let words = self.words.chunks(RUN).zip(self.starts_of(plane));
            for ((words, starts), operands) in words.zip(operands.chunks(RUN)) {
                add_totals(products, multiply_run::<S, ROWS>(words, operands, starts));
            }
        });
    }

    /// Adds the products with blocks that are one run, side by side, to the totals of each.
    #[inline(always)]
    fn add_packed_run<S: ProductSums>(
        self,
        blocks: &[Block<'_>; 2],
        spreader: Spreader,
        worth: impl Fn(&Block) -> Worth,
        totals: &mut [[Sums; ROWS]; 2],
    ) {
        let starts = &self.starts[0];
        let sums = match ROWS {
            // A row reads its words once for both; the sums of more would not stay in registers.
            1 => multiply_packed_run(self.words, blocks.each_ref().map(|block| block.groups), spreader, starts),
            _ => blocks.each_ref().map(|block| {
                let [sums] = multiply_packed_run::<S, ROWS, 1>(self.words, [block.groups], spreader, starts);
                sums
            }),
        };
        for ((block, sums), totals) in blocks.iter().zip(sums).zip(totals) {
            self.add(sums.map(|halves| halves.map(S::total)), worth(block), totals);
        }
    }

    /// As [`Tile::add_packed_run`], with blocks of any size.
    #[inline(always)]
    fn add_packed_runs<S: ProductSums>(
        self,
        blocks: &[Block<'_>; 2],
        spreader: Spreader,
        planes: usize,
        totals: &mut [[Sums; ROWS]; 2],
    ) {
        for (block, totals) in blocks.iter().zip(totals) {
            self.add_planes(planes, block.worth(), totals, |plane, products| {
                let groups = &block.groups[plane * block.groups.len() / planes..][..block.groups.len() / planes];
                let words = self.words.chunks(RUN).zip(self.starts_of(plane));
                for ((words, starts), groups) in words.zip(groups.chunks(RUN / WORDS)) {
                    let [sums] = multiply_packed_run::<S, ROWS, 1>(words, [groups], spreader, starts);
                    add_totals(products, sums);
                }
            });
        }
    }

    /// Adds the product with a block to the totals. `add` adds that with one plane of the integers to the sums.
    #[inline(always)]
    fn add_planes(
        self,
        planes: usize,
        worth: Worth,
        totals: &mut [Sums; ROWS],
        add: impl Fn(usize, &mut [[I32x4; 2]; ROWS]),
    ) {
        let mut products = [[I32x4::splat(0); 2]; ROWS];
        for plane in 0..planes {
            if plane > 0 {
                products = products.map(|halves| halves.map(I32x4::times_16));
            }
            add(plane, &mut products);
        }
        self.add(products, worth, totals);
    }

    /// What the sums of the runs of a plane begin with.
    #[inline(always)]
    fn starts_of(&self, plane: usize) -> impl Iterator<Item = &[u32; ROWS]> {
        self.starts.iter().map(move |starts| if plane == 0 { starts } else { &[0; ROWS] })
    }

    /// Adds what integer sums are worth to the totals.
    #[inline(always)]
    fn add(self, products: [[I32x4; 2]; ROWS], worth: Worth, totals: &mut [Sums; ROWS]) {
        let mut products = products.map(|halves| halves.map(I32x4::to_f32));
        if let Some(zero_points) = worth.zero_points {
            for (product, sum) in products.iter_mut().zip(self.sums) {
                *product = [0, 1].map(|half| product[half] - zero_points[half] * F32x4::splat(*sum));
            }
        }
        for ((totals, product), scale) in totals.iter_mut().zip(products).zip(self.scales) {
            let scale = F32x4::splat(*scale);
            for half in 0..2 {
                totals[half] = product[half].mul_add(worth.scales[half] * scale, totals[half]);
            }
        }
    }
}

/// Adds the integer sums of a run.
#[inline(always)]
fn add_totals<S: ProductSums, const ROWS: usize>(products: &mut [[I32x4; 2]; ROWS], sums: [[S; 2]; ROWS]) {
    for (products, sums) in products.iter_mut().zip(sums) {
        *products = [0, 1].map(|half| products[half] + sums[half].total());
    }
}

/// The integer sums of a run, with integers that are spread out.
#[inline(always)]
fn multiply_run<S: ProductSums, const ROWS: usize>(
    words: &[[u32; ROWS]],
    operands: &[[Operand; 2]],
    starts: &[u32; ROWS],
) -> [[S; 2]; ROWS] {
    let mut sums = starts.map(|start| [S::begin(start); 2]);
    let words = &words[..operands.len()];
    let mut steps = operands.iter().zip(words);
    // Looking between any two steps whether they end keeps LLVM from ordering all of them by sums: on WebAssembly it would hold what
    // they read in more registers than there are.
    let mut add_next = || {
        let Some((operands, words)) = steps.next() else { return false };
        add_word(&mut sums, *operands, words);
        true
    };
    // Several steps a turn: V8 looks each turn whether it is to stop.
    while add_next() && add_next() && add_next() && add_next() {}
    sums
}

/// The integer sums of a run, with the groups of some blocks side by side.
#[inline(always)]
fn multiply_packed_run<S: ProductSums, const ROWS: usize, const BLOCKS: usize>(
    words: &[[u32; ROWS]],
    groups: [&[Group]; BLOCKS],
    spreader: Spreader,
    starts: &[u32; ROWS],
) -> [[[S; 2]; ROWS]; BLOCKS] {
    let mut sums = [starts.map(|start| [S::begin(start); 2]); BLOCKS];
    let words = words.as_chunks::<WORDS>().0;
    let groups = groups.map(|groups| &groups[..words.len()]);
    let mut steps = words.iter().enumerate();
    // As in `multiply_run`.
    let mut add_next = || {
        let Some((step, words)) = steps.next() else { return false };
        let operands = groups.map(|groups| [0, 1].map(|half| spreader.operands(&groups[step][half].0)));
        for (word, words) in words.iter().enumerate() {
            for (sums, [first, second]) in sums.iter_mut().zip(operands) {
                add_word(sums, [first[word], second[word]], words);
            }
        }
        true
    };
    let _ = add_next() && add_next() && add_next() && add_next();
    sums
}

#[inline(always)]
fn add_word<S: ProductSums, const ROWS: usize>(sums: &mut [[S; 2]; ROWS], operands: [Operand; 2], words: &[u32; ROWS]) {
    for (sums, word) in sums.iter_mut().zip(words) {
        *sums = [0, 1].map(|half| sums[half].add_products(*word, operands[half]));
    }
}

/// Rows of f32, times a panel.
#[inline(never)]
fn multiply_floats<'a, const ROWS: usize>(
    values: &[f32],
    layout: Layout,
    panel: impl Iterator<Item = [Block<'a>; 2]>,
) -> [[Sums; ROWS]; 2] {
    let mut sums = [[[F32x4::splat(0.0); 2]; ROWS]; 2];
    let values = values.as_chunks::<ROWS>().0.as_chunks::<GROUP>().0.chunks_exact(layout.groups());
    for (blocks, values) in panel.zip(values) {
        for (block, sums) in blocks.iter().zip(&mut sums) {
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
    use super::{Activations, BlockProduct, Left, Part, Scratch, SharedOutput};
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
        let weights_in_blocks = weights.block_weights().expect("weights in blocks");
        let left = Left::Rounded(Activations::new(x, rows, weights_in_blocks, narrow));
        let product = BlockProduct { weights: weights_in_blocks, left };
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
