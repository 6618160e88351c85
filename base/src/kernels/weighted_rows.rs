//! Sums of rows, each times a weight: products of few rows of weights with rows that are read where they lie, once and in their order,
//! as memory gives them fastest.
#![allow(unsafe_code)]

use super::panel::LeftRows;
use super::parallel::SharedOutput;
use super::simd::{F32x4, LANES};
use std::array::from_fn;

/// Where sums are added.
#[derive(Clone, Copy)]
pub(super) struct Sums<'a> {
    pub(super) buffer: &'a SharedOutput<'a>,
    /// The first element of the first row.
    pub(super) start: usize,
    /// Elements from one row to the next.
    pub(super) stride: usize,
}

/// `sums[r, n] += Σ_k weights[r, k] · rows[k, n]` for `n` below `width`, a multiple of [`LANES`].
///
/// # Panics
/// When `width` is no multiple, or a row reaches beyond its buffer.
///
/// # Safety
/// Rows of `sums` share no element, and as long as this runs, no one else may use their elements.
pub(super) unsafe fn add_weighted_rows(weights: LeftRows<'_>, rows: LeftRows<'_>, width: usize, sums: Sums<'_>) {
    assert!(width.is_multiple_of(LANES), "rows are whole vectors");
    let mut row = 0;
    while row < weights.rows {
        // SAFETY: the caller's promise.
        row += match weights.rows - row {
            1 => unsafe { add_to_rows::<1, 8>(weights, row, rows, width, sums) },
            2 | 4 => unsafe { add_to_rows::<2, 4>(weights, row, rows, width, sums) },
            _ => unsafe { add_to_rows::<3, 3>(weights, row, rows, width, sums) },
        };
    }
}

/// Rows `row..row + ROWS` of the sums. Gives `ROWS`. Their weights for `AT_ONCE` rows, and sums of a vector, fit the registers.
///
/// # Safety
/// As [`add_weighted_rows`].
#[inline(always)]
unsafe fn add_to_rows<const ROWS: usize, const AT_ONCE: usize>(
    weights: LeftRows<'_>,
    row: usize,
    rows: LeftRows<'_>,
    width: usize,
    sums: Sums<'_>,
) -> usize {
    let weights: [&[f32]; ROWS] = from_fn(|r| weights.row(row + r, rows.rows));
    // SAFETY: the caller keeps these rows for this call, and they share no element.
    let mut sums: [&mut [f32]; ROWS] =
        from_fn(|r| unsafe { sums.buffer.slice(sums.start + (row + r) * sums.stride, width) });
    let whole = rows.rows / AT_ONCE * AT_ONCE;
    for first in (0..whole).step_by(AT_ONCE) {
        add::<ROWS, AT_ONCE>(weights, rows, first, width, &mut sums);
    }
    for first in whole..rows.rows {
        add::<ROWS, 1>(weights, rows, first, width, &mut sums);
    }
    ROWS
}

/// Adds `AT_ONCE` rows from `first` on.
#[inline(always)]
fn add<const ROWS: usize, const AT_ONCE: usize>(
    weights: [&[f32]; ROWS],
    rows: LeftRows<'_>,
    first: usize,
    width: usize,
    sums: &mut [&mut [f32]; ROWS],
) {
    let weights: [[F32x4; AT_ONCE]; ROWS] = weights.map(|weights| from_fn(|k| F32x4::splat(weights[first + k])));
    let rows: [&[[f32; LANES]]; AT_ONCE] = from_fn(|k| rows.row(first + k, width).as_chunks().0);
    let mut sums = sums.each_mut().map(|sums| sums.as_chunks_mut::<LANES>().0);
    assert!(rows.iter().all(|row| row.len() == width / LANES));
    assert!(sums.iter().all(|row| row.len() == width / LANES));
    for n in 0..width / LANES {
        let mut added: [F32x4; ROWS] = from_fn(|r| F32x4::load(&sums[r][n]));
        for k in 0..AT_ONCE {
            let elements = F32x4::load(&rows[k][n]);
            for (sum, weights) in added.iter_mut().zip(&weights) {
                *sum = elements.mul_add(weights[k], *sum);
            }
        }
        added.iter().zip(&mut sums).for_each(|(sum, sums)| sum.store(&mut sums[n]));
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds the sums against their definition, with strides wider than the rows; what is between them stays.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = Vec::new();
        for sums in 0..=7 {
            for rows in [0, 1, 2, 3, 4, 7, 8, 9, 17] {
                for width in [0, 4, 8, 64] {
                    failures.extend(failure(sums, rows, width));
                }
            }
        }
        failures
    }

    fn failure(count: usize, depth: usize, width: usize) -> Option<String> {
        let (weight_stride, row_stride, stride, start) = (depth + 1, width + 3, width + 2, 5);
        let (weights, rows) = (numbers(count * weight_stride, 1), numbers(depth * row_stride, 2));
        let mut got = numbers(start + count * stride, 3);
        let mut expected = got.clone();
        for row in 0..count {
            for n in 0..width {
                let product =
                    |k: usize| f64::from(weights[row * weight_stride + k]) * f64::from(rows[k * row_stride + n]);
                let sum = &mut expected[start + row * stride + n];
                *sum = (f64::from(*sum) + (0..depth).map(product).sum::<f64>()) as f32;
            }
        }
        let weights = LeftRows { values: &weights, rows: count, stride: weight_stride };
        let rows = LeftRows { values: &rows, rows: depth, stride: row_stride };
        let buffer = &SharedOutput::new(&mut got);
        // SAFETY: no one else knows the buffer.
        unsafe { add_weighted_rows(weights, rows, width, Sums { buffer, start, stride }) };
        difference(format!("{count} sums of {depth} rows of {width}"), &got, &expected, 1e-6)
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
