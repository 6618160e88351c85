//! `RotaryEmbedding`: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", section 3.2; ONNX
//! `RotaryEmbedding` (23), and com.microsoft's.
//!
//! Inputs: f32 vectors in a [`HeadLayout`], or in [`Columns`] of a wider tensor; f32 cosines and sines, `[rows, pairs]` or, without positions,
//! `[batch, positions, pairs]`; then, unless the caches have them in order, int64 positions as [`Positions`] says. The first
//! `2 * pairs` elements of each vector are rotated. Output: f32 vectors in the layout.

use super::attention::{Columns, HeadLayout, HeadVectors, Operand, operand_shape};
use super::spare::written;
use super::{f32_slice, i64_slice};
use crate::attention::HeadStrides;
use crate::kernels::rotary_embedding::{RotaryCall, rotary_embedding};
use tract_core::internal::*;

/// Which rows of the caches belong to the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Positions {
    /// The caches have a row for each token.
    InOrder,
    /// The third input, `[batch, positions]`, has the row of each token.
    PerToken,
    /// The third input, `[batch]` or `[1]`, has the row of each sequence's first token; the others follow it.
    Following,
    /// The third input, `[batch, positions]`, has the row of each token, unless the fourth, one element, equals `positions`:
    /// then all sequences start at the very first of them. So ONNX Runtime reads the `position_ids` of
    /// `GroupQueryAttention`, whose fourth is the total sequence length.
    PerTokenButInPrompt,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RotaryEmbedding {
    /// Heads of packed vectors; without, as many as there are vectors of twice the pairs.
    pub heads: Option<usize>,
    /// Layout of input and output.
    pub layout: HeadLayout,
    /// Where packed vectors are columns of the input.
    pub columns: Option<Columns>,
    /// Whether neighbours are rotated together; else an element of the first half with the one of the second half.
    pub interleaved: bool,
    /// Which rows of the caches belong to the tokens.
    pub positions: Positions,
}

impl Positions {
    /// Number of inputs that tell.
    fn arity(self) -> usize {
        match self {
            Positions::InOrder => 0,
            Positions::PerToken | Positions::Following => 1,
            Positions::PerTokenButInPrompt => 2,
        }
    }

    /// The row of each of `batch * positions` tokens, all below `rows`; `places` are the inputs that tell.
    fn rows(self, places: &[TValue], batch: usize, positions: usize, rows: usize) -> TractResult<TVec<usize>> {
        let ids_shape = places.first().map_or(&[][..], |ids| ids.shape());
        let ids = places.first().map(|ids| i64_slice(ids)).transpose()?.unwrap_or(&[]);
        let total = places.get(1).map(|total| i64_slice(total)).transpose()?;
        let prompt = total.is_some_and(|total| total == [positions as i64]);
        let fits = match self {
            Positions::InOrder => true,
            Positions::PerToken | Positions::PerTokenButInPrompt => ids_shape == [batch, positions],
            Positions::Following => ids_shape == [1] || ids_shape == [batch],
        };
        ensure!(fits, "position ids of {ids_shape:?} do not fit {batch} sequences of {positions} tokens");
        let row = |token: usize| {
            let (batch, position) = (token / positions, token % positions);
            let row = match self {
                Positions::InOrder => token as i64,
                Positions::PerTokenButInPrompt if prompt => ids[0].saturating_add(position as i64),
                Positions::PerToken | Positions::PerTokenButInPrompt => ids[token],
                Positions::Following => ids[batch % ids.len()].saturating_add(position as i64),
            };
            let row = usize::try_from(row).ok().filter(|row| *row < rows);
            row.with_context(|| format!("the caches have no row for a token's position; there are {rows}"))
        };
        (0..batch * positions).map(row).collect()
    }
}

/// The rotation of a call's tokens.
pub(super) struct Rotation<'a> {
    interleaved: bool,
    pairs: usize,
    cos: &'a [f32],
    sin: &'a [f32],
    /// The row of each token, `[batch, positions]`.
    rows: TVec<usize>,
}

impl Rotation<'_> {
    /// Rotates all vectors.
    fn rotate(&self, vectors: &HeadVectors, output: HeadStrides, out: &mut [f32]) {
        rotary_embedding(&self.call(vectors, output), vectors.elements, self.cos, self.sin, &self.rows, out);
    }

    /// Rotates the vectors of a head, which lie without gaps in `out`; `place` counts the heads of all sequences.
    pub(super) fn rotate_head(&self, vectors: &HeadVectors, place: usize, out: &mut [f32]) {
        let Operand { heads, positions, dim, .. } = vectors.operand;
        let output = HeadStrides { start: 0, batch: 0, head: 0, position: dim };
        let input = HeadStrides { start: 0, ..vectors.strides };
        let call = RotaryCall { batch: 1, heads: 1, input, ..self.call(vectors, output) };
        let rows = &self.rows[place / heads * positions..][..positions];
        rotary_embedding(&call, vectors.head(place), self.cos, self.sin, rows, out);
    }

    fn call(&self, vectors: &HeadVectors, output: HeadStrides) -> RotaryCall {
        let Operand { batch, heads, positions, dim } = vectors.operand;
        RotaryCall {
            batch,
            heads,
            positions,
            head_dim: dim,
            rotary_dim: 2 * self.pairs,
            interleaved: self.interleaved,
            input: vectors.strides,
            output,
        }
    }
}

impl RotaryEmbedding {
    /// Number of inputs behind the vectors.
    pub(super) fn tables(&self) -> usize {
        2 + self.positions.arity()
    }

    /// The vectors in the first input. `tables` are all other inputs.
    pub(super) fn vectors<'a>(&self, x: &'a Tensor, tables: &[TValue]) -> TractResult<HeadVectors<'a>> {
        let pairs = *tables[0].shape().last().context("the caches are scalars")?;
        let width = *operand_shape(self.columns, x.shape())?.last().context("the vectors are scalars")?;
        let heads = self.heads.unwrap_or(width / (2 * pairs).max(1));
        ensure!(heads > 0, "{width} columns hold no vector of {}", 2 * pairs);
        let vectors = HeadVectors::of(x, self.layout, self.columns, heads)?;
        let dim = vectors.operand.dim;
        ensure!(2 * pairs <= dim, "{pairs} pairs cannot be rotated in vectors of {dim}");
        Ok(vectors)
    }

    /// The rotation of the tokens of an operand. `tables` are all inputs behind the vectors.
    pub(super) fn rotation<'a>(&self, operand: &Operand<usize>, tables: &'a [TValue]) -> TractResult<Rotation<'a>> {
        let (cos, sin, places) = (&tables[0], &tables[1], &tables[2..]);
        let Operand { batch, positions, .. } = *operand;
        let (pairs, row_axes) = cos.shape().split_last().context("the caches are scalars")?;
        ensure!(cos.shape() == sin.shape(), "cosines of {:?} and sines of {:?}", cos.shape(), sin.shape());
        ensure!(
            self.positions != Positions::InOrder || row_axes == [batch, positions],
            "caches of {:?} do not fit {batch} sequences of {positions} tokens",
            cos.shape()
        );
        let rows = self.positions.rows(places, batch, positions, row_axes.iter().product())?;
        let (cos, sin) = (f32_slice(cos)?, f32_slice(sin)?);
        Ok(Rotation { interleaved: self.interleaved, pairs: *pairs, cos, sin, rows })
    }

    /// The rotated vectors, in the layout.
    pub(super) fn rotated(&self, vectors: &HeadVectors, rotation: &Rotation) -> TractResult<TValue> {
        let operand = vectors.operand;
        written(&self.layout.shape(operand), |out| {
            rotation.rotate(vectors, self.layout.strides(&operand), out);
            Ok(())
        })
    }
}

impl Op for RotaryEmbedding {
    fn name(&self) -> StaticName {
        "RotaryEmbedding".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let pairs = if self.interleaved { "neighbours" } else { "halves" };
        Ok(vec![format!("{pairs}, positions {:?}", self.positions)])
    }

    op_as_typed_op!();
}

impl EvalOp for RotaryEmbedding {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, tables) = (&inputs[0], &inputs[1..]);
        let vectors = self.vectors(x, tables)?;
        let rotation = self.rotation(&vectors.operand, tables)?;
        Ok(tvec!(self.rotated(&vectors, &rotation)?))
    }
}

impl TypedOp for RotaryEmbedding {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let in_order = self.positions == Positions::InOrder;
        let arity = 1 + self.tables();
        ensure!(inputs.len() == arity, "RotaryEmbedding takes {arity} inputs");
        ensure!(inputs[..3].iter().all(|input| input.datum_type == f32::datum_type()), "RotaryEmbedding takes float32");
        ensure!(inputs[3..].iter().all(|ids| ids.datum_type == i64::datum_type()), "position ids are int64");
        let caches = 2 + in_order as usize;
        ensure!([inputs[1].rank(), inputs[2].rank()] == [caches; 2], "the caches must have rank {caches}");
        let shape = operand_shape(self.columns, &inputs[0].shape.to_tvec())?;
        self.layout.operand(&shape, self.heads.unwrap_or(1))?;
        Ok(tvec!(f32::fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn positions() {
        struct Case {
            positions: Positions,
            ids: Option<Tensor>,
            total: Option<i64>,
            /// Row of each of two tokens in two sequences, `None` for an error.
            rows: Option<[usize; 4]>,
        }
        let ids = |shape: &[usize], ids: &[i64]| Some(Tensor::from_shape(shape, ids).unwrap());
        let cases = [
            Case { positions: Positions::InOrder, ids: None, total: None, rows: Some([0, 1, 2, 3]) },
            Case {
                positions: Positions::PerToken,
                ids: ids(&[2, 2], &[3, 0, 1, 1]),
                total: None,
                rows: Some([3, 0, 1, 1]),
            },
            Case { positions: Positions::PerToken, ids: ids(&[2, 2], &[4, 0, 1, 1]), total: None, rows: None },
            Case { positions: Positions::PerToken, ids: ids(&[2, 2], &[-1, 0, 1, 1]), total: None, rows: None },
            Case { positions: Positions::PerToken, ids: ids(&[1, 2], &[0, 1]), total: None, rows: None },
            Case { positions: Positions::Following, ids: ids(&[2], &[2, 0]), total: None, rows: Some([2, 3, 0, 1]) },
            Case { positions: Positions::Following, ids: ids(&[1], &[1]), total: None, rows: Some([1, 2, 1, 2]) },
            Case { positions: Positions::Following, ids: ids(&[1], &[3]), total: None, rows: None },
            Case {
                positions: Positions::PerTokenButInPrompt,
                ids: ids(&[2, 2], &[2, 0, 1, 1]),
                total: Some(2),
                rows: Some([2, 3, 2, 3]),
            },
            Case {
                positions: Positions::PerTokenButInPrompt,
                ids: ids(&[2, 2], &[2, 0, 1, 1]),
                total: Some(3),
                rows: Some([2, 0, 1, 1]),
            },
        ];
        for case in cases {
            let operator = RotaryEmbedding {
                heads: Some(1),
                layout: HeadLayout::Packed,
                columns: None,
                interleaved: true,
                positions: case.positions,
            };
            // Row r stands for a factor of r: its sine is 0 and its "cosine" r.
            let caches: &[usize] = if case.positions == Positions::InOrder { &[2, 2, 1] } else { &[4, 1] };
            let mut inputs =
                vec![tensor(&[2, 2, 2], &[1.0; 8]), tensor(caches, &[0., 1., 2., 3.]), tensor(caches, &[0.; 4])];
            let what = format!("{:?} {:?}", case.positions, case.ids);
            inputs.extend(case.ids);
            inputs.extend(case.total.map(|total| tensor1(&[total])));
            match (evaluate(&operator, &inputs), case.rows) {
                (Ok(output), Some(rows)) => {
                    let expected: Vec<f32> = rows.iter().flat_map(|row| [*row as f32; 2]).collect();
                    assert_close(&what, &output, &[2, 2, 2], &expected);
                }
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{what}"),
            }
        }
    }

    #[test]
    fn columns_of_a_wider_tensor() {
        let rotary = |first, count| RotaryEmbedding {
            heads: Some(1),
            layout: HeadLayout::Packed,
            columns: Some(Columns { first, count }),
            interleaved: true,
            positions: Positions::InOrder,
        };
        // Two tokens of four columns, turned by 90 degrees.
        let inputs = [
            tensor(&[1, 2, 4], &[1., 2., 3., 4., 5., 6., 7., 8.]),
            tensor(&[1, 2, 1], &[0.; 2]),
            tensor(&[1, 2, 1], &[1.; 2]),
        ];
        assert_close("last two", &evaluate(&rotary(2, 2), &inputs).unwrap(), &[1, 2, 2], &[-4., 3., -8., 7.]);
        assert!(evaluate(&rotary(3, 2), &inputs).is_err(), "columns that are not there");
    }
}
