//! The inner loop of every matrix product: some rows times one panel of eight columns.
//!
//! The right-hand matrix is kept as panels: the eight elements of a row of the panel lie side by side, and the rows
//! follow each other, so that a product reads one stream from start to end. Columns beyond the matrix are zeros.
#![allow(unsafe_code)]

use super::parallel::SharedOutput;
use super::simd::F32x4;

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

/// Where the product goes: row `r` to `buffer[start + r * stride..][..columns]`.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) buffer: &'a SharedOutput<'a>,
    pub(super) start: usize,
    pub(super) stride: usize,
    pub(super) columns: usize,
    /// Whether the product is added to what is there, or replaces it.
    pub(super) accumulate: bool,
}

/// `target[r, n] (+)= Σ_k left[r, k] · panel[k, n]`, with as many `k` as the panel has rows.
///
/// # Panics
/// When a row of `left` or of `target` reaches beyond its buffer.
///
/// # Safety
/// As long as this runs, no one else may use the elements of `target`.
pub(super) unsafe fn multiply_panel(left: LeftRows<'_>, panel: &[PanelRow], target: Target<'_>) {
    #[cfg(target_arch = "x86_64")]
    if avx2::available() {
        // SAFETY: the machine has what the function is compiled for; the caller keeps the other promise.
        return unsafe { avx2::multiply_panel(left, panel, target) };
    }
    // SAFETY: the caller keeps the promise.
    unsafe { multiply_rows::<PairOfVectors>(left, panel, target) }
}

/// Eight f32.
trait Vector: Copy {
    /// Rows of the largest tile whose sums, with the operands, fit the machine's registers: 4 or 8.
    const TILE_ROWS: usize;
    fn splat(value: f32) -> Self;
    fn load(values: &PanelRow) -> Self;
    fn store(self, values: &mut PanelRow);
    fn add(self, other: Self) -> Self;
    /// `self · factor + addend`
    fn mul_add(self, factor: Self, addend: Self) -> Self;
}

#[derive(Clone, Copy)]
struct PairOfVectors(F32x4, F32x4);

impl Vector for PairOfVectors {
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        PairOfVectors(F32x4::splat(value), F32x4::splat(value))
    }

    #[inline(always)]
    fn load(values: &PanelRow) -> Self {
        let (halves, _) = values.as_chunks();
        PairOfVectors(F32x4::load(&halves[0]), F32x4::load(&halves[1]))
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
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        PairOfVectors(self.0.mul_add(factor.0, addend.0), self.1.mul_add(factor.1, addend.1))
    }
}

/// Cuts the rows into tiles of 8, 4, 2 and 1. The fewer rows, the more chains of sums each row has, so that there are
/// always several independent additions under way.
///
/// # Safety
/// As long as this runs, no one else may use the elements of `target`.
#[inline(always)]
unsafe fn multiply_rows<V: Vector>(left: LeftRows<'_>, panel: &[PanelRow], target: Target<'_>) {
    let mut row = 0;
    while row < left.rows {
        let rows = left.rows - row;
        // SAFETY: the tiles are inside `target`, which the caller keeps for this call.
        row += unsafe {
            match rows {
                8.. if V::TILE_ROWS >= 8 => multiply_tile::<V, 8, 1>(left, row, panel, target),
                4.. => multiply_tile::<V, 4, 1>(left, row, panel, target),
                2.. => multiply_tile::<V, 2, 2>(left, row, panel, target),
                _ => multiply_tile::<V, 1, 4>(left, row, panel, target),
            }
        };
    }
}

/// Steps of a tile's inner loop that are written out; a multiple of every number of chains.
const UNROLL: usize = 4;

/// Rows `row..row + ROWS` of the product. Gives `ROWS`.
///
/// # Safety
/// As long as this runs, no one else may use the elements of `target`.
#[inline(always)]
unsafe fn multiply_tile<V: Vector, const ROWS: usize, const CHAINS: usize>(
    left: LeftRows<'_>,
    row: usize,
    panel: &[PanelRow],
    target: Target<'_>,
) -> usize {
    let depth = panel.len();
    let left: [&[f32]; ROWS] = std::array::from_fn(|r| &left.values[(row + r) * left.stride..][..depth]);
    let mut sums = [[V::splat(0.0); ROWS]; CHAINS];
    let (steps, last_steps) = panel.as_chunks::<UNROLL>();
    let left_steps = left.map(|row| row.as_chunks::<UNROLL>().0);
    for (index, step) in steps.iter().enumerate() {
        for k in 0..UNROLL {
            let right = V::load(&step[k]);
            for r in 0..ROWS {
                let sum = &mut sums[k % CHAINS][r];
                *sum = V::splat(left_steps[r][index][k]).mul_add(right, *sum);
            }
        }
    }
    for (k, right) in (steps.len() * UNROLL..).zip(last_steps) {
        let right = V::load(right);
        for r in 0..ROWS {
            sums[0][r] = V::splat(left[r][k]).mul_add(right, sums[0][r]);
        }
    }
    for (r, first_sum) in sums[0].into_iter().enumerate() {
        let sum = sums[1..].iter().fold(first_sum, |sum, chain| sum.add(chain[r]));
        // SAFETY: a row of the target, which the caller keeps for this call.
        let out = unsafe { target.buffer.slice(target.start + (row + r) * target.stride, target.columns) };
        write_row(sum, out, target.accumulate);
    }
    ROWS
}

/// Writes the first `out.len()` lanes, at most eight, or adds them to what is there.
#[inline(always)]
fn write_row<V: Vector>(sum: V, out: &mut [f32], accumulate: bool) {
    if let Some(whole) = out.first_chunk_mut::<PANEL>() {
        let sum = if accumulate { sum.add(V::load(whole)) } else { sum };
        sum.store(whole);
        return;
    }
    let mut lanes = [0.0; PANEL];
    sum.store(&mut lanes);
    for (out, lane) in out.iter_mut().zip(lanes) {
        *out = if accumulate { *out + lane } else { lane };
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{LeftRows, PanelRow, Target, Vector, multiply_rows};
    use core::arch::x86_64::*;

    /// Whether this machine has AVX2 and FMA.
    pub(super) fn available() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    /// [`super::multiply_panel`] for machines with AVX2 and FMA.
    ///
    /// # Safety
    /// As long as this runs, no one else may use the elements of `target`.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn multiply_panel(left: LeftRows<'_>, panel: &[PanelRow], target: Target<'_>) {
        // SAFETY: the caller keeps the promise.
        unsafe { multiply_rows::<Register>(left, panel, target) }
    }

    /// Only `multiply_panel` above makes and uses these: the machine has AVX2 and FMA wherever one exists.
    #[derive(Clone, Copy)]
    struct Register(__m256);

    impl Vector for Register {
        const TILE_ROWS: usize = 8;

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the machine has AVX.
            Register(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        fn load(values: &PanelRow) -> Self {
            // SAFETY: the machine has AVX, and the reference covers the eight elements read.
            Register(unsafe { _mm256_loadu_ps(values.as_ptr()) })
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
        failures
    }

    type Multiply = unsafe fn(LeftRows<'_>, &[PanelRow], Target<'_>);

    fn failure(rows: usize, depth: usize, columns: usize, accumulate: bool) -> Option<String> {
        let (left_stride, out_stride, start) = (depth + 3, columns + 2, 5);
        let left = numbers(rows * left_stride, 1);
        let panel: Vec<PanelRow> = numbers(depth * PANEL, 2).as_chunks().0.to_vec();
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
        let implementations: [(&str, Multiply); 2] =
            [("chosen", multiply_panel), ("pair of vectors", multiply_rows::<PairOfVectors>)];
        implementations.into_iter().find_map(|(name, multiply)| {
            let mut got = before.clone();
            let buffer = &SharedOutput::new(&mut got);
            let left = LeftRows { values: &left, rows, stride: left_stride };
            // SAFETY: no one else knows the buffer.
            unsafe { multiply(left, &panel, Target { buffer, start, stride: out_stride, columns, accumulate }) };
            let what = format!("{name}: {rows} rows, {depth} deep, {columns} columns, accumulate {accumulate}");
            difference(what, &got, &expected, 1e-6)
        })
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
