//! The inner loop of products of 8-bit matrices: some rows times one panel of twelve columns.

use super::byte_products::{Block, ByteProducts};
use super::simd::bytes::I32x4;
use std::array::from_fn;
use std::ops::Range;

/// Blocks beside each other in a panel. The sums of three rows and three blocks, with their operands, fill the registers of
/// a machine that has sixteen, and are enough to hide how long an instruction takes.
pub(super) const BLOCKS: usize = 3;

/// Columns of a panel.
pub(super) const PANEL: usize = 4 * BLOCKS;

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

/// The left-hand matrix in fours of elements, in tiles of [`tile_rows`] rows, the last of which may have fewer: the first fours
/// of a tile's rows, then their second fours, and so on.
pub(super) struct LeftTiles<'a, P: ByteProducts> {
    pub(super) values: &'a [[P::Element; 4]],
    /// Fours of a row.
    pub(super) stride: usize,
}

/// Rows of a tile.
pub(super) const fn tile_rows<P: ByteProducts>() -> usize {
    if P::NARROW_TILES { 4 } else { 3 }
}

/// Sums of the columns of a panel.
pub(super) type PanelSums = [I32x4; BLOCKS];

/// Calls `write(row, sums)` with the sums over the panel's rows, for the rows `rows` of `left`, which begin with a tile and end
/// with one.
#[inline(always)]
pub(super) fn multiply_panel<P: ByteProducts>(
    left: LeftTiles<'_, P>,
    rows: Range<usize>,
    panel: Panel<'_>,
    write: impl Fn(usize, &PanelSums),
) {
    let tiles = left.values[rows.start * left.stride..rows.end * left.stride].chunks(tile_rows::<P>() * left.stride);
    for (tile, row) in tiles.zip(rows.step_by(tile_rows::<P>())) {
        let write = |r: usize, sums: &PanelSums| write(row + r, sums);
        match (tile.len() / left.stride, P::NARROW_TILES) {
            (4, _) => multiply_block_by_block::<P, 4>(tile, panel, write),
            (3, true) => multiply_block_by_block::<P, 3>(tile, panel, write),
            (2, true) => multiply_block_by_block::<P, 2>(tile, panel, write),
            (3, false) => write_rows(&multiply_tile::<P, 3, BLOCKS>(tile, panel, 0), write),
            (2, false) => write_rows(&multiply_tile::<P, 2, BLOCKS>(tile, panel, 0), write),
            _ => write_rows(&multiply_tile::<P, 1, BLOCKS>(tile, panel, 0), write),
        }
    }
}

/// Calls `write(r, sums)` for every row.
#[inline(always)]
pub(super) fn write_rows(sums: &[PanelSums], write: impl Fn(usize, &PanelSums)) {
    sums.iter().enumerate().for_each(|(r, sums)| write(r, sums));
}

#[inline(always)]
fn multiply_block_by_block<P: ByteProducts, const ROWS: usize>(
    tile: &[[P::Element; 4]],
    panel: Panel<'_>,
    write: impl Fn(usize, &PanelSums),
) {
    let blocks: [[[I32x4; 1]; ROWS]; BLOCKS] = from_fn(|block| multiply_tile::<P, ROWS, 1>(tile, panel, block));
    write_rows(&from_fn::<_, ROWS, _>(|r| blocks.map(|rows| rows[r][0])), write);
}

/// A tile of `ROWS` rows times blocks `block..block + WIDTH`.
#[inline(always)]
fn multiply_tile<P: ByteProducts, const ROWS: usize, const WIDTH: usize>(
    tile: &[[P::Element; 4]],
    panel: Panel<'_>,
    block: usize,
) -> [[I32x4; WIDTH]; ROWS] {
    // Said once, it need not be checked in the loop.
    assert!(block + WIDTH <= BLOCKS);
    let products = P::new();
    let mut sums = [[P::zero(); WIDTH]; ROWS];
    let tile = tile.as_chunks::<ROWS>().0;
    let mut steps = tile.iter().zip(panel.rows);
    let mut add_next = || {
        let Some((fours, blocks)) = steps.next() else { return false };
        let factors = fours.each_ref().map(P::factors);
        for (column, block) in blocks[block..block + WIDTH].iter().enumerate() {
            let weights = P::weights(block);
            for r in 0..ROWS {
                sums[r][column] = products.add_products(sums[r][column], factors[r], weights);
            }
        }
        true
    };
    // Two steps a turn: V8 looks each turn whether it is to stop.
    while add_next() && add_next() {}
    for (column, extras) in panel.extras[block..block + WIDTH].iter().enumerate() {
        let Extras { fours, blocks } = extras;
        for (four, block) in fours.iter().zip(*blocks) {
            let (factors, weights) = (&tile[*four as usize], P::weights(block));
            for r in 0..ROWS {
                sums[r][column] = products.add_products(sums[r][column], P::factors(&factors[r]), weights);
            }
        }
    }
    sums.map(|sums| sums.map(P::total))
}
