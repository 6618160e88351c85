//! `MatMulInteger`: ONNX `MatMulInteger` (10) of matrices.
//!
//! Inputs: `a` int8 or uint8 `[..., m, k]`; `b` int8 or uint8 `[..., k, n]`; the zero points of `a`, integers, one or one
//! for each of the `m` rows; those of `b`, one or one for each of the `n` columns. The leading axes broadcast.
//! Output: int32 `[..., m, n]`, the exact product of the operands less their zero points.

use super::matmul::{matrix, output_shape};
use super::plain::{Plain, elements};
use crate::kernels::integer::integer_product;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatMulInteger;

impl Plain for MatMulInteger {
    const NAME: &'static str = "MatMulInteger";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        for operand in &inputs[..2] {
            let datum_type = operand.datum_type;
            ensure!([i8::datum_type(), u8::datum_type()].contains(&datum_type), "int8 or uint8, not {datum_type:?}");
        }
        Ok(tvec!(i32::fact(output_shape(&inputs[0].shape, &inputs[1].shape)?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (left, right) = (inputs[0].shape(), inputs[1].shape());
        let shape = output_shape(left, right)?;
        let (m, k, n) = (left[left.len() - 2], left[left.len() - 1], right[right.len() - 1]);
        ensure!(k == right[right.len() - 2], "MatMulInteger of {left:?} and {right:?}: inner sizes differ");
        let a = less_zero_points(&inputs[0], &inputs[2], m, k)?;
        let zero_points = integers(&inputs[3])?;
        ensure!(matches!(zero_points.len(), 1) || zero_points.len() == n, "zero points of b are one or one a column");
        let batches: usize = shape[..shape.len() - 2].iter().product();
        let mut product = vec![0; batches * m * n];
        for batch in 0..batches {
            let a = &a[matrix(batch, &shape, left) * m * k..][..m * k];
            let out = &mut product[batch * m * n..][..m * n];
            let start = matrix(batch, &shape, right) * k * n;
            if inputs[1].datum_type() == i8::datum_type() {
                integer_product(a, &elements::<i8>(&inputs[1])?[start..][..k * n], &zero_points, k, n, out);
            } else {
                integer_product(a, &elements::<u8>(&inputs[1])?[start..][..k * n], &zero_points, k, n, out);
            }
        }
        Ok(tvec!(Tensor::from_shape(&shape, &product)?))
    }
}

/// The elements of an integer tensor.
pub fn integers(tensor: &Tensor) -> TractResult<Vec<i32>> {
    Ok(elements::<i32>(&*tensor.cast_to::<i32>()?)?.to_vec())
}

/// The elements of matrices `[..., rows, columns]` less their zero points, one or one for each row.
pub fn less_zero_points(matrices: &Tensor, zero_points: &Tensor, rows: usize, columns: usize) -> TractResult<Vec<i32>> {
    let (mut elements, zero_points) = (integers(matrices)?, integers(zero_points)?);
    ensure!(matches!(zero_points.len(), 1) || zero_points.len() == rows, "zero points are one or one a row");
    for (position, element) in elements.iter_mut().enumerate() {
        *element -= match *zero_points {
            [one] => one,
            ref each => each[position / columns % rows],
        };
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_operands_less_zero_points() {
        struct Case {
            b: (&'static [usize], &'static [i8]),
            zero_points: [&'static [i32]; 2],
            expected: Option<(&'static [usize], &'static [i32])>,
        }
        // a = [[1, 2], [3, 4]]; by hand.
        let case = |zero_points, expected| Case { b: (&[2, 2], &[1, -1, 2, 0]), zero_points, expected };
        let cases = [
            case([&[0], &[0]], Some((&[2, 2], &[5, -1, 11, -3]))),
            case([&[1], &[0]], Some((&[2, 2], &[2, 0, 8, -2]))),
            case([&[1, 3], &[1, 0]], Some((&[2, 2], &[1, 0, 1, 0]))),
            case([&[1, 2, 3], &[0]], None),
            case([&[0], &[1, 2, 3]], None),
            Case { b: (&[2, 2, 1], &[1, 0, 0, 1]), ..case([&[0], &[0]], Some((&[2, 2, 1], &[1, 3, 2, 4]))) },
        ];
        for case in cases {
            let a = Tensor::from_shape(&[2, 2], &[1u8, 2, 3, 4]).unwrap();
            let b = Tensor::from_shape(case.b.0, case.b.1).unwrap();
            let [a_zero_points, b_zero_points] = case.zero_points.map(tensor1);
            let inputs = [a, b, a_zero_points, b_zero_points].map(IntoTValue::into_tvalue);
            let result = MatMulInteger.compute(&inputs).ok().map(|mut outputs| outputs.remove(0));
            let expected = case.expected.map(|(shape, values)| Tensor::from_shape(shape, values).unwrap());
            assert_eq!(result, expected, "{:?}", case.zero_points);
        }
    }
}
