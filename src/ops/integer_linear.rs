//! `IntegerLinear`: ONNX `MatMulInteger` (10) with constant weights of one matrix.
//!
//! Inputs: `x` int8 or uint8 `[..., rows, inputs]`; its zero points, integers, one or one for each of the `rows`.
//! Output: int32 `[..., rows, outputs]`, the exact product of both less their zero points.

use super::Shared;
use super::mat_mul_integer::{bytes, row_zero_points};
use super::plain::Plain;
use crate::kernels::integer_linear::{IntegerRows, IntegerWeights, integer_linear};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerLinear {
    /// `[inputs, outputs]`, packed for the kernel.
    pub weights: Shared<IntegerWeights>,
}

impl IntegerLinear {
    fn output_shape<D: DimLike>(&self, x: &[D]) -> TractResult<TVec<D>> {
        ensure!(x.len() >= 2, "IntegerLinear takes matrices, not {x:?}");
        let mut shape: TVec<D> = x.into();
        let (last, inputs) = (x.len() - 1, self.weights.inputs());
        ensure!(x[last].compatible_with(&inputs.into()), "IntegerLinear takes {inputs} columns, not {}", x[last]);
        shape[last] = self.weights.outputs().into();
        Ok(shape)
    }
}

impl Plain for IntegerLinear {
    const NAME: &'static str = "IntegerLinear";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        ensure!([i8::datum_type(), u8::datum_type()].contains(&datum_type), "int8 or uint8, not {datum_type:?}");
        Ok(tvec!(i32::fact(self.output_shape(&inputs[0].shape)?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = inputs[0].shape();
        let shape = self.output_shape(x)?;
        let rows: usize = shape[..shape.len() - 1].iter().product();
        let zero_points = match &*row_zero_points(&inputs[1], x[x.len() - 2])? {
            [one] => vec![*one],
            each => each.iter().copied().cycle().take(rows).collect(),
        };
        let mut product = vec![0; rows * self.weights.outputs()];
        let x = IntegerRows { values: bytes(&inputs[0])?.into(), rows, zero_points: &zero_points };
        integer_linear(x, &self.weights, &mut product);
        Ok(tvec!(Tensor::from_shape(&shape, &product)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_constant_weights() {
        struct Case {
            x: &'static [usize],
            zero_points: &'static [u8],
            expected: Option<&'static [i32]>,
        }
        // w - zero point = [[1, -2], [3, 4]]; x = [[1, 2], [3, 4]]; by hand.
        let cases = [
            Case { x: &[2, 2], zero_points: &[0], expected: Some(&[7, 6, 15, 10]) },
            Case { x: &[2, 2], zero_points: &[1, 3], expected: Some(&[3, 4, 3, 4]) },
            Case { x: &[2, 1, 2], zero_points: &[1], expected: Some(&[3, 4, 11, 8]) },
            Case { x: &[2, 2], zero_points: &[1, 3, 5], expected: None },
            Case { x: &[1, 4], zero_points: &[0], expected: None },
        ];
        for case in cases {
            let weights = Shared::new(IntegerWeights::new(&[2, -1, 4, 5], 2, 2, &[1]).unwrap());
            let x = Tensor::from_shape(case.x, &[1u8, 2, 3, 4]).unwrap();
            let inputs = [x, tensor1(case.zero_points)].map(IntoTValue::into_tvalue);
            let result = IntegerLinear { weights }.compute(&inputs).ok().map(|mut outputs| outputs.remove(0));
            assert_eq!(
                result,
                case.expected.map(|product| Tensor::from_shape(case.x, product).unwrap()),
                "{:?}",
                case.x
            );
        }
    }
}
