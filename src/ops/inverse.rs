//! `Inverse`: com.microsoft `Inverse`, the inverse of each matrix.
//!
//! Input: f32 or f64 `[..., n, n]`. Output: of the same type and shape. By Gauss and Jordan with the largest pivot of each column, in
//! f64. A matrix that has no inverse is an error.

use super::plain::{Plain, elements, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Inverse;

impl Plain for Inverse {
    const NAME: &'static str = "Inverse";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [x] = *inputs else { bail!("Inverse takes one input") };
        let (rank, floats) = (x.rank(), [f32::datum_type(), f64::datum_type()]);
        ensure!(floats.contains(&x.datum_type), "Inverse takes float32 and float64, not {:?}", x.datum_type);
        let square = rank >= 2 && x.shape[rank - 1].compatible_with(&x.shape[rank - 2]);
        ensure!(square, "Inverse takes square matrices, not {:?}", x.shape);
        Ok(tvec!(x.without_value()))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = &inputs[0];
        let [.., rows, columns] = *x.shape() else { bail!("Inverse takes matrices, not {:?}", x.shape()) };
        ensure!(rows == columns, "Inverse takes square matrices, not {:?}", x.shape());
        let wide = x.cast_to::<f64>()?;
        let mut inverses = Vec::with_capacity(x.len());
        for matrix in elements::<f64>(&wide)?.chunks_exact((rows * rows).max(1)) {
            inverses.extend(inverse(matrix.to_vec(), rows).context("a matrix has no inverse")?);
        }
        Ok(tvec!(tensor_of(x.shape(), &inverses)?.cast_to_dt(x.datum_type())?.into_owned()))
    }
}

/// The inverse of a matrix of that many rows, where it has one.
fn inverse(mut matrix: Vec<f64>, rows: usize) -> Option<Vec<f64>> {
    let mut inverse = vec![0.0; rows * rows];
    (0..rows).for_each(|row| inverse[row * rows + row] = 1.0);
    for column in 0..rows {
        let size = |row: &usize| matrix[row * rows + column].abs();
        let pivot = (column..rows).max_by(|one, other| size(one).total_cmp(&size(other)))?;
        let factor = matrix[pivot * rows + column];
        if factor == 0.0 || !factor.is_finite() {
            return None;
        }
        for side in [&mut matrix, &mut inverse] {
            for at in 0..rows {
                side.swap(column * rows + at, pivot * rows + at);
                side[column * rows + at] /= factor;
            }
        }
        for row in (0..rows).filter(|row| *row != column) {
            let factor = matrix[row * rows + column];
            for side in [&mut matrix, &mut inverse] {
                for at in 0..rows {
                    side[row * rows + at] -= factor * side[column * rows + at];
                }
            }
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::super::plain::PlainOperator;
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn by_hand() {
        type Case<'a> = (&'a [usize], &'a [f32], Option<&'a [f32]>);
        let cases: [Case; 5] = [
            (&[2, 2], &[1., 2., 3., 4.], Some(&[-2., 1., 1.5, -0.5])),
            // A pivot of 0 is not the end.
            (&[2, 2], &[0., 2., 4., 0.], Some(&[0., 0.25, 0.5, 0.])),
            (&[2, 1, 1], &[2., -4.], Some(&[0.5, -0.25])),
            (&[2, 2], &[1., 2., 2., 4.], None),
            (&[1, 2], &[1., 2.], None),
        ];
        for (shape, matrix, expected) in cases {
            match (evaluate(&PlainOperator(Inverse), &[tensor(shape, matrix)]), expected) {
                (Ok(output), Some(expected)) => assert_close(&format!("{matrix:?}"), &output, shape, expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{matrix:?}"),
            }
        }
    }
}
