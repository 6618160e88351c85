//! `Embedding`: rows of a constant table, as ONNX `Gather` (13) over axis 0.
//!
//! Input: ids, int64 of any shape, in `[-rows, rows)`; negative ones count from the end. Output: f32 `[..., width]`.

use super::Shared;
use super::spare::written;
use crate::error::Error;
use crate::kernels::embedding::{EmbeddingTable, gather};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedding {
    /// Elements of a row.
    pub width: usize,
    /// Embeddings in the table, which need not be made yet.
    pub rows: usize,
    /// `[rows, width]`.
    pub table: Shared<EmbeddingTable>,
}

impl Op for Embedding {
    fn name(&self) -> StaticName {
        "Embedding".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{} x {}, {} bytes", self.rows, self.width, self.table.bytes())])
    }

    op_as_typed_op!();
}

impl EvalOp for Embedding {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let ids = inputs[0].try_as_plain_ram()?.as_slice::<i64>()?;
        let mut shape: TVec<usize> = inputs[0].shape().into();
        shape.push(self.width);
        let output = written(&shape, |out| {
            gather(&self.table, ids, out).map_err(|id| {
                Error::invalid_input(format!("id {id} is out of range: the table has {} rows", self.rows))
                    .remedy("use the tokenizer that belongs to the model, and no more tokens than it has positions")
                    .into()
            })
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for Embedding {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == i64::datum_type(), "Embedding takes int64 ids, not {:?}", inputs[0]);
        let mut shape: TVec<TDim> = inputs[0].shape.to_tvec();
        shape.push(self.width.to_dim());
        Ok(tvec!(f32::fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate};
    use super::*;

    #[test]
    fn rows_and_ids_out_of_range() {
        let table = EmbeddingTable::from_f32(vec![0f32, 1., 10., 11., 20., 21.], 3, 2);
        let operator = Embedding { rows: table.rows(), width: 2, table: Shared::new(table) };
        let cases: [(&[i64], Option<&[f32]>); 4] =
            [(&[2, 0], Some(&[20., 21., 0., 1.])), (&[-1], Some(&[20., 21.])), (&[3], None), (&[0, -4], None)];
        for (ids, expected) in cases {
            let result = evaluate(&operator, &[Tensor::from_shape(&[ids.len()], ids).unwrap()]);
            match expected {
                Some(expected) => assert_close("rows", &result.unwrap(), &[ids.len(), 2], expected),
                None => assert!(result.unwrap_err().downcast_ref::<Error>().is_some(), "{ids:?}"),
            }
        }
    }
}
