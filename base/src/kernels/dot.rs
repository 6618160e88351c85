//! Rows times rows: products of vectors that are read where they lie, and too few times to be worth packing.
#![allow(unsafe_code)]

use super::panel::LeftRows;
use super::simd::{F32x4, LANES};
use std::array::from_fn;

/// `out[r * out_stride + n] = Σ_k left[r, k] · right[n, k]` for `k` below `depth`, a multiple of [`LANES`].
///
/// # Panics
/// When `depth` is no multiple, or a row reaches beyond its buffer.
pub(super) fn multiply_by_rows(
    left: LeftRows<'_>,
    right: LeftRows<'_>,
    depth: usize,
    out: &mut [f32],
    out_stride: usize,
) {
    assert!(depth.is_multiple_of(LANES), "rows are whole vectors");
    let mut row = 0;
    while row < left.rows {
        row += match left.rows - row {
            1 => multiply_left_rows::<1, 4>(left, row, right, depth, out, out_stride),
            2 | 4 => multiply_left_rows::<2, 4>(left, row, right, depth, out, out_stride),
            _ => multiply_left_rows::<3, 3>(left, row, right, depth, out, out_stride),
        };
    }
}

/// Rows `row..row + ROWS` of the product. Gives `ROWS`. Sums of `AT_ONCE` products of each, at most four, fit the registers with their
/// operands.
#[inline(always)]
fn multiply_left_rows<const ROWS: usize, const AT_ONCE: usize>(
    left: LeftRows<'_>,
    row: usize,
    right: LeftRows<'_>,
    depth: usize,
    out: &mut [f32],
    out_stride: usize,
) -> usize {
    let left_rows: [&[f32]; ROWS] = from_fn(|r| left.row(row + r, depth));
    for first in (0..right.rows).step_by(AT_ONCE) {
        let count = AT_ONCE.min(right.rows - first);
        // A tile that has fewer rows repeats its last one.
        let right_rows: [&[f32]; AT_ONCE] = from_fn(|n| right.row(first + n.min(count - 1), depth));
        let sums = multiply_tile(left_rows, right_rows, depth);
        for (r, sums) in sums.into_iter().enumerate() {
            // What is behind the last sum of a tile is the next tile's.
            let out = &mut out[(row + r) * out_stride + first..][..LANES.min(right.rows - first)];
            match out.first_chunk_mut() {
                Some(out) => sums.store(out),
                None => out.iter_mut().zip(sums.to_array()).for_each(|(out, sum)| *out = sum),
            }
        }
    }
    ROWS
}

/// The products of each of the rows on the left with those on the right, all of `depth` elements at least.
#[inline(always)]
fn multiply_tile<const ROWS: usize, const AT_ONCE: usize>(
    left: [&[f32]; ROWS],
    right: [&[f32]; AT_ONCE],
    depth: usize,
) -> [F32x4; ROWS] {
    assert!(left.iter().chain(&right).all(|row| row.len() >= depth));
    let load = |row: &[f32], start: usize| {
        // SAFETY: every row has `depth` elements, as just asserted, and the loop below reads whole vectors of them.
        F32x4::load(unsafe { &*row.as_ptr().add(start).cast() })
    };
    let mut sums = [[F32x4::splat(0.0); AT_ONCE]; ROWS];
    for step in 0..depth / LANES {
        let right = right.map(|row| load(row, step * LANES));
        for (row, sums) in left.into_iter().zip(&mut sums) {
            let elements = load(row, step * LANES);
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = elements.mul_add(right, *sum);
            }
        }
    }
    sums.map(|sums| {
        let [a, b, c, d] = F32x4::transpose(from_fn(|n| sums.get(n).copied().unwrap_or(F32x4::splat(0.0))));
        (a + c) + (b + d)
    })
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds the products against their definition, with strides wider than the rows.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = Vec::new();
        for left_rows in 0..=7 {
            for right_rows in 0..=9 {
                for depth in [0, 4, 8, 64] {
                    failures.extend(failure(left_rows, right_rows, depth));
                }
            }
        }
        failures
    }

    fn failure(left_rows: usize, right_rows: usize, depth: usize) -> Option<String> {
        let (left_stride, right_stride, out_stride) = (depth + 1, depth + 5, right_rows + 2);
        let (left, right) = (numbers(left_rows * left_stride, 1), numbers(right_rows * right_stride, 2));
        let mut got = numbers(left_rows * out_stride, 3);
        let mut expected = got.clone();
        for row in 0..left_rows {
            for n in 0..right_rows {
                let product =
                    |k: usize| f64::from(left[row * left_stride + k]) * f64::from(right[n * right_stride + k]);
                expected[row * out_stride + n] = (0..depth).map(product).sum::<f64>() as f32;
            }
        }
        let left = LeftRows { values: &left, rows: left_rows, stride: left_stride };
        let right = LeftRows { values: &right, rows: right_rows, stride: right_stride };
        multiply_by_rows(left, right, depth, &mut got, out_stride);
        difference(format!("{left_rows} by {right_rows} rows, {depth} deep"), &got, &expected, 1e-6)
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
