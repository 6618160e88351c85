//! `CheckIndices`: indices that lie within an axis; others are an error before an operator that would panic gets them.
//!
//! Inputs: `indices`, int64 of any shape; `data`, whose `axis` they index. Output: `indices`, negative ones counted from
//! the end.

use crate::error::Error;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckIndices {
    /// Axis of `data`.
    pub axis: usize,
}

impl Op for CheckIndices {
    fn name(&self) -> StaticName {
        "CheckIndices".into()
    }

    op_as_typed_op!();
}

impl EvalOp for CheckIndices {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let indices = inputs[0].try_as_plain_ram()?.as_slice::<i64>()?;
        let len = inputs[1].shape()[self.axis] as i64;
        let checked = indices.iter().map(|index| match index {
            0.. if *index < len => Ok(*index),
            ..0 if *index >= -len => Ok(index + len),
            _ => Err(Error::invalid_input(format!("index {index} is out of range: the axis has length {len}"))
                .remedy("use the tokenizer that belongs to the model, and no more tokens than it has positions")),
        });
        let checked = checked.collect::<Result<Vec<i64>, Error>>()?;
        Ok(tvec!(Tensor::from_shape(inputs[0].shape(), &checked)?.into_tvalue()))
    }
}

impl TypedOp for CheckIndices {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == i64::datum_type(), "CheckIndices takes int64, not {:?}", inputs[0]);
        ensure!(self.axis < inputs[1].rank(), "axis {} of a tensor of rank {}", self.axis, inputs[1].rank());
        Ok(tvec!(i64::fact(inputs[0].shape.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::evaluate;
    use super::*;

    #[test]
    fn within_the_axis() {
        let cases: [(&[i64], Option<&[i64]>); 4] =
            [(&[0, 2, -1, -3], Some(&[0, 2, 2, 0])), (&[], Some(&[])), (&[3], None), (&[-4], None)];
        for (indices, expected) in cases {
            let inputs = [Tensor::from_shape(&[indices.len()], indices).unwrap(), Tensor::zero::<u8>(&[2, 3]).unwrap()];
            let result = evaluate(&CheckIndices { axis: 1 }, &inputs);
            let expected = expected.map(|expected| Tensor::from_shape(&[expected.len()], expected).unwrap());
            assert_eq!(result.ok(), expected, "{indices:?}");
        }
    }
}
