//! com.microsoft `EmbedLayerNormalization`: `input_ids` `[batch, sequence]`, optional `segment_ids`, tables of words,
//! positions and optionally segments, `gamma`, `beta`, optional `mask`, optional `position_ids` `[batch or 1, sequence]`.
//! Without `segment_ids` every token is of segment 0; without `position_ids` positions count from 0.
//! Outputs: the normalised sum of embeddings; `mask_index`, int32 `[batch]`, the number of ones in each row of the mask, or
//! 0 without one; that sum. Attributes: `epsilon`, and `mask_index_type`, which only tells types.

use super::compose::Composer;
use super::normalise::{Kind, Normalisation};
use super::{Wiring, float, has_output, input, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::DequantizeLinear;
use tract_core::internal::*;
use tract_core::ops::array::{Gather, MultiBroadcastTo, Slice};
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::logic::comp_eq;
use tract_core::ops::math::add;
use tract_core::ops::nn::{Reduce, Reducer};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct EmbedLayerNormalization {
    epsilon: f32,
    inputs: [Option<usize>; 9],
    mask_index: bool,
    embedding_sum: bool,
}

impl Wiring for EmbedLayerNormalization {
    const OPERATOR: &'static str = "com.microsoft.EmbedLayerNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["epsilon", "mask_index_type"])?;
        Ok(EmbedLayerNormalization {
            epsilon: float(node, "epsilon").unwrap_or(1e-12),
            inputs: std::array::from_fn(|position| input(node, position)),
            mask_index: has_output(node, 1),
            embedding_sum: has_output(node, 2),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let [ids, segment_ids, words, positions, segments, gamma, beta, mask, position_ids] =
            self.inputs.map(|position| position.map(|at| inputs[at]));
        let embeddings = Embeddings {
            ids: ids.context("input_ids is missing")?,
            segment_ids,
            position_ids,
            words: Table::plain(words.context("word_embedding is missing")?),
            positions: Table::plain(positions.context("position_embedding is missing")?),
            segments: segments.map(Table::plain),
        };
        let sum = embeddings.sum(composer)?;
        let normalisation = Normalisation { kind: Kind::Layer, axis: 2, epsilon: self.epsilon };
        let mut outputs = tvec!(normalisation.wire(composer, sum, gamma, beta)?);
        if self.mask_index {
            outputs.push(mask_index(composer, embeddings.ids, mask)?);
        }
        outputs.extend(self.embedding_sum.then_some(sum));
        Ok(outputs)
    }
}

/// A table of embeddings, or of their 8-bit values.
#[derive(Debug, Clone)]
pub struct Table {
    /// The rows.
    pub values: OutletId,
    /// The scale and the zero point of all 8-bit values.
    pub quantization: Option<[OutletId; 2]>,
}

impl Table {
    fn plain(values: OutletId) -> Table {
        Table { values, quantization: None }
    }

    fn rows(&self, composer: &mut Composer, ids: OutletId) -> TractResult<OutletId> {
        let ids = composer.cast(ids, i64::datum_type())?;
        let rows = composer.wire(Gather::new(0), &[self.values, ids])?;
        self.dequantized(composer, rows)
    }

    fn first_rows(&self, composer: &mut Composer, count: TDim) -> TractResult<OutletId> {
        let rows = composer.wire(Slice::new(0, 0, count), &[self.values])?;
        self.dequantized(composer, rows)
    }

    /// Values of the table as float32.
    pub fn dequantized(&self, composer: &mut Composer, values: OutletId) -> TractResult<OutletId> {
        let Some([scale, zero_point]) = self.quantization else { return Ok(values) };
        let operator = DequantizeLinear { axis: 0, block_size: 0, packed: None };
        composer.wire(operator, &[values, scale, zero_point])
    }
}

/// What the embedding of a token is the sum of.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// `[batch, sequence]`.
    pub ids: OutletId,
    /// Of the shape of `ids`; without them every token is of segment 0.
    pub segment_ids: Option<OutletId>,
    /// `[batch or 1, sequence]`; without them positions count from 0.
    pub position_ids: Option<OutletId>,
    /// Indexed by `ids`.
    pub words: Table,
    /// Indexed by positions.
    pub positions: Table,
    /// Indexed by `segment_ids`.
    pub segments: Option<Table>,
}

impl Embeddings {
    /// Wires the sum: `[batch, sequence, width]`.
    pub fn sum(&self, composer: &mut Composer) -> TractResult<OutletId> {
        let shape = composer.shape(self.ids)?;
        ensure!(shape.len() == 2, "input_ids must be [batch, sequence]");
        let words = self.words.rows(composer, self.ids)?;
        let positions = match self.position_ids {
            Some(position_ids) => self.positions.rows(composer, position_ids)?,
            None => self.positions.first_rows(composer, shape[1].clone())?,
        };
        let sum = composer.binary(add(), words, positions)?;
        let Some(table) = &self.segments else { return Ok(sum) };
        let segments = match self.segment_ids {
            Some(segment_ids) => table.rows(composer, segment_ids)?,
            None => table.first_rows(composer, 1.to_dim())?,
        };
        composer.binary(add(), sum, segments)
    }
}

/// Wires the number of ones in each row of the mask, or 0 without one.
pub fn mask_index(composer: &mut Composer, ids: OutletId, mask: Option<OutletId>) -> TractResult<OutletId> {
    let Some(mask) = mask else {
        let zero = composer.constant(tensor1(&[0i32]))?;
        let shape = composer.shape(ids)?[..1].to_vec();
        return composer.wire(MultiBroadcastTo { shape: shape.into() }, &[zero]);
    };
    let ones = composer.binary_with(TypedBinOp(comp_eq(), None), mask, 1.0)?;
    let ones = composer.cast(ones, i32::datum_type())?;
    let count = composer.wire(Reduce::new(tvec!(1), Reducer::Sum), &[ones])?;
    composer.wire(AxisOp::Rm(1), &[count])
}
