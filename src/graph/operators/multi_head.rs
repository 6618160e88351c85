//! What com.microsoft's `Attention`, `QAttention` and `MultiHeadAttention` do once they have query, key and value.

use super::attention_parts::{fill_mask, flag, heads, int64, scale, shape, size, wire};
use super::{float, unsupported};
use crate::attention::{ScoreStage, Window};
use crate::onnx::pb::NodeProto;
use crate::ops::{AppendToCache, Attention, HeadLayout, KnownSizes, PaddingMask};
use tract_core::internal::*;
use tract_core::ops::math;

/// The attributes that these operators share.
#[derive(Debug, Clone)]
pub struct MultiHead {
    /// `num_heads`.
    pub heads: usize,
    /// `scale`, where it is not the default.
    pub scale: Option<f32>,
    unidirectional: bool,
    mask_filter_value: f32,
}

/// What is attended to.
pub struct Operands {
    /// `[batch, seq, heads * dim]`.
    pub query: OutletId,
    /// In `layout`.
    pub key: OutletId,
    /// In `layout`.
    pub value: OutletId,
    /// Layout of key and value.
    pub layout: HeadLayout,
    /// Which keys are padding, as [`PaddingMask`] reads it.
    pub padding: Option<OutletId>,
    /// f32, broadcasts to `[batch, heads, seq, keys]`.
    pub attention_bias: Option<OutletId>,
    /// Earlier keys and values, `[batch, heads, past, dim]`.
    pub past: Option<[OutletId; 2]>,
    /// Whether keys and values are wanted with those of the past.
    pub present: bool,
    /// Whether the masked scores are wanted.
    pub scores: bool,
}

impl MultiHead {
    /// Reads `num_heads`, `scale`, `unidirectional` and `mask_filter_value`.
    pub fn of(node: &NodeProto) -> TractResult<MultiHead> {
        Ok(MultiHead {
            heads: heads(node, "num_heads")?,
            scale: scale(node),
            unidirectional: flag(node, "unidirectional")?,
            mask_filter_value: float(node, "mask_filter_value").unwrap_or(-10000.0),
        })
    }

    /// Gives the output, `[batch, seq, heads * dim]`, and where they are wanted the present key and value,
    /// `[batch, heads, past + seq, dim]`, and the scores, `[batch, heads, seq, past + seq]`.
    pub fn wire(&self, prefix: &str, model: &mut TypedModel, operands: &Operands) -> TractResult<TVec<OutletId>> {
        let queries = shape(model, operands.query)?;
        let causal = self.unidirectional && queries[1] != 1.to_dim();
        let new = match causal {
            true => as_many_as_queries(prefix, model, operands, &queries[1])?,
            false => [operands.key, operands.value],
        };
        let new_keys = &shape(model, new[0])?[operands.layout.position_axis()];
        let (present, layout) = self.present(prefix, model, operands, new)?;
        let [key, value] = present;
        let past = match operands.past {
            Some([key, _]) => shape(model, key)?[2].clone(),
            None => 0.to_dim(),
        };
        let mask = self.mask(prefix, model, operands, &queries[0], &(past.clone() + new_keys))?;
        if causal && operands.scores {
            return Err(unsupported("shown scores of queries that see only the keys before them are not supported"));
        }
        let first = (causal && past != 0.to_dim()).then(|| size(prefix, model, &past)).transpose()?;
        let inputs: TVec<OutletId> = [operands.query, key, value].into_iter().chain(mask).chain(first).collect();
        let fused = Attention {
            key: layout,
            value: layout,
            window: Window { left: None, right: causal.then_some(0) },
            mask: mask.is_some(),
            first_positions: first.is_some(),
            scores: operands.scores.then_some(ScoreStage::Masked),
            ..Attention::new(self.heads, self.heads, self.scale, HeadLayout::Packed)
        };
        let attended = model.wire_node(prefix, fused, &inputs)?;
        let mut outputs = tvec!(attended[0]);
        if operands.present {
            outputs.extend(present);
        }
        outputs.extend(attended[1..].iter().copied());
        Ok(outputs)
    }

    /// Key and value with those of the past, and their layout.
    fn present(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        operands: &Operands,
        new: [OutletId; 2],
    ) -> TractResult<([OutletId; 2], HeadLayout)> {
        if operands.past.is_none() && (!operands.present || operands.layout == HeadLayout::HeadMajor) {
            return Ok((new, operands.layout));
        }
        let append = AppendToCache {
            heads: self.heads,
            layout: operands.layout,
            columns: None,
            past: operands.past.is_some(),
            buffer: None,
        };
        let mut present = new;
        for (which, present) in present.iter_mut().enumerate() {
            let inputs: TVec<OutletId> = [*present].into_iter().chain(operands.past.map(|past| past[which])).collect();
            *present = wire(prefix, "present", model, append.clone(), &inputs)?;
        }
        Ok((present, HeadLayout::HeadMajor))
    }

    /// Padding mask and bias in one.
    fn mask(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        operands: &Operands,
        batch: &TDim,
        keys: &TDim,
    ) -> TractResult<Option<OutletId>> {
        let bias = operands.attention_bias.map(|bias| fill_mask(prefix, model, bias, keys)).transpose()?;
        let Some(padding) = operands.padding else { return Ok(bias) };
        let mask = self.padding(prefix, model, padding, batch, keys)?;
        match bias {
            Some(bias) => wire(prefix, "bias", model, math::add(), &[mask, bias]).map(Some),
            None => Ok(Some(mask)),
        }
    }

    /// What is added to the scores of keys that are padding.
    pub fn padding(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        padding: OutletId,
        batch: &TDim,
        keys: &TDim,
    ) -> TractResult<OutletId> {
        if !(1..=3).contains(&model.outlet_fact(padding)?.rank()) {
            return Err(unsupported("padding masks of rank 4 are not supported"));
        }
        let padding = int64(prefix, model, padding)?;
        let operator = PaddingMask { batch: batch.clone(), keys: keys.clone(), filter: self.mask_filter_value };
        wire(prefix, "padding", model, operator, &[padding])
    }
}

/// New keys and values, of which there must be as many as queries where each query sees only those before it.
fn as_many_as_queries(
    prefix: &str,
    model: &mut TypedModel,
    operands: &Operands,
    queries: &TDim,
) -> TractResult<[OutletId; 2]> {
    let axis = operands.layout.position_axis();
    let mut new = [operands.key, operands.value];
    for outlet in &mut new {
        let keys = shape(model, *outlet)?[axis].clone();
        if !keys.compatible_with(queries) {
            return Err(unsupported("as many new keys as queries are needed where each sees only those before it"));
        }
        if keys != *queries {
            let sizes = tvec!((axis, queries.clone()));
            *outlet = wire(prefix, "as_many_as_queries", model, KnownSizes { sizes }, &[*outlet])?;
        }
    }
    Ok(new)
}
