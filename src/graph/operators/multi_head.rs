//! What com.microsoft's `Attention`, `QAttention` and `MultiHeadAttention` do once they have query, key and value.

use super::attention_parts::{fill_mask, flag, heads, int64, scale, shape, size, wire};
use super::{float, unsupported};
use crate::attention::Window;
use crate::ops::{AppendToCache, Attention, HeadLayout, PaddingMask};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::math;

/// The attributes that these operators share.
#[derive(Debug, Clone)]
pub struct MultiHead {
    /// `num_heads`.
    pub heads: usize,
    scale: Option<f32>,
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
    /// `[batch, heads, past + seq, dim]`.
    pub fn wire(&self, prefix: &str, model: &mut TypedModel, operands: &Operands) -> TractResult<TVec<OutletId>> {
        let queries = shape(model, operands.query)?;
        let new_keys = &shape(model, operands.key)?[if operands.layout == HeadLayout::HeadMajor { 2 } else { 1 }];
        let (present, layout) = self.present(prefix, model, operands)?;
        let [key, value] = present;
        let past = match operands.past {
            Some([key, _]) => shape(model, key)?[2].clone(),
            None => 0.to_dim(),
        };
        let mask = self.mask(prefix, model, operands, &queries[0], &(past.clone() + new_keys))?;
        let causal = self.unidirectional && queries[1] != 1.to_dim();
        if causal && queries[1] != *new_keys {
            return Err(unsupported("as many new keys as queries are needed where each sees only those before it"));
        }
        let first = (causal && past != 0.to_dim()).then(|| size(prefix, model, &past)).transpose()?;
        let inputs: TVec<OutletId> = [operands.query, key, value].into_iter().chain(mask).chain(first).collect();
        let fused = Attention {
            key: layout,
            value: layout,
            window: Window { left: None, right: causal.then_some(0) },
            mask: mask.is_some(),
            first_positions: first.is_some(),
            ..Attention::new(self.heads, self.heads, self.scale, HeadLayout::Packed)
        };
        let mut outputs = model.wire_node(prefix, fused, &inputs)?;
        if operands.present {
            outputs.extend(present);
        }
        Ok(outputs)
    }

    /// Key and value with those of the past, and their layout.
    fn present(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        operands: &Operands,
    ) -> TractResult<([OutletId; 2], HeadLayout)> {
        let new = [operands.key, operands.value];
        if operands.past.is_none() && (!operands.present || operands.layout == HeadLayout::HeadMajor) {
            return Ok((new, operands.layout));
        }
        let append =
            AppendToCache { heads: self.heads, layout: operands.layout, past: operands.past.is_some(), buffer: None };
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
        if !(1..=3).contains(&model.outlet_fact(padding)?.rank()) {
            return Err(unsupported("padding masks of rank 4 are not supported"));
        }
        let padding = int64(prefix, model, padding)?;
        let operator = PaddingMask { batch: batch.clone(), keys: keys.clone(), filter: self.mask_filter_value };
        let mask = wire(prefix, "padding", model, operator, &[padding])?;
        match bias {
            Some(bias) => wire(prefix, "bias", model, math::add(), &[mask, bias]).map(Some),
            None => Ok(Some(mask)),
        }
    }
}
