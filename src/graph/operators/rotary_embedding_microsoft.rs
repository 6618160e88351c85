//! com.microsoft `RotaryEmbedding`.
//!
//! Inputs: `input` f32 `[batch, heads, seq, dim]` or `[batch, seq, heads * dim]`; `position_ids` `[batch, seq]`, or `[1]`,
//! the position of every sequence's first token; `cos_cache` and `sin_cache` f32 `[positions, pairs]`. Output: as `input`.
//!
//! Attributes: `num_heads` (for `input` of rank 3 else as many as the caches are wide), `interleaved`,
//! `rotary_embedding_dim`, which must be twice the pairs; `scale` and `is_packed_batching`, which ONNX Runtime
//! reads and its CPU does not apply, make no difference here either.

use super::attention_parts::{count, flag, int64, shape};
use super::rotary_embedding::check_pairs;
use super::{Wiring, is_f32, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::{HeadLayout, Positions, RotaryEmbedding as Fused};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct RotaryEmbedding {
    heads: Option<usize>,
    rotary_dim: usize,
    interleaved: bool,
}

impl Wiring for RotaryEmbedding {
    const OPERATOR: &'static str = "com.microsoft.RotaryEmbedding";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        let known = &["num_heads", "interleaved", "rotary_embedding_dim", "is_packed_batching", "scale"];
        super::only_attributes(node, known)?;
        let heads = Some(count(node, "num_heads")?).filter(|heads| *heads > 0);
        let rotary_dim = count(node, "rotary_embedding_dim")?;
        ensure!(rotary_dim == 0 || heads.is_some(), "rotary_embedding_dim needs num_heads");
        Ok(RotaryEmbedding { heads, rotary_dim, interleaved: flag(node, "interleaved")? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [x, position_ids, cos, sin] = *inputs else { bail!("four inputs are needed") };
        if !is_f32(model, &[x, cos, sin])? {
            return Err(unsupported("only float32 is supported"));
        }
        check_pairs(model, cos, self.rotary_dim)?;
        let layout = match model.outlet_fact(x)?.rank() {
            4 => HeadLayout::HeadMajor,
            3 => HeadLayout::Packed,
            rank => bail!("the input must have rank 3 or 4, not {rank}"),
        };
        let ids = shape(model, position_ids)?;
        let positions = match ids.len() {
            1 if ids[0].compatible_with(&1.to_dim()) => Positions::Following,
            2 => Positions::PerToken,
            _ => bail!("position_ids of {ids:?} are neither [1] nor [batch, seq]"),
        };
        let position_ids = int64(prefix, model, position_ids)?;
        let fused = Fused { heads: self.heads, layout, columns: None, interleaved: self.interleaved, positions };
        model.wire_node(prefix, fused, &[x, cos, sin, position_ids])
    }
}
