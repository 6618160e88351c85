//! `Eye`: ONNX `EyeLike` (9 to 22): ones on a diagonal of zeros.
//!
//! Input: any matrix. Output: `to`, of its shape.

use super::plain::{Plain, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Eye {
    /// Numbers or bool.
    pub to: DatumType,
    /// How far to the right of the main diagonal the ones stand.
    pub diagonal: i64,
}

impl Plain for Eye {
    const NAME: &'static str = "Eye";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() == 2, "{:?} is no matrix", inputs[0]);
        Ok(tvec!(self.to.fact(inputs[0].shape.to_tvec())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let &[rows, columns] = inputs[0].shape() else { bail!("{:?} is no matrix", inputs[0]) };
        let mut elements = vec![0u8; rows * columns];
        for row in 0..rows {
            let column = usize::try_from((row as i64).saturating_add(self.diagonal)).ok();
            if let Some(column) = column.filter(|column| *column < columns) {
                elements[row * columns + column] = 1;
            }
        }
        Ok(tvec!(tensor_of(&[rows, columns], &elements)?.cast_to_dt(self.to)?.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagonals() {
        let cases = [
            (0, tensor2(&[[1f32, 0., 0.], [0., 1., 0.]])),
            (1, tensor2(&[[0i64, 1, 0], [0, 0, 1]])),
            (-1, tensor2(&[[false, false, false], [true, false, false]])),
            (i64::MAX, tensor2(&[[0f64, 0., 0.], [0., 0., 0.]])),
        ];
        let like = Tensor::zero::<f32>(&[2, 3]).unwrap().into_tvalue();
        for (diagonal, expected) in cases {
            let operator = Eye { to: expected.datum_type(), diagonal };
            assert_eq!(operator.compute(std::slice::from_ref(&like)).unwrap()[0], expected, "{operator:?}");
        }
    }
}
