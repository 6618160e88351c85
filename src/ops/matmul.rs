//! `MatMul`: ONNX `MatMul` (13) of two f32 tensors of rank 2 or more, neither of which has to be constant.
//!
//! Inputs: `[..., m, k]` and `[..., k, n]`; the leading axes broadcast. Output: `[..., m, n]`.

use super::{f32_slice, f32_tensor};
use crate::kernels::activation::Activation;
use crate::kernels::linear::{LinearWeights, linear};
use tract_core::broadcast::multi_broadcast;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MatMul;

/// Shape of the product of matrices of these shapes.
pub(super) fn output_shape<D: DimLike>(left: &[D], right: &[D]) -> TractResult<TVec<D>> {
    let (rank_left, rank_right) = (left.len(), right.len());
    ensure!(rank_left >= 2 && rank_right >= 2, "MatMul takes matrices, not {left:?} and {right:?}");
    let (inner_left, inner_right) = (&left[rank_left - 1], &right[rank_right - 2]);
    ensure!(inner_left.compatible_with(inner_right), "MatMul of {left:?} and {right:?}: inner sizes differ");
    let mut shape = multi_broadcast(&[&left[..rank_left - 2], &right[..rank_right - 2]])?;
    shape.push(left[rank_left - 2].clone());
    shape.push(right[rank_right - 1].clone());
    Ok(shape)
}

/// Number of the matrix of `shape` that belongs to the `batch`th of `output`, counted over the broadcast leading axes.
pub(super) fn matrix(mut batch: usize, output: &[usize], shape: &[usize]) -> usize {
    let (output, own) = (&output[..output.len() - 2], &shape[..shape.len() - 2]);
    let (mut number, mut stride) = (0, 1);
    for axis in (0..output.len()).rev() {
        let coordinate = batch % output[axis];
        batch /= output[axis];
        if let Some(axis) = (axis + own.len()).checked_sub(output.len())
            && own[axis] != 1
        {
            number += coordinate * stride;
            stride *= own[axis];
        }
    }
    number
}

impl Op for MatMul {
    fn name(&self) -> StaticName {
        "MatMul".into()
    }

    op_as_typed_op!();
}

impl EvalOp for MatMul {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (left, right) = (inputs[0].shape(), inputs[1].shape());
        let shape = output_shape(left, right)?;
        let (m, k, n) = (left[left.len() - 2], left[left.len() - 1], right[right.len() - 1]);
        ensure!(k == right[right.len() - 2], "MatMul of {left:?} and {right:?}: inner sizes differ");
        let (a, b) = (f32_slice(&inputs[0])?, f32_slice(&inputs[1])?);
        let output = f32_tensor(&shape, |out| {
            if m * n == 0 {
                return Ok(());
            }
            let mut packed: Option<(usize, LinearWeights)> = None;
            for (batch, out) in out.chunks_exact_mut(m * n).enumerate() {
                let at = matrix(batch, &shape, right);
                if packed.as_ref().is_none_or(|(number, _)| *number != at) {
                    packed = Some((at, LinearWeights::from_f32(&b[at * k * n..(at + 1) * k * n], k, n, n, 1)));
                }
                let Some((_, weights)) = &packed else { continue };
                let at = matrix(batch, &shape, left);
                linear(&a[at * m * k..(at + 1) * m * k], m, weights, None, Activation::Identity, None, out);
            }
            Ok(())
        })?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for MatMul {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.iter().all(|input| input.datum_type == f32::datum_type()), "MatMul takes float32");
        Ok(tvec!(f32::fact(output_shape(&inputs[0].shape.to_tvec(), &inputs[1].shape.to_tvec())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn products_and_broadcasting() {
        struct Case {
            left: (&'static [usize], &'static [f32]),
            right: (&'static [usize], &'static [f32]),
            expected: Option<(&'static [usize], &'static [f32])>,
        }
        let cases = [
            Case {
                left: (&[2, 2], &[1., 2., 3., 4.]),
                right: (&[2, 1], &[5., 6.]),
                expected: Some((&[2, 1], &[17., 39.])),
            },
            Case {
                left: (&[2, 1, 1, 1], &[2., 3.]),
                right: (&[2, 1, 2], &[1., 2., 3., 4.]),
                expected: Some((&[2, 2, 1, 2], &[2., 4., 6., 8., 3., 6., 9., 12.])),
            },
            Case {
                left: (&[1, 2], &[1., 1.]),
                right: (&[2, 2, 1], &[1., 2., 3., 4.]),
                expected: Some((&[2, 1, 1], &[3., 7.])),
            },
            Case { left: (&[0, 2], &[]), right: (&[2, 3], &[0.; 6]), expected: Some((&[0, 3], &[])) },
            Case { left: (&[1, 2], &[1., 1.]), right: (&[3, 1], &[0.; 3]), expected: None },
        ];
        for case in cases {
            let inputs = [tensor(case.left.0, case.left.1), tensor(case.right.0, case.right.1)];
            match (evaluate(&MatMul, &inputs), case.expected) {
                (Ok(output), Some((shape, values))) => assert_close("product", &output, shape, values),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{:?}", case.left),
            }
        }
    }
}
