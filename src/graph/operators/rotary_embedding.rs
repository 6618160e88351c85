//! ONNX `RotaryEmbedding` (23).
//!
//! Inputs: `X` f32 `[batch, heads, seq, dim]` or `[batch, seq, heads * dim]`; `cos_cache` and `sin_cache` f32
//! `[positions, pairs]` with `position_ids` int64 `[batch, seq]`, or `[batch, seq, pairs]` without. Output: as `X`.
//!
//! Attributes: `num_heads` for `X` of rank 3, `interleaved`, `rotary_embedding_dim`, which must be twice the pairs.

use super::attention_parts::{count, flag, int64, shape};
use super::{Wiring, input, is_f32, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::{HeadLayout, Positions, RotaryEmbedding as Fused};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct RotaryEmbedding {
    heads: Option<usize>,
    rotary_dim: usize,
    interleaved: bool,
    position_ids: Option<usize>,
}

impl Wiring for RotaryEmbedding {
    const OPERATOR: &'static str = "RotaryEmbedding";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["num_heads", "interleaved", "rotary_embedding_dim"])?;
        Ok(RotaryEmbedding {
            heads: Some(count(node, "num_heads")?).filter(|heads| *heads > 0),
            rotary_dim: count(node, "rotary_embedding_dim")?,
            interleaved: flag(node, "interleaved")?,
            position_ids: input(node, 3),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[..3])? {
            return Err(unsupported("only float32 is supported"));
        }
        check_pairs(model, inputs[1], self.rotary_dim)?;
        let layout = match model.outlet_fact(inputs[0])?.rank() {
            4 => HeadLayout::HeadMajor,
            3 if self.heads.is_some() => HeadLayout::Packed,
            _ => bail!("X must have rank 4, or rank 3 with num_heads"),
        };
        let mut operands: TVec<OutletId> = inputs[..3].into();
        let mut positions = Positions::InOrder;
        if let Some(position_ids) = self.position_ids {
            positions = Positions::PerToken;
            operands.push(int64(prefix, model, inputs[position_ids])?);
        }
        let fused = Fused { heads: self.heads, layout, columns: None, interleaved: self.interleaved, positions };
        model.wire_node(prefix, fused, &operands)
    }
}

/// The caches say how much is rotated; where the attribute says it too, they must agree.
pub fn check_pairs(model: &TypedModel, cache: OutletId, rotary_dim: usize) -> TractResult<()> {
    if rotary_dim == 0 {
        return Ok(());
    }
    let pairs = shape(model, cache)?.last().and_then(|pairs| pairs.to_usize().ok());
    let pairs = pairs.context("the width of the caches is not known")?;
    ensure!(2 * pairs == rotary_dim, "caches of {pairs} pairs do not rotate {rotary_dim} elements");
    Ok(())
}
