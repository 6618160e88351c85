//! `Determinant`: ONNX `Det` (11 to 22), by elimination with pivots, in f64.
//!
//! Input: f32 `[..., size, size]`. Output: f32 `[...]`.

use super::f32_slice;
use super::plain::{Plain, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Determinant;

impl Plain for Determinant {
    const NAME: &'static str = "Determinant";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let (matrices, rank) = (inputs[0], inputs[0].rank());
        let fits = matrices.datum_type == f32::datum_type() && rank >= 2;
        ensure!(fits, "determinants of {matrices:?}");
        Ok(tvec!(f32::fact(&matrices.shape[..rank - 2])))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let shape = inputs[0].shape();
        let (&[rows, columns], outer) =
            (shape.last_chunk().context("a matrix has two axes")?, &shape[..shape.len() - 2]);
        ensure!(rows == columns, "the determinant of a matrix of {rows} by {columns}");
        let values = f32_slice(&inputs[0])?;
        let count: usize = outer.iter().product();
        let determinants: Vec<f32> =
            (0..count).map(|matrix| determinant(&values[matrix * rows * rows..][..rows * rows], rows) as f32).collect();
        Ok(tvec!(tensor_of(outer, &determinants)?))
    }
}

fn determinant(matrix: &[f32], size: usize) -> f64 {
    let mut rows: Vec<Vec<f64>> =
        (0..size).map(|row| matrix[row * size..][..size].iter().map(|value| f64::from(*value)).collect()).collect();
    let mut determinant = 1.0;
    for column in 0..size {
        let largest =
            (column..size).max_by(|one, other| rows[*one][column].abs().total_cmp(&rows[*other][column].abs()));
        let pivot = largest.unwrap_or(column);
        if pivot != column {
            rows.swap(pivot, column);
            determinant = -determinant;
        }
        let (above, below) = rows.split_at_mut(column + 1);
        let pivot = &above[column];
        determinant *= pivot[column];
        if pivot[column] == 0.0 {
            return determinant;
        }
        for row in below {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(pivot).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    determinant
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::*;

    #[test]
    fn determinants() {
        let cases: [(&[usize], &[f32], &[f32]); 5] = [
            (&[2, 2], &[0., 1., 2., 3.], &[-2.]),
            (&[2, 2, 2], &[1., 2., 3., 4., 1., 2., 2., 1.], &[-2., -3.]),
            (&[3, 3], &[0., 0., 2., 0., 3., 0., 4., 0., 0.], &[-24.]),
            (&[2, 2], &[1., 2., 2., 4.], &[0.]),
            (&[0, 0], &[], &[1.]),
        ];
        for (shape, values, expected) in cases {
            let result = Determinant.compute(&[tensor(shape, values).into_tvalue()]).unwrap().remove(0);
            assert_close(&format!("{values:?}"), &result, &shape[..shape.len() - 2], expected);
        }
        assert!(Determinant.compute(&[tensor(&[1, 2], &[1., 2.]).into_tvalue()]).is_err());
    }
}
