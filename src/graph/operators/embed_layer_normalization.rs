//! com.microsoft `EmbedLayerNormalization`: `input_ids` `[batch, sequence]`, optional `segment_ids`, tables of words,
//! positions and optionally segments, `gamma`, `beta`, optional `mask`, optional `position_ids` `[batch or 1, sequence]`.
//! Without `segment_ids` every token is of segment 0; without `position_ids` positions count from 0.
//! Outputs: the normalised sum of embeddings; `mask_index`, int32 `[batch]`, the number of ones in each row of the mask, or
//! 0 without one; that sum. Attributes: `epsilon`, and `mask_index_type`, which only tells types.

use super::compose::Composer;
use super::normalise::{Kind, Normalisation};
use super::{Wiring, float, has_output, input, only_attributes};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::{Gather, MultiBroadcastTo, Slice};
use tract_onnx::tract_hir::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_hir::tract_core::ops::logic::comp_eq;
use tract_onnx::tract_hir::tract_core::ops::math::add;
use tract_onnx::tract_hir::tract_core::ops::nn::{Reduce, Reducer};

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

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let composer = &mut Composer::new(prefix, model);
        let [ids, segment_ids, words, positions, segments, gamma, beta, mask, position_ids] =
            self.inputs.map(|position| position.map(|at| inputs[at]));
        let ids = ids.context("input_ids is missing")?;
        ensure!(composer.fact(ids)?.rank() == 2, "input_ids must be [batch, sequence]");
        let words = rows(composer, words.context("word_embedding is missing")?, ids)?;
        let positions = positions.context("position_embedding is missing")?;
        let positions = match position_ids {
            Some(position_ids) => rows(composer, positions, position_ids)?,
            None => first_rows(composer, positions, composer.shape(ids)?[1].clone())?,
        };
        let mut sum = composer.binary(add(), words, positions)?;
        if let Some(segments) = segments {
            let segments = match segment_ids {
                Some(segment_ids) => rows(composer, segments, segment_ids)?,
                None => first_rows(composer, segments, 1.to_dim())?,
            };
            sum = composer.binary(add(), sum, segments)?;
        }
        let normalisation = Normalisation { kind: Kind::Layer, axis: 2, epsilon: self.epsilon };
        let mut outputs = tvec!(normalisation.wire(composer, sum, gamma, beta)?);
        if self.mask_index {
            outputs.push(mask_index(composer, ids, mask)?);
        }
        outputs.extend(self.embedding_sum.then_some(sum));
        Ok(Some(outputs))
    }
}

fn rows(composer: &mut Composer, table: OutletId, ids: OutletId) -> TractResult<OutletId> {
    let ids = composer.cast(ids, i64::datum_type())?;
    composer.wire(Gather::new(0), &[table, ids])
}

fn first_rows(composer: &mut Composer, table: OutletId, count: TDim) -> TractResult<OutletId> {
    composer.wire(Slice::new(0, 0, count), &[table])
}

fn mask_index(composer: &mut Composer, ids: OutletId, mask: Option<OutletId>) -> TractResult<OutletId> {
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
