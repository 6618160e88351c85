//! The inner loop of matrix products of f32: some rows times one panel of eight columns.
//!
//! The right-hand matrix is read row by row: either packed as panels, in which the eight elements of a row of the panel lie
//! side by side and the rows follow each other, so that a product reads one stream from start to end (columns beyond the
//! matrix are zeros), or where it lies, with a stride from one row to the next.
#![allow(unsafe_code)]

use super::RELAXED_SIMD;
use super::activation::Activation;
use super::finish::{Finish, Join, Joined};
use super::parallel::{SharedOutput, SharedRows};
use super::simd::{F32x4, LANES};
use std::array::from_fn;
use std::hint::black_box;
use std::ops::Range;

/// Columns of a panel.
pub(super) const PANEL: usize = 8;

/// One row of a panel.
pub(super) type PanelRow = [f32; PANEL];

/// The left-hand matrix: row `r` starts at `values[r * stride]`.
#[derive(Clone, Copy)]
pub(super) struct LeftRows<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) stride: usize,
}

impl<'a> LeftRows<'a> {
    /// The first `len` elements of a row.
    #[inline(always)]
    pub(super) fn row(&self, row: usize, len: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..len]
    }
}

/// What products read on the left.
pub(super) trait Left: Copy {
    fn rows(&self) -> usize;

    /// Some of the rows, from the beginning of a tile on.
    fn part(self, rows: Range<usize>) -> Self;

    /// # Panics
    /// When not all rows have as many elements.
    fn check(&self, len: usize);

    /// Where the first elements of rows `row..row + ROWS`, a tile, stand, and how far a row's elements are apart.
    fn tile<const ROWS: usize>(&self, row: usize) -> ([*const f32; ROWS], usize);
}

impl Left for LeftRows<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn part(self, rows: Range<usize>) -> Self {
        LeftRows { values: &self.values[rows.start * self.stride..], rows: rows.len(), ..self }
    }

    fn check(&self, len: usize) {
        let Some(last) = self.rows.checked_sub(1) else { return };
        let end = last.checked_mul(self.stride).and_then(|start| start.checked_add(len));
        assert!(end.is_some_and(|end| end <= self.values.len()), "rows are inside their buffer");
    }

    #[inline(always)]
    fn tile<const ROWS: usize>(&self, row: usize) -> ([*const f32; ROWS], usize) {
        let start = self.values.as_ptr().wrapping_add(row * self.stride);
        (from_fn(|r| start.wrapping_add(r * self.stride)), 1)
    }
}

/// Rows in the order in which products read them, one stream from start to end: of each tile, the rows' first elements, then their
/// second ones, and so on.
pub(super) struct PackedRows {
    values: Vec<f32>,
    rows: usize,
    depth: usize,
}

impl PackedRows {
    /// Packs `[rows, depth]`, row-major.
    pub(super) fn new(values: &[f32], rows: usize, depth: usize) -> PackedRows {
        PackedRows::with_tiles(values, rows, depth, widest_tile())
    }

    fn with_tiles(values: &[f32], rows: usize, depth: usize, widest: usize) -> PackedRows {
        let mut packed = Vec::with_capacity(rows * depth);
        let mut row = 0;
        while row < rows {
            let tile_rows = widest.min(rows - row);
            let tile = &values[row * depth..][..tile_rows * depth];
            match tile_rows {
                8 => interleave::<8>(tile, depth, &mut packed),
                7 => interleave::<7>(tile, depth, &mut packed),
                6 => interleave::<6>(tile, depth, &mut packed),
                5 => interleave::<5>(tile, depth, &mut packed),
                4 => interleave::<4>(tile, depth, &mut packed),
                3 => interleave::<3>(tile, depth, &mut packed),
                2 => interleave::<2>(tile, depth, &mut packed),
                _ => packed.extend(tile),
            }
            row += tile_rows;
        }
        PackedRows { values: packed, rows, depth }
    }

    /// Every row from element `first` on.
    pub(super) fn from(&self, first: usize) -> LeftTiles<'_> {
        LeftTiles { packed: self, first, first_row: 0, rows: self.rows }
    }
}

/// Appends the rows' first elements, then their second ones, and so on.
fn interleave<const ROWS: usize>(rows: &[f32], depth: usize, out: &mut Vec<f32>) {
    let rows: [&[f32]; ROWS] = from_fn(|row| &rows[row * depth..][..depth]);
    out.extend((0..depth).flat_map(|k| rows.map(|row| row[k])));
}

/// Tiles of [`PackedRows`], from one element of each row on.
#[derive(Clone, Copy)]
pub(super) struct LeftTiles<'a> {
    packed: &'a PackedRows,
    first: usize,
    first_row: usize,
    rows: usize,
}

impl Left for LeftTiles<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn part(self, rows: Range<usize>) -> Self {
        LeftTiles { first_row: self.first_row + rows.start, rows: rows.len(), ..self }
    }

    fn check(&self, len: usize) {
        let PackedRows { rows, depth, .. } = *self.packed;
        let has = |all: usize, first: usize, count: usize| first <= all && count <= all - first;
        assert!(has(rows, self.first_row, self.rows) && has(depth, self.first, len), "rows are packed");
    }

    #[inline(always)]
    fn tile<const ROWS: usize>(&self, row: usize) -> ([*const f32; ROWS], usize) {
        let start = (self.first_row + row) * self.packed.depth + self.first * ROWS;
        (from_fn(|r| self.packed.values.as_ptr().wrapping_add(start + r)), ROWS)
    }
}

/// Rows of the widest tile of this machine.
pub(super) fn widest_tile() -> usize {
    #[cfg(target_arch = "x86_64")]
    if avx2::available() {
        return avx2::WIDEST_TILE;
    }
    PairOfVectors::TILE_ROWS
}

/// Where the product goes: row `r` to `buffer[start + r * stride..][..columns]`.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) buffer: &'a SharedOutput<'a>,
    pub(super) start: usize,
    pub(super) stride: usize,
    pub(super) columns: usize,
    /// Whether the product is added to what is there, or replaces it.
    pub(super) accumulate: bool,
    /// What is done with the sums before they are written.
    pub(super) finish: Option<FinishColumns<'a>>,
}

/// What is done with sums, of which the first column is output `first_column` of the layer.
#[derive(Clone, Copy)]
pub(super) struct FinishColumns<'a> {
    pub(super) finish: &'a Finish<'a>,
    pub(super) first_column: usize,
}

/// `target[r, n] (+)= Σ_k left[r, k] · panel[k, n]`, with as many `k` as the panel has rows.
///
/// # Panics
/// When a row of `left` or of `target` reaches beyond its buffer.
///
/// # Safety
/// As long as this runs, no one else may use the elements of `target`.
pub(super) unsafe fn multiply_panel(left: impl Left, panel: &[PanelRow], target: Target<'_>) {
    #[cfg(target_arch = "x86_64")]
    if avx2::available() {
        // SAFETY: the machine has what the function is compiled for; the caller keeps the other promise.
        return unsafe { avx2::multiply_rows(left, panel, target) };
    }
    // SAFETY: the caller keeps the promise.
    unsafe { multiply_rows::<PairOfVectors>(left, panel, target) }
}

/// Packs the first `panel.len()` elements of eight rows as the columns of a panel.
///
/// # Panics
/// When a row is shorter.
pub(super) fn pack_columns(rows: [&[f32]; PANEL], panel: &mut [PanelRow]) {
    let rows = rows.map(|row| &row[..panel.len()]);
    let (whole, rest) = panel.as_chunks_mut::<LANES>();
    let elements = rows.map(|row| row.as_chunks::<LANES>().0);
    for (index, panel) in whole.iter_mut().enumerate() {
        let [low, high] =
            [0, 4].map(|first| F32x4::transpose(from_fn(|row| F32x4::load(&elements[first + row][index]))));
        for (row, halves) in panel.iter_mut().zip(low.into_iter().zip(high)) {
            PairOfVectors(halves.0, halves.1).store(row);
        }
    }
    let first = whole.len() * LANES;
    for (index, panel_row) in rest.iter_mut().enumerate() {
        *panel_row = rows.map(|row| row[first + index]);
    }
}

/// Eight f32.
trait Vector: Copy {
    /// Rows of the largest tile whose sums, with the operands, fit the machine's registers: at most 8.
    const TILE_ROWS: usize;
    /// Most rows of a tile of which sums and operands fit the registers in whatever order LLVM puts a step's products.
    const ROWS_IN_ANY_ORDER: usize;
    fn splat(value: f32) -> Self;
    /// # Safety
    /// Eight elements can be read.
    unsafe fn load(values: *const f32) -> Self;
    fn store(self, values: &mut PanelRow);
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self · factor + addend`
    fn mul_add(self, factor: Self, addend: Self) -> Self;
}

#[derive(Clone, Copy)]
struct PairOfVectors(F32x4, F32x4);

impl Vector for PairOfVectors {
    /// Sums that take two instructions a product take a register more.
    const TILE_ROWS: usize = if RELAXED_SIMD { 6 } else { 4 };
    const ROWS_IN_ANY_ORDER: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        PairOfVectors(F32x4::splat(value), F32x4::splat(value))
    }

    #[inline(always)]
    unsafe fn load(values: *const f32) -> Self {
        // SAFETY: the caller lets eight elements be read.
        let [low, high] = unsafe { [&*values.cast(), &*values.add(4).cast()] };
        PairOfVectors(F32x4::load(low), F32x4::load(high))
    }

    #[inline(always)]
    fn store(self, values: &mut PanelRow) {
        let (halves, _) = values.as_chunks_mut();
        self.0.store(&mut halves[0]);
        self.1.store(&mut halves[1]);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        PairOfVectors(self.0 + other.0, self.1 + other.1)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        PairOfVectors(self.0 * other.0, self.1 * other.1)
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        PairOfVectors(self.0.mul_add(factor.0, addend.0), self.1.mul_add(factor.1, addend.1))
    }
}

/// Cuts the rows into tiles, all but the last of as many rows as a tile may have. The fewer rows, the more chains of sums each row
/// has, so that there are always several independent additions under way.
///
/// # Safety
/// As long as this runs, no one else may use the elements of `target`.
#[inline(always)]
unsafe fn multiply_rows<V: Vector>(left: impl Left, panel: &[PanelRow], target: Target<'_>) {
    left.check(panel.len());
    // SAFETY: the caller keeps the target for this call.
    let mut rows = (target.columns == PANEL)
        .then(|| unsafe { target.buffer.rows::<PANEL>(target.start, left.rows(), target.stride) });
    let rows = &mut rows;
    let mut row = 0;
    while row < left.rows() {
        // SAFETY: the tiles are inside `target`, which the caller keeps for this call, and their rows are all there.
        row += unsafe {
            match V::TILE_ROWS.min(left.rows() - row) {
                8 => multiply_tile::<V, 8, 1>(left, row, panel, target, rows),
                7 => multiply_tile::<V, 7, 1>(left, row, panel, target, rows),
                6 => multiply_tile::<V, 6, 1>(left, row, panel, target, rows),
                5 => multiply_tile::<V, 5, 1>(left, row, panel, target, rows),
                4 => multiply_tile::<V, 4, 1>(left, row, panel, target, rows),
                3 => multiply_tile::<V, 3, 1>(left, row, panel, target, rows),
                2 => multiply_tile::<V, 2, 2>(left, row, panel, target, rows),
                _ => multiply_tile::<V, 1, 4>(left, row, panel, target, rows),
            }
        };
    }
}

/// Steps of a tile's inner loop that are written out; a multiple of every number of chains.
const UNROLL: usize = 4;

/// Rows `row..row + ROWS` of the product; `rows` are all rows of the target, where they are as wide as the panel. Gives `ROWS`.
///
/// # Safety
/// The rows are there on the left, with an element for each row of the panel. As long as this runs, no one else may use the elements of
/// `target`.
#[inline(always)]
unsafe fn multiply_tile<V: Vector, const ROWS: usize, const CHAINS: usize>(
    left: impl Left,
    row: usize,
    panel: &[PanelRow],
    target: Target<'_>,
    rows: &mut Option<SharedRows<'_, f32, PANEL>>,
) -> usize {
    let mut panel_row = panel.as_ptr();
    let (mut left_rows, apart) = left.tile::<ROWS>(row);
    let mut sums = [[V::splat(0.0); ROWS]; CHAINS];
    let in_order = ROWS > V::ROWS_IN_ANY_ORDER;
    // Of all steps; LLVM does not know that what is left is whole steps.
    let mut rows_left = if in_order { black_box(ROWS * panel.len()) } else { ROWS * panel.len() };
    // Leaving the loop between any two steps keeps LLVM from ordering the whole loop by sums: on WebAssembly it would put
    // all steps of one sum, which wait for each other, in a row, and hold what they read in more registers than there are. Leaving it
    // between any two rows keeps it from ordering a step by columns.
    'product: loop {
        if in_order {
            // LLVM knows nothing of these addresses, and so leaves the places of steps to the instructions.
            (left_rows, panel_row) = (left_rows.map(black_box), black_box(panel_row));
        }
        for step in 0..UNROLL {
            for r in 0..ROWS {
                if (r == 0 || in_order) && ROWS * step + r == rows_left {
                    break 'product;
                }
                // SAFETY: the row is left on the left, as the caller promises, and the step on the right.
                unsafe {
                    let elements = V::load(panel_row.add(step).cast());
                    let sum = &mut sums[step % CHAINS][r];
                    *sum = V::splat(*left_rows[r].add(step * apart)).mul_add(elements, *sum);
                }
            }
        }
        rows_left -= ROWS * UNROLL;
        panel_row = panel_row.wrapping_add(UNROLL);
        left_rows = left_rows.map(|row| row.wrapping_add(UNROLL * apart));
    }
    let sums: [V; ROWS] = from_fn(|r| sums[1..].iter().fold(sums[0][r], |sum, chain| sum.add(chain[r])));
    match rows {
        Some(rows) => write_tile(sums, row, target, rows.some(row)),
        // SAFETY: rows of the target, which the caller keeps for this call.
        None => unsafe { target.write(&mut store_all(sums), row) },
    }
    ROWS
}

/// Writes rows `row..row + ROWS` of the target.
#[inline(always)]
fn write_tile<V: Vector, const ROWS: usize>(
    mut sums: [V; ROWS],
    row: usize,
    target: Target<'_>,
    out: [&mut PanelRow; ROWS],
) {
    if target.accumulate {
        sums = from_fn(|r| sums[r].add(load_first(out[r])));
    }
    if let Some(FinishColumns { finish, first_column }) = target.finish {
        if let Some(bias) = finish.bias {
            let bias = load_first(&bias[first_column..]);
            sums = sums.map(|sum| sum.add(bias));
        }
        if finish.activation != Activation::Identity {
            let mut tile = store_all(sums);
            finish.activation.apply_in_place(tile.as_flattened_mut());
            sums = from_fn(|r| load_first(&tile[r]));
        }
        let start = |r: usize| target.start + (row + r) * target.stride;
        match finish.joined {
            Some(Joined { how: Join::Add, values }) => sums = from_fn(|r| sums[r].add(load_first(&values[start(r)..]))),
            Some(Joined { how: Join::Multiply, values }) => {
                sums = from_fn(|r| sums[r].mul(load_first(&values[start(r)..])))
            }
            None => {}
        }
    }
    sums.into_iter().zip(out).for_each(|(sum, out)| sum.store(out));
}

/// The first eight elements.
#[inline(always)]
fn load_first<V: Vector>(values: &[f32]) -> V {
    let values = &values[..PANEL];
    // SAFETY: there are eight elements.
    unsafe { V::load(values.as_ptr()) }
}

#[inline(always)]
fn store_all<V: Vector, const ROWS: usize>(sums: [V; ROWS]) -> [PanelRow; ROWS] {
    let mut tile = [[0.0; PANEL]; ROWS];
    for (sum, row) in sums.into_iter().zip(&mut tile) {
        sum.store(row);
    }
    tile
}

impl Target<'_> {
    /// Writes rows `row..row + tile.len()`, of which `tile` has the sums: fewer columns than a panel's.
    ///
    /// # Safety
    /// As long as this runs, no one else may use the elements of the target.
    #[inline(never)]
    unsafe fn write(&self, tile: &mut [PanelRow], row: usize) {
        for (r, sums) in tile.iter_mut().enumerate() {
            let (start, sums) = (self.start + (row + r) * self.stride, &mut sums[..self.columns]);
            // SAFETY: a row of the target, which the caller keeps for this call.
            let out = unsafe { self.buffer.slice(start, self.columns) };
            if self.accumulate {
                sums.iter_mut().zip(&*out).for_each(|(sum, before)| *sum += *before);
            }
            if let Some(FinishColumns { finish, first_column }) = self.finish {
                finish.apply(sums, first_column, start);
            }
            out.copy_from_slice(sums);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Left, PanelRow, Target, Vector};
    use core::arch::x86_64::*;

    /// Whether this machine has AVX2 and FMA.
    pub(super) fn available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    /// [`super::multiply_rows`] for machines with AVX2 and FMA.
    ///
    /// # Safety
    /// As long as this runs, no one else may use the elements of `target`.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn multiply_rows(left: impl Left, panel: &[PanelRow], target: Target<'_>) {
        // SAFETY: the caller keeps the promise.
        unsafe { super::multiply_rows::<Register>(left, panel, target) }
    }

    pub(super) const WIDEST_TILE: usize = Register::TILE_ROWS;

    /// Only `multiply_rows` above makes and uses these: the machine has AVX2 and FMA wherever one exists.
    #[derive(Clone, Copy)]
    struct Register(__m256);

    impl Vector for Register {
        const TILE_ROWS: usize = 8;
        const ROWS_IN_ANY_ORDER: usize = 8;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the machine has AVX.
            Register(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(values: *const f32) -> Self {
            // SAFETY: the machine has AVX, and the caller lets eight elements be read.
            Register(unsafe { _mm256_loadu_ps(values) })
        }

        #[inline(always)]
        fn store(self, values: &mut PanelRow) {
            // SAFETY: the machine has AVX, and the reference covers the eight elements written.
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: the machine has AVX.
            Register(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            // SAFETY: the machine has AVX.
            Register(unsafe { _mm256_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, addend: Self) -> Self {
            // SAFETY: the machine has FMA.
            Register(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
        }
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds every implementation that this machine can run against the definition, with strides wider than the rows.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = Vec::new();
        for rows in 0..=17 {
            for depth in [0, 1, 3, 4, 5, 8, 33] {
                for columns in 1..=PANEL {
                    for accumulate in [false, true] {
                        failures.extend(failure(rows, depth, columns, accumulate));
                    }
                }
            }
        }
        failures.extend([0, 1, 3, 4, 7, 12].into_iter().filter_map(failure_of_packing));
        failures
    }

    fn failure_of_packing(depth: usize) -> Option<String> {
        let rows = numbers(PANEL * depth, 1);
        let mut panel = vec![[f32::NAN; PANEL]; depth];
        pack_columns(from_fn(|row| &rows[row * depth..][..depth]), &mut panel);
        let expected: Vec<f32> = (0..PANEL * depth).map(|at| rows[at % PANEL * depth + at / PANEL]).collect();
        difference(format!("packing, {depth} deep"), panel.as_flattened(), &expected, 0.0)
    }

    type Multiply<'a> = &'a dyn Fn(Target<'_>);

    fn failure(rows: usize, depth: usize, columns: usize, accumulate: bool) -> Option<String> {
        let (left_stride, out_stride, start) = (depth + 3, columns + 2, 5);
        let left = numbers(rows * left_stride, 1);
        let panel = numbers(depth * PANEL, 2).as_chunks().0.to_vec();
        let before = numbers(start + rows * out_stride, 3);
        let mut expected = before.clone();
        for row in 0..rows {
            for column in 0..columns {
                let product = |k: usize| f64::from(left[row * left_stride + k]) * f64::from(panel[k][column]);
                let out = &mut expected[start + row * out_stride + column];
                let sum = (0..depth).map(product).sum::<f64>() + if accumulate { f64::from(*out) } else { 0.0 };
                *out = sum as f32;
            }
        }
        let rows_alone: Vec<f32> = left.chunks(left_stride).flat_map(|row| &row[..depth]).copied().collect();
        let tiles = |widest: usize| PackedRows::with_tiles(&rows_alone, rows, depth, widest);
        let (wide, narrow) = (tiles(widest_tile()), tiles(PairOfVectors::TILE_ROWS));
        let left = LeftRows { values: &left, rows, stride: left_stride };
        // SAFETY: no one else knows the buffer, as below.
        let implementations: [(&str, Multiply<'_>); 4] = unsafe {
            [
                ("panel", &|target| multiply_panel(left, &panel, target)),
                ("panel, packed rows", &|target| multiply_panel(wide.from(0), &panel, target)),
                ("panel, pair of vectors", &|target| multiply_rows::<PairOfVectors>(left, &panel, target)),
                ("packed rows, pair of vectors", &|target| {
                    multiply_rows::<PairOfVectors>(narrow.from(0), &panel, target)
                }),
            ]
        };
        implementations.into_iter().find_map(|(name, multiply)| {
            let mut got = before.clone();
            let buffer = &SharedOutput::new(&mut got);
            multiply(Target { buffer, start, stride: out_stride, columns, accumulate, finish: None });
            let what = format!("{name}: {rows} rows, {depth} deep, {columns} columns, accumulate {accumulate}");
            difference(what, &got, &expected, 1e-6)
        })
    }

    #[test]
    fn rows_outside_their_buffers_panic() {
        const DEPTH: usize = 4;
        let panics = |multiply: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(multiply)).is_err();
        let multiply = |left: &dyn Fn(Target<'_>), [start, stride, elements]: [usize; 3]| {
            let mut out = vec![0.0; elements];
            let buffer = &SharedOutput::new(&mut out);
            left(Target { buffer, start, stride, columns: PANEL, accumulate: false, finish: None });
        };
        let panel = [[1.0; PANEL]; DEPTH];
        // Stride and elements of two rows on the left; start, stride and elements of the target.
        for ([stride, elements], target, fits) in [
            ([5, 9], [0, 8, 16], true),
            ([5, 8], [0, 8, 16], false),
            ([usize::MAX, 9], [0, 8, 16], false),
            ([5, 9], [1, 8, 16], false),
            ([5, 9], [0, 9, 16], false),
            ([5, 9], [0, 7, 16], false),
        ] {
            let values = vec![1.0; elements];
            let left = LeftRows { values: &values, rows: 2, stride };
            // SAFETY: no one else knows the buffer.
            let failed = panics(&|| multiply(&|target| unsafe { multiply_panel(left, &panel, target) }, target));
            assert_eq!(!failed, fits, "{elements} elements, {stride} apart, to {target:?}");
        }
        let packed = PackedRows::new(&[1.0; 2 * DEPTH], 2, DEPTH);
        for (first, rows, fits) in [(0, 0..2, true), (1, 0..2, false), (0, 1..3, false), (0, 3..3, false)] {
            let left = || packed.from(first).part(rows.clone());
            // SAFETY: as above.
            let failed = panics(&|| {
                multiply(&|target| unsafe { multiply_panel(left(), &panel, target) }, [0, PANEL, 2 * PANEL])
            });
            assert_eq!(!failed, fits, "packed rows {rows:?} from element {first} on");
        }
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
