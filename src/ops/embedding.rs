//! `Embedding`: rows of a constant table, as ONNX `Gather` (13) over axis 0, by themselves or added to others.
//!
//! Inputs: ids, int64 of any shape, in `[-rows, rows)`; negative ones count from the end; with `added` f32 `[..., width]`, whose other
//! axes end with those of the ids, leading ones of size 1 aside. Output: f32 `[..., width]`, of the shape of the added rows if there are
//! any.

use super::spare::written;
use super::{Shared, f32_slice};
use crate::error::Error;
use crate::kernels::embedding::{EmbeddingTable, gather, gather_and_add};
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
    /// Whether a second input is added to the embeddings.
    pub added: bool,
}

impl Embedding {
    /// With nothing added.
    pub fn new(rows: usize, width: usize, table: Shared<EmbeddingTable>) -> Embedding {
        Embedding { width, rows, table, added: false }
    }

    /// Whether rows of that shape can be added to the embeddings of such ids.
    pub fn fits<D: DimLike>(&self, ids: &[D], added: &[D]) -> bool {
        let Some((last, rows)) = added.split_last() else { return false };
        let leading = ids.iter().take_while(|size| **size == D::one()).count();
        *last == self.width.into() && ids.len() <= rows.len() && rows.ends_with(&ids[leading..])
    }
}

impl Op for Embedding {
    fn name(&self) -> StaticName {
        "Embedding".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let mut info = vec![format!("{} x {}, {} bytes", self.rows, self.width, self.table.bytes())];
        info.extend(self.added.then(|| "added".to_string()));
        Ok(info)
    }

    op_as_typed_op!();
}

impl Embedding {
    /// The error of an id that is not in the table.
    fn checked(&self, result: Result<(), i64>) -> TractResult<()> {
        result.map_err(|id| {
            Error::invalid_input(format!("id {id} is out of range: the table has {} rows", self.rows))
                .remedy("use the tokenizer that belongs to the model, and no more tokens than it has positions")
                .into()
        })
    }
}

impl EvalOp for Embedding {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let ids = inputs[0].try_as_plain_ram()?.as_slice::<i64>()?;
        let output = match inputs.get(1) {
            Some(added) => {
                let fits = self.fits(inputs[0].shape(), added.shape());
                ensure!(fits, "no ids of shape {:?} for rows of shape {:?}", inputs[0].shape(), added.shape());
                let added_rows = f32_slice(added)?;
                written(added.shape(), |out| self.checked(gather_and_add(&self.table, ids, added_rows, out)))?
            }
            None => {
                let mut shape: TVec<usize> = inputs[0].shape().into();
                shape.push(self.width);
                written(&shape, |out| self.checked(gather(&self.table, ids, out)))?
            }
        };
        Ok(tvec!(output))
    }
}

impl TypedOp for Embedding {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == i64::datum_type(), "Embedding takes int64 ids, not {:?}", inputs[0]);
        ensure!(inputs.len() == 1 + usize::from(self.added), "Embedding takes {} inputs", 1 + usize::from(self.added));
        if let Some(added) = inputs.get(1) {
            let fits = added.datum_type == f32::datum_type() && self.fits(&inputs[0].shape, &added.shape);
            ensure!(fits, "rows of ids {:?} cannot be added to {added:?}", inputs[0]);
            return Ok(tvec!(added.without_value()));
        }
        let mut shape: TVec<TDim> = inputs[0].shape.to_tvec();
        shape.push(self.width.to_dim());
        Ok(tvec!(f32::fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn rows_and_ids_out_of_range() {
        let table = EmbeddingTable::from_f32(vec![0f32, 1., 10., 11., 20., 21.], 3, 2);
        let operator = Embedding::new(table.rows(), 2, Shared::new(table));
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

    #[test]
    fn rows_added_to_others() {
        let table = EmbeddingTable::from_f32(vec![0f32, 1., 10., 11., 20., 21.], 3, 2);
        let operator = Embedding { added: true, ..Embedding::new(table.rows(), 2, Shared::new(table)) };
        // Shapes of ids and of what is added, ids, and the sums with 100, 200 and so on.
        type Case<'a> = (&'a [usize], &'a [usize], &'a [i64], Option<&'a [f32]>);
        let cases: [Case<'_>; 8] = [
            (&[2], &[2, 2], &[2, 0], Some(&[120., 221., 300., 401.])),
            (&[1, 2], &[1, 2, 2], &[1, -1], Some(&[110., 211., 320., 421.])),
            (&[1, 1], &[2, 1, 2], &[1], Some(&[110., 211., 310., 411.])),
            (&[2, 1], &[2, 1, 2], &[1, 0], Some(&[110., 211., 300., 401.])),
            (&[2, 1], &[1, 2, 2], &[1, 0], None),
            (&[1, 2], &[2, 2], &[1, 0], None),
            (&[2], &[2, 1], &[1, 0], None),
            (&[2], &[2, 2], &[1, 3], None),
        ];
        for (ids_shape, shape, ids, expected) in cases {
            let added: Vec<f32> = (1..=shape.iter().product()).map(|at: usize| 100.0 * at as f32).collect();
            let result = evaluate(&operator, &[Tensor::from_shape(ids_shape, ids).unwrap(), tensor(shape, &added)]);
            match expected {
                Some(expected) => assert_close("sums", &result.unwrap(), shape, expected),
                None => assert!(result.is_err(), "{ids_shape:?} {shape:?}"),
            }
        }
    }
}
