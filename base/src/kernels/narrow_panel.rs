//! The inner loop of products of 8-bit matrices where sums of two products are made in 16 bits: they stay there as long as they
//! fit.
//!
//! Factors lie around their zero point, most of them close to it. So sums of `(x - zero point) · w` fit 16 bits over many rows of the
//! right-hand matrix where those of `x · w` do not. Modulo 2^16 the latter are the former and the zero point times `Σ w`: they may
//! wrap, and what is left once that is taken away is exact. How large a sum can be follows from the lengths of both vectors
//! (Cauchy and Schwarz), group by group of [`GROUP`] steps.
use super::byte_products::{Block, Products};
use super::integer_panel::{BLOCKS, Panel, PanelRows, PanelSums, TileSums, sums_of_products};
use super::simd::bytes::{Bytes16, I16x8, I32x4};
use std::array::from_fn;
use std::hint::black_box;
use std::ops::Range;

/// Steps, each of four rows of the right-hand matrix, that are looked at together.
pub(super) const GROUP: usize = 16;

/// Rows of a tile: their sums, with the operands and what a product is before it is added, fit into fifteen registers.
pub(super) const TILE_ROWS: usize = 5;

/// Rows from which on it is faster. What it saves for one, it takes to read [`PanelGroups`] from memory.
pub(super) const LEAST_ROWS: usize = 2;

/// Zero points as factors are.
pub(super) const ZERO_POINTS: Range<i32> = 0..256;

/// Sixteen bits hold what is not larger. It is less than 2^15 by more than what rounding can take from a sum of [`MOST_GROUPS`] products.
const BOUND: f32 = 32_700.0;

/// Groups that are added up at most.
const MOST_GROUPS: usize = 1 << 12;

/// The left-hand matrix in tiles, as [`LeftTiles`](super::integer_panel::LeftTiles) has them.
pub(super) struct LeftBytes<'a> {
    pub(super) values: &'a [[u8; 4]],
    /// Fours of a row.
    pub(super) stride: usize,
    /// Rows of a tile, at most [`TILE_ROWS`].
    pub(super) tile_rows: usize,
    /// As [`lengths`] gives them, tile by tile.
    pub(super) lengths: &'a [f32],
    /// Of each row; all in [`ZERO_POINTS`].
    pub(super) zero_points: &'a [i32],
}

/// Of each group of a tile the largest length of those vectors that are summed up in one lane: what the first two, or the last two,
/// of every four of a row's factors are above its zero point.
pub(super) fn lengths(tile: &[[u8; 4]], height: usize, zero_point: impl Fn(usize) -> i32) -> Vec<f32> {
    match height {
        5 => lengths_of::<5>(tile, zero_point),
        4 => lengths_of::<4>(tile, zero_point),
        3 => lengths_of::<3>(tile, zero_point),
        2 => lengths_of::<2>(tile, zero_point),
        _ => lengths_of::<1>(tile, zero_point),
    }
}

fn lengths_of<const ROWS: usize>(tile: &[[u8; 4]], zero_point: impl Fn(usize) -> i32) -> Vec<f32> {
    // A vector holds two fours. Which rows they belong to repeats after as many vectors as there are rows.
    let row = |vector: usize, half: usize| (2 * vector + half) % ROWS;
    let zero_points: [I16x8; ROWS] =
        from_fn(|vector| I16x8::load(&from_fn(|lane| zero_point(row(vector, lane / 4)) as i16)));
    let of_group = |group: &[[u8; 4]]| {
        let (pairs, odd) = group.as_chunks::<2>();
        let (whole, rest) = pairs.as_chunks::<ROWS>();
        let mut squares = [I32x4::splat(0); ROWS];
        let mut add = |vector: usize, pair: &[[u8; 4]; 2]| {
            let above = I16x8::from_u8(bytemuck::cast_ref(pair)) - zero_points[vector];
            squares[vector] = squares[vector] + above.dot(above);
        };
        whole.iter().for_each(|pairs| (0..ROWS).for_each(|vector| add(vector, &pairs[vector])));
        rest.iter().enumerate().for_each(|(vector, pair)| add(vector, pair));
        let mut sums = [[0; 2]; ROWS];
        for (vector, squares) in squares.into_iter().enumerate() {
            for (lane, square) in squares.to_array().into_iter().enumerate() {
                sums[row(vector, lane / 2)][lane % 2] += square;
            }
        }
        for four in odd {
            let r = (group.len() - 1) % ROWS;
            let square = |factor: u8| (i32::from(factor) - zero_point(r)).pow(2);
            sums[r] = [0, 1].map(|half| sums[r][half] + square(four[2 * half]) + square(four[2 * half + 1]));
        }
        length(sums.into_iter().flatten().max().unwrap_or(0))
    };
    tile.chunks(GROUP * ROWS).map(of_group).collect()
}

fn length(square: i32) -> f32 {
    (square as f32).sqrt()
}

/// What is known of the weights of a panel.
#[derive(Clone, PartialEq)]
pub(super) struct PanelGroups {
    /// Sums of the weights before each group, and of all: two for each column, of rows 0 and 1, and of rows 2 and 3. They wrap.
    sums: Vec<[[i16; 8]; BLOCKS]>,
    /// Of each group the largest length of a column's weights in rows 0 and 1, or 2 and 3, of its steps.
    lengths: Vec<f32>,
}

impl PanelGroups {
    pub(super) fn new(rows: &[PanelRows]) -> PanelGroups {
        let count = rows.len().div_ceil(GROUP);
        let mut groups = PanelGroups { sums: Vec::with_capacity(count + 1), lengths: Vec::with_capacity(count) };
        let one = Bytes16::load(black_box(&[1; 16]));
        let mut sums = [I16x8::splat(0); BLOCKS];
        groups.sums.push([[0; 8]; BLOCKS]);
        for rows in rows.chunks(GROUP) {
            let mut squares = [[I32x4::splat(0); 2]; BLOCKS];
            for blocks in rows {
                for (block, weights) in blocks.iter().enumerate() {
                    sums[block] = sums[block] + Bytes16::load(weights).dot_pairs(one);
                    for (half, weights) in weights.as_chunks().0.iter().enumerate() {
                        let weights = I16x8::from_i8(weights);
                        squares[block][half] = squares[block][half] + weights.dot(weights);
                    }
                }
            }
            let all = squares.as_flattened().iter().flat_map(|squares| squares.to_array());
            groups.lengths.push(length(all.max().unwrap_or(0)));
            groups.sums.push(sums.map(I16x8::to_array));
        }
        groups
    }

    /// How many groups from one on can be added up.
    #[inline(always)]
    fn that_fit(&self, first: usize, lengths: &[f32]) -> usize {
        let mut sum = 0.0;
        let fits = |(factors, weights): &(&f32, &f32)| {
            sum += *factors * *weights;
            sum <= BOUND
        };
        lengths[first..].iter().zip(&self.lengths[first..]).take(MOST_GROUPS).take_while(fits).count()
    }

    /// Sums of the weights of some groups.
    #[inline(always)]
    fn sums(&self, groups: Range<usize>) -> [I16x8; BLOCKS] {
        let [before, all] = [groups.start, groups.end].map(|group| &self.sums[group]);
        from_fn(|block| I16x8::load(&all[block]) - I16x8::load(&before[block]))
    }
}

/// As [`integer_panel::multiply_panel`](super::integer_panel::multiply_panel), with weights times what factors are above their zero point.
#[inline(always)]
pub(super) fn multiply_panel<S: TileSums>(
    left: LeftBytes<'_>,
    rows: Range<usize>,
    panel: Panel<'_>,
    groups: &PanelGroups,
    sums: &mut S,
    then: impl Fn(&S, Range<usize>),
) {
    let LeftBytes { values, stride, tile_rows, .. } = left;
    let tiles = values[rows.start * stride..rows.end * stride].chunks(tile_rows * stride);
    let lengths = left.lengths.chunks(groups.lengths.len()).skip(rows.start / tile_rows);
    for ((values, lengths), row) in tiles.zip(lengths).zip((0..rows.len()).step_by(tile_rows)) {
        let (height, zero_points) = (values.len() / stride, &left.zero_points[rows.start + row..]);
        match height {
            5 => Tile::<5>::new(values, lengths, zero_points).multiply(&panel, groups, row, sums),
            4 => Tile::<4>::new(values, lengths, zero_points).multiply(&panel, groups, row, sums),
            3 => Tile::<3>::new(values, lengths, zero_points).multiply(&panel, groups, row, sums),
            2 => Tile::<2>::new(values, lengths, zero_points).multiply(&panel, groups, row, sums),
            _ => Tile::<1>::new(values, lengths, zero_points).multiply(&panel, groups, row, sums),
        }
        then(sums, rows.start + row..rows.start + row + height);
    }
}

/// Some rows of the left-hand matrix.
struct Tile<'a, const ROWS: usize> {
    /// Step by step.
    fours: &'a [[[u8; 4]; ROWS]],
    /// Of each group.
    lengths: &'a [f32],
    zero_points: [I16x8; ROWS],
}

impl<'a, const ROWS: usize> Tile<'a, ROWS> {
    #[inline(always)]
    fn new(values: &'a [[u8; 4]], lengths: &'a [f32], zero_points: &[i32]) -> Self {
        let zero_points = from_fn(|r| I16x8::splat(zero_points[r] as i16));
        Tile { fours: values.as_chunks().0, lengths, zero_points }
    }

    /// Puts the sums of its rows, from the `row`th of those that are multiplied on, into `sums`.
    #[inline(never)]
    fn multiply<S: TileSums>(&self, panel: &Panel<'_>, groups: &PanelGroups, row: usize, sums: &mut S) {
        let mut totals = [[I32x4::splat(0); BLOCKS]; ROWS];
        let mut first = 0;
        while first < self.lengths.len() {
            let count = groups.that_fit(first, self.lengths);
            let own = first..first + count.max(1);
            let steps = own.start * GROUP..(own.end * GROUP).min(panel.rows.len());
            let (fours, rows, weights) = (&self.fours[steps.clone()], &panel.rows[steps], groups.sums(own.clone()));
            // Read and written here only: there are not registers enough to hold them in the loops.
            let totals = black_box(&mut totals);
            match count {
                0 => self.add_wide(fours, rows, weights, totals),
                _ => self.add_narrow(fours, rows, weights, totals),
            }
            first = own.end;
        }
        self.add_extras(panel, &mut totals);
        sums.put(row, totals);
    }

    /// Adds products of steps whose sums fit 16 bits. `weights` are the sums of the weights.
    #[inline(always)]
    fn add_narrow(
        &self,
        fours: &[[[u8; 4]; ROWS]],
        rows: &[PanelRows],
        weights: [I16x8; BLOCKS],
        sums: &mut [PanelSums; ROWS],
    ) {
        let [products] = sums_of_products::<_, ROWS, 1, BLOCKS>(NarrowPairs, fours, rows, 0);
        let ones = ones();
        for (r, sums) in sums.iter_mut().enumerate() {
            for (block, sum) in sums.iter_mut().enumerate() {
                *sum = *sum + (products[r][block] - weights[block] * self.zero_points[r]).dot(ones);
            }
        }
    }

    /// As [`Tile::add_narrow`], of one group, whose sums may not fit.
    #[inline(always)]
    fn add_wide(
        &self,
        fours: &[[[u8; 4]; ROWS]],
        rows: &[PanelRows],
        weights: [I16x8; BLOCKS],
        sums: &mut [PanelSums; ROWS],
    ) {
        let ones = ones();
        let mut all: [PanelSums; ROWS] =
            from_fn(|r| from_fn(|block| sums[r][block] - weights[block].dot(self.zero_points[r])));
        for (fours, blocks) in fours.iter().zip(rows) {
            let factors = fours.each_ref().map(Bytes16::four_times);
            for (block, weights) in blocks.iter().enumerate() {
                let weights = Bytes16::load(weights);
                for r in 0..ROWS {
                    all[r][block] = all[r][block] + weights.dot_pairs(factors[r]).dot(ones);
                }
            }
        }
        *sums = all;
    }

    /// Adds products of what is kept apart from the blocks.
    #[inline(always)]
    fn add_extras(&self, panel: &Panel<'_>, sums: &mut [PanelSums; ROWS]) {
        let ones = ones();
        for (block, extras) in panel.extras.iter().enumerate() {
            for (four, weights) in extras.fours.iter().zip(extras.blocks) {
                let (factors, weights) = (&self.fours[*four as usize], Bytes16::load(weights));
                let own = weights.dot_pairs(Bytes16::four_times(&[1; 4]));
                for r in 0..ROWS {
                    let products = weights.dot_pairs(Bytes16::four_times(&factors[r])).dot(ones);
                    sums[r][block] = sums[r][block] + products - own.dot(self.zero_points[r]);
                }
            }
        }
    }
}

/// Read from memory: V8 would put them together wherever it uses them.
#[inline(always)]
fn ones() -> I16x8 {
    I16x8::twice(black_box(&[1; 4]))
}

/// Products of bytes, two to a sum of 16 bits.
#[derive(Clone, Copy)]
struct NarrowPairs;

impl Products for NarrowPairs {
    type Element = u8;
    type Factors = Bytes16;
    type Weights = Bytes16;
    /// Two of each column.
    type Sums = I16x8;

    #[inline(always)]
    fn factors(elements: &[u8; 4]) -> Bytes16 {
        Bytes16::four_times(elements)
    }

    #[inline(always)]
    fn weights(block: &Block) -> Bytes16 {
        Bytes16::load(block)
    }

    #[inline(always)]
    fn zero() -> I16x8 {
        I16x8::splat(0)
    }

    #[inline(always)]
    fn add_products(self, sums: I16x8, factors: Bytes16, weights: Bytes16) -> I16x8 {
        sums + weights.dot_pairs(factors)
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{bytes, difference, signed_bytes};

    /// Holds lengths and sums against their definitions. Products are held by the table of the integer products.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let steps = [1, 2, 3, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP];
        let of_rows = |steps: usize| (1..=TILE_ROWS).filter_map(move |height| failure_of_rows(height, steps));
        steps.into_iter().flat_map(|steps| of_rows(steps).chain(failures_of_panel(steps))).collect()
    }

    /// The largest length of the groups' elements, of which `square` gives squared sums over rows or columns, halves and steps.
    fn largest(steps: usize, columns: usize, square: impl Fn(usize, usize, usize) -> i32) -> Vec<f32> {
        let group = |first: usize| {
            let own = first..steps.min(first + GROUP);
            let sum = |column: usize, half: usize| own.clone().map(|step| square(step, column, half)).sum();
            let all = (0..columns).flat_map(|column| [sum(column, 0), sum(column, 1)]);
            f64::from(all.max().unwrap_or(0)).sqrt() as f32
        };
        (0..steps).step_by(GROUP).map(group).collect()
    }

    fn failure_of_rows(height: usize, steps: usize) -> Option<String> {
        let tile = bytes(4 * height * steps, 1);
        let (tile, zero_points) = (tile.as_chunks().0, [3, 128, 250, 0, 77]);
        let square = |step: usize, row: usize, half: usize| -> i32 {
            let four: [u8; 4] = tile[step * height + row];
            [0, 1].map(|at| (i32::from(four[2 * half + at]) - zero_points[row]).pow(2)).iter().sum()
        };
        let got = lengths(tile, height, |r| zero_points[r]);
        difference(format!("{height} rows, {steps} steps"), &got, &largest(steps, height, square), 1e-6)
    }

    fn failures_of_panel(steps: usize) -> Vec<String> {
        let rows: Vec<PanelRows> = signed_bytes(size_of::<PanelRows>() * steps, 2)
            .chunks_exact(size_of::<PanelRows>())
            .map(|row| from_fn(|block| from_fn(|at| row[16 * block + at])))
            .collect();
        let pair = |step: usize, column: usize, half: usize| {
            let at = 4 * (column % 4) + 2 * half;
            [0, 1].map(|k| i32::from(rows[step][column / 4][at + k]))
        };
        let square = |step, column, half| pair(step, column, half).iter().map(|weight| weight * weight).sum();
        let groups = PanelGroups::new(&rows);
        let lengths = largest(steps, 4 * BLOCKS, square);
        let lengths = difference(format!("panel of {steps} steps"), &groups.lengths, &lengths, 1e-6);
        let before = |group: usize| -> [[i16; 8]; BLOCKS] {
            let sum = |column: usize, half: usize| -> i32 {
                (0..steps.min(group * GROUP)).flat_map(|step| pair(step, column, half)).sum()
            };
            from_fn(|block| from_fn(|lane| sum(4 * block + lane / 2, lane % 2) as i16))
        };
        let is_sum = |(group, sums): (usize, &[[i16; 8]; BLOCKS])| *sums == before(group);
        let sums = groups.sums.len() == steps.div_ceil(GROUP) + 1 && groups.sums.iter().enumerate().all(is_sum);
        lengths.into_iter().chain((!sums).then(|| format!("sums of a panel of {steps} steps"))).collect()
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
