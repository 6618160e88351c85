//! Products of integer matrices with exact sums in 32 bits.

/// Rows of the product that are computed together.
const ROWS: usize = 4;
/// Columns of the product that are computed together.
const COLUMNS: usize = 16;

/// `out[r, n] = Σ_k left[r, k] · (right[k, n] - zero_points[n])`, with `left` `[rows, depth]`, `right` `[depth, columns]` and
/// `out` `[rows, columns]`, all row-major; `zero_points` has one entry or one for each column. Sums wrap.
///
/// # Panics
/// When a length does not fit.
pub fn integer_product<T: Copy + Into<i32>>(
    left: &[i32],
    right: &[T],
    zero_points: &[i32],
    depth: usize,
    columns: usize,
    out: &mut [i32],
) {
    assert!(zero_points.len() == 1 || zero_points.len() == columns, "zero_points are one or [columns]");
    assert_eq!(right.len(), depth * columns, "right is [depth, columns]");
    if depth == 0 || columns == 0 {
        out.fill(0);
        return;
    }
    assert_eq!(left.len() / depth, out.len() / columns, "left and out have as many rows");
    for (left, out) in left.chunks(ROWS * depth).zip(out.chunks_mut(ROWS * columns)) {
        for first in (0..columns).step_by(COLUMNS) {
            let zero_points = std::array::from_fn(|column| match zero_points {
                [one] => *one,
                each => each.get(first + column).copied().unwrap_or(0),
            });
            let sums = tile(left, &right[first..], &zero_points, depth, columns, first);
            for (out, sums) in out.chunks_mut(columns).zip(&sums) {
                out.iter_mut().skip(first).zip(sums).for_each(|(out, sum)| *out = *sum);
            }
        }
    }
}

fn tile<T: Copy + Into<i32>>(
    left: &[i32],
    right: &[T],
    zero_points: &[i32; COLUMNS],
    depth: usize,
    columns: usize,
    first: usize,
) -> [[i32; COLUMNS]; ROWS] {
    let rows = left.len() / depth;
    let mut sums = [[0i32; COLUMNS]; ROWS];
    for k in 0..depth {
        let right = &right[k * columns..];
        let mut row = [0i32; COLUMNS];
        match right.first_chunk::<COLUMNS>() {
            Some(whole) if first + COLUMNS <= columns => {
                for column in 0..COLUMNS {
                    row[column] = whole[column].into() - zero_points[column];
                }
            }
            _ => {
                for (column, value) in right[..columns - first].iter().enumerate() {
                    row[column] = (*value).into() - zero_points[column];
                }
            }
        }
        for r in 0..rows {
            let factor = left[r * depth + k];
            for column in 0..COLUMNS {
                sums[r][column] = sums[r][column].wrapping_add(factor.wrapping_mul(row[column]));
            }
        }
    }
    sums
}

/// [`integer_product`] by its definition.
pub fn integer_product_reference<T: Copy + Into<i32>>(
    left: &[i32],
    right: &[T],
    zero_points: &[i32],
    depth: usize,
    columns: usize,
    out: &mut [i32],
) {
    for (position, out) in out.iter_mut().enumerate() {
        let (row, column) = (position / columns, position % columns);
        let zero_point = if zero_points.len() == 1 { zero_points[0] } else { zero_points[column] };
        let products = (0..depth)
            .map(|k| i64::from(left[row * depth + k]) * i64::from(right[k * columns + column].into() - zero_point));
        *out = products.sum::<i64>() as i32;
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{bytes, signed_bytes};

    /// Holds the kernel against its twin at many sizes.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = Vec::new();
        for rows in [0, 1, 3, 4, 5, 9] {
            for depth in [0, 1, 7, 64] {
                for columns in [1, 15, 16, 17, 33] {
                    let left: Vec<i32> = bytes(rows * depth, 1).into_iter().map(|byte| i32::from(byte) - 3).collect();
                    let each: Vec<i32> = signed_bytes(columns, 2).into_iter().map(i32::from).collect();
                    let (unsigned, signed) = (bytes(depth * columns, 3), signed_bytes(depth * columns, 4));
                    let fits = agree(&left, &unsigned, &[128], depth, columns, rows)
                        && agree(&left, &signed, &each, depth, columns, rows);
                    failures.extend((!fits).then(|| format!("{rows} x {depth} x {columns}")));
                }
            }
        }
        failures
    }

    fn agree<T: Copy + Into<i32>>(
        left: &[i32],
        right: &[T],
        zero_points: &[i32],
        depth: usize,
        columns: usize,
        rows: usize,
    ) -> bool {
        let mut got = vec![-1; rows * columns];
        let mut expected = got.clone();
        integer_product(left, right, zero_points, depth, columns, &mut got);
        integer_product_reference(left, right, zero_points, depth, columns, &mut expected);
        got == expected
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
