//! The inner loop of products of 8-bit matrices: some rows times one panel of eight columns.
#![allow(unsafe_code)]

use super::byte_products::{Block, ByteProducts, Products};
use super::parallel::SharedRows;
use super::simd::bytes::I32x4;
use std::array::from_fn;
use std::hint::black_box;
use std::ops::Range;

/// Blocks beside each other in a panel. The sums of [`MOST_ROWS`] rows and as many blocks, with their operands, fill the registers of
/// a machine that has sixteen, of which V8 keeps one for itself.
pub(super) const BLOCKS: usize = 2;

/// Columns of a panel.
pub(super) const PANEL: usize = 4 * BLOCKS;

/// Most rows of a tile.
pub(super) const MOST_ROWS: usize = 6;

/// Four rows of a panel.
pub(super) type PanelRows = [Block; BLOCKS];

/// A panel.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) rows: &'a [PanelRows],
    /// What is added to each of its blocks' columns.
    pub(super) extras: [Extras<'a>; BLOCKS],
}

/// Blocks that are added to others, and the numbers of the fours of rows in which these lie.
#[derive(Clone, Copy, Default)]
pub(super) struct Extras<'a> {
    pub(super) fours: &'a [u32],
    pub(super) blocks: &'a [Block],
}

/// The left-hand matrix in fours of elements, in tiles, the last of which may have fewer rows: the first fours of a tile's rows, then
/// their second fours, and so on.
pub(super) struct LeftTiles<'a, P: ByteProducts> {
    pub(super) values: &'a [[P::Element; 4]],
    /// Fours of a row.
    pub(super) stride: usize,
    /// Rows of a tile, as [`tile_rows`] gives them.
    pub(super) tile_rows: usize,
}

/// Rows of the tiles of so many rows: as many as a tile may have, fewer where all tiles then have about as many.
pub(super) fn tile_rows(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most).max(1)).max(1)
}

/// Sums of the columns of a panel.
pub(super) type PanelSums = [I32x4; BLOCKS];

/// What becomes of a tile's sums.
pub(super) trait TileSums {
    /// Takes the sums of some rows, from the `first`th of those that are multiplied on.
    fn put<const ROWS: usize>(&mut self, first: usize, sums: [PanelSums; ROWS]);
}

/// They are kept until those of the next tile come.
impl TileSums for [PanelSums; MOST_ROWS] {
    #[inline(always)]
    fn put<const ROWS: usize>(&mut self, _: usize, sums: [PanelSums; ROWS]) {
        self[..ROWS].copy_from_slice(&sums);
    }
}

/// They are written, less a number for each column.
pub(super) struct Written<'a, T, Write> {
    /// Of all rows that are multiplied.
    pub(super) out: SharedRows<'a, T, PANEL>,
    pub(super) less: PanelSums,
    pub(super) write: Write,
}

impl<T, Write: Fn(&PanelSums, &mut [T; PANEL])> TileSums for Written<'_, T, Write> {
    #[inline(always)]
    fn put<const ROWS: usize>(&mut self, first: usize, sums: [PanelSums; ROWS]) {
        for (sums, out) in sums.iter().zip(self.out.some::<ROWS>(first)) {
            (self.write)(&from_fn(|block| sums[block] - self.less[block]), out);
        }
    }
}

/// Puts every tile's sums over the panel's rows into `sums`, for the rows `rows` of `left`, which begin with a tile and end with one, and
/// calls `then(sums, rows)` with the tile's rows.
#[inline(always)]
pub(super) fn multiply_panel<P: ByteProducts, S: TileSums>(
    left: LeftTiles<'_, P>,
    rows: Range<usize>,
    panel: Panel<'_>,
    sums: &mut S,
    then: impl Fn(&S, Range<usize>),
) {
    const { assert!(P::TILE_ROWS <= MOST_ROWS) };
    let LeftTiles { values, stride, tile_rows } = left;
    let tiles = values[rows.start * stride..rows.end * stride].chunks(tile_rows * stride);
    for (tile, row) in tiles.zip((0..rows.len()).step_by(tile_rows)) {
        let height = tile.len() / stride;
        // The fewer rows, the more chains of sums each has: so there are always several independent additions under way. Three rows have
        // two where products take no more registers than tiles of most rows allow.
        match height {
            6 => multiply_tile::<P, S, 6, 1>(tile, &panel, row, sums),
            5 => multiply_tile::<P, S, 5, 1>(tile, &panel, row, sums),
            4 => multiply_tile::<P, S, 4, 1>(tile, &panel, row, sums),
            3 if P::TILE_ROWS == MOST_ROWS => multiply_tile::<P, S, 3, 2>(tile, &panel, row, sums),
            3 => multiply_tile::<P, S, 3, 1>(tile, &panel, row, sums),
            2 => multiply_tile::<P, S, 2, 2>(tile, &panel, row, sums),
            _ => multiply_tile::<P, S, 1, 4>(tile, &panel, row, sums),
        }
        then(sums, rows.start + row..rows.start + row + height);
    }
}

/// Puts the sums of a tile of `ROWS` rows, from the `row`th of those that are multiplied on, into `sums`.
#[inline(never)]
fn multiply_tile<P: ByteProducts, S: TileSums, const ROWS: usize, const CHAINS: usize>(
    tile: &[[P::Element; 4]],
    panel: &Panel<'_>,
    row: usize,
    sums: &mut S,
) {
    let mut totals = [[I32x4::splat(0); BLOCKS]; ROWS];
    if P::TILE_BLOCKS == BLOCKS {
        multiply_blocks::<P, ROWS, CHAINS, BLOCKS>(tile, panel, 0, &mut totals);
    } else {
        (0..BLOCKS).for_each(|block| multiply_blocks::<P, ROWS, CHAINS, 1>(tile, panel, block, &mut totals));
    }
    sums.put(row, totals);
}

/// As [`multiply_tile`], with blocks `block..block + WIDTH`.
#[inline(always)]
fn multiply_blocks<P: ByteProducts, const ROWS: usize, const CHAINS: usize, const WIDTH: usize>(
    tile: &[[P::Element; 4]],
    panel: &Panel<'_>,
    block: usize,
    totals: &mut [PanelSums; ROWS],
) {
    let products = P::new();
    let tile = tile.as_chunks::<ROWS>().0;
    let mut sums = sums_of_products::<P, ROWS, CHAINS, WIDTH>(products, tile, panel.rows, block);
    for (column, extras) in panel.extras[block..block + WIDTH].iter().enumerate() {
        let Extras { fours, blocks } = extras;
        for (four, block) in fours.iter().zip(*blocks) {
            let (factors, weights) = (&tile[*four as usize], P::weights(block));
            for r in 0..ROWS {
                let sums = &mut sums[0][r][column];
                *sums = products.add_products(*sums, P::factors(&factors[r]), weights);
            }
        }
    }
    for r in 0..ROWS {
        for column in 0..WIDTH {
            let first = P::total(sums[0][r][column]);
            totals[r][block + column] = sums[1..].iter().fold(first, |total, sums| total + P::total(sums[r][column]));
        }
    }
}

/// Sums of the products of a tile's rows with blocks `block..block + WIDTH` of a panel; in `CHAINS` parts, to be added up.
#[inline(always)]
pub(super) fn sums_of_products<P: Products, const ROWS: usize, const CHAINS: usize, const WIDTH: usize>(
    products: P,
    tile: &[[[P::Element; 4]; ROWS]],
    rows: &[PanelRows],
    block: usize,
) -> [[[P::Sums; WIDTH]; ROWS]; CHAINS] {
    const { assert!(ROWS <= MOST_ROWS && TURN.is_multiple_of(CHAINS)) };
    // Said once, it need not be checked in the loop.
    assert!(block + WIDTH <= BLOCKS);
    let mut sums = [[[P::zero(); WIDTH]; ROWS]; CHAINS];
    let left = ROWS * tile.len().min(rows.len());
    // LLVM does not know that what is left is whole steps.
    let mut steps = Steps { products, block, tile: tile.as_ptr(), rows: rows.as_ptr(), left: black_box(left) };
    // SAFETY: so many rows are left on the left, and their steps on the right.
    while unsafe { steps.add_turn(&mut sums) } {}
    sums
}

/// Steps of a turn of the loop.
const TURN: usize = 8;

/// What is left of a tile and a panel.
struct Steps<P: Products, const ROWS: usize> {
    products: P,
    /// The first block.
    block: usize,
    tile: *const [[P::Element; 4]; ROWS],
    rows: *const PanelRows,
    /// Rows of all steps.
    left: usize,
}

impl<P: Products, const ROWS: usize> Steps<P, ROWS> {
    /// Adds the products of the next turn. Gives whether there may be more.
    ///
    /// # Safety
    /// What is left can be read.
    #[inline(always)]
    unsafe fn add_turn<const CHAINS: usize, const WIDTH: usize>(
        &mut self,
        sums: &mut [[[P::Sums; WIDTH]; ROWS]; CHAINS],
    ) -> bool {
        // LLVM knows nothing of these addresses, and so leaves the places of steps in a turn to the instructions.
        (self.tile, self.rows) = black_box((self.tile, self.rows));
        let mut add = |step: usize| {
            // SAFETY: as the caller promises.
            unsafe { self.add_step(step, &mut sums[step % CHAINS]) }
        };
        if !(add(0) && add(1) && add(2) && add(3) && add(4) && add(5) && add(6) && add(7)) {
            return false;
        }
        self.left -= ROWS * TURN;
        (self.tile, self.rows) = (self.tile.wrapping_add(TURN), self.rows.wrapping_add(TURN));
        true
    }

    /// Adds the products of a step of the turn. Gives whether it is there.
    ///
    /// # Safety
    /// As [`Steps::add_turn`].
    #[inline(always)]
    unsafe fn add_step<const WIDTH: usize>(&self, step: usize, sums: &mut [[P::Sums; WIDTH]; ROWS]) -> bool {
        // SAFETY: as the caller promises.
        unsafe {
            self.add_row(step, 0, sums)
                && self.add_row(step, 1, sums)
                && self.add_row(step, 2, sums)
                && self.add_row(step, 3, sums)
                && self.add_row(step, 4, sums)
                && self.add_row(step, 5, sums)
        }
    }

    /// Adds the products of a row, if the tile has so many. Gives whether it is left: leaving the loop between any two rows keeps LLVM from
    /// ordering it by columns, or by sums, for which there are too few registers.
    ///
    /// # Safety
    /// As [`Steps::add_turn`].
    #[inline(always)]
    unsafe fn add_row<const WIDTH: usize>(&self, step: usize, row: usize, sums: &mut [[P::Sums; WIDTH]; ROWS]) -> bool {
        if row >= ROWS {
            return true;
        }
        if ROWS * step + row == self.left {
            return false;
        }
        // SAFETY: the row is left, and so the step.
        let (four, blocks) = unsafe { (&(*self.tile.add(step))[row], &*self.rows.add(step)) };
        let factors = P::factors(four);
        for (sum, block) in sums[row].iter_mut().zip(&blocks[self.block..self.block + WIDTH]) {
            *sum = self.products.add_products(*sum, factors, P::weights(block));
        }
        true
    }
}
