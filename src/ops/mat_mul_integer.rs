//! `MatMulInteger`: ONNX `MatMulInteger` (10) of matrices.
//!
//! Inputs: `a` int8 or uint8 `[..., m, k]`; `b` int8 or uint8 `[..., k, n]`; the zero points of `a`, integers, one or one
//! for each of the `m` rows; those of `b`, one or one for each of the `n` columns. The leading axes broadcast.
//! Output: int32 `[..., m, n]`, the exact product of the operands less their zero points.

use super::matmul::{matrix, output_shape};
use super::plain::{Plain, elements};
use crate::kernels::integer_linear::{Bytes, IntegerRows, IntegerWeights, integer_linear};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
        let (a, zero_points) = (bytes(&inputs[0])?, row_zero_points(&inputs[2], m)?);
        let (b, b_zero_points) = signed_operand(&inputs[1], &inputs[3])?;
        ensure!(
            matches!(b_zero_points.len(), 1) || b_zero_points.len() == n,
            "zero points of b are one or one a column"
        );
        let batches: usize = shape[..shape.len() - 2].iter().product();
        let mut product = vec![0; batches * m * n];
        let mut packed: Option<(usize, IntegerWeights)> = None;
        for batch in 0..batches {
            let at = matrix(batch, &shape, right);
            if packed.as_ref().is_none_or(|(number, _)| *number != at) {
                packed = Some((at, IntegerWeights::new(&b[at * k * n..][..k * n], k, n, &b_zero_points)?));
            }
            let Some((_, weights)) = &packed else { continue };
            let at = matrix(batch, &shape, left);
            let rows =
                IntegerRows { values: a.part(at * m * k..(at + 1) * m * k).into(), rows: m, zero_points: &zero_points };
            integer_linear(rows, weights, &mut product[batch * m * n..][..m * n]);
        }
        Ok(tvec!(Tensor::from_shape(&shape, &product)?))
    }
}

/// The elements of an integer tensor.
pub fn integers(tensor: &Tensor) -> TractResult<Vec<i32>> {
    Ok(elements::<i32>(&*tensor.cast_to::<i32>()?)?.to_vec())
}

/// The elements of a tensor of 8-bit integers.
pub fn bytes(tensor: &Tensor) -> TractResult<Bytes<'_>> {
    Ok(match tensor.datum_type() {
        DatumType::I8 => Bytes::Signed(elements::<i8>(tensor)?),
        _ => Bytes::Unsigned(elements::<u8>(tensor)?),
    })
}

/// Zero points of a left operand, one or one for each row of a matrix.
pub fn row_zero_points(zero_points: &Tensor, rows: usize) -> TractResult<Vec<i32>> {
    let zero_points = integers(zero_points)?;
    ensure!(matches!(zero_points.len(), 1) || zero_points.len() == rows, "zero points are one or one a row");
    Ok(zero_points)
}

/// The elements of a tensor of 8-bit integers, and their zero points, less 128 where they are unsigned.
pub fn signed_operand(operand: &Tensor, zero_points: &Tensor) -> TractResult<(Vec<i8>, Vec<i8>)> {
    let (operand, shift) = match bytes(operand)? {
        Bytes::Signed(elements) => (elements.to_vec(), 0),
        Bytes::Unsigned(elements) => (elements.iter().map(|element| (element ^ 0x80) as i8).collect(), 128),
    };
    let shifted = |zero_point: i32| i8::try_from(zero_point - shift).context("a zero point is not within the type");
    Ok((operand, integers(zero_points)?.into_iter().map(shifted).collect::<TractResult<_>>()?))
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
