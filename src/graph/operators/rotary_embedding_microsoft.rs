//! com.microsoft `RotaryEmbedding`.
//!
//! Inputs: `input` f32 `[batch, heads, seq, dim]` or `[batch, seq, heads * dim]`; `position_ids` `[batch, seq]`, or `[1]`,
//! the position of every sequence's first token; `cos_cache` and `sin_cache` f32 `[positions, pairs]`. Output: as `input`.
//!
//! Attributes: `num_heads` (for `input` of rank 3 else as many as the caches are wide), `interleaved`,
//! `rotary_embedding_dim`, which must be twice the pairs. Packed batches and a scale are refused.

use super::attention_parts::{count, flag, int64, shape};
use super::rotary_embedding::check_pairs;
use super::{Wiring, float, is_f32, unsupported};
use crate::ops::{HeadLayout, Positions, RotaryEmbedding as Fused};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct RotaryEmbedding {
    heads: usize,
    rotary_dim: usize,
    interleaved: bool,
}

impl Wiring for RotaryEmbedding {
    const OPERATOR: &'static str = "com.microsoft.RotaryEmbedding";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        let known = &["num_heads", "interleaved", "rotary_embedding_dim", "is_packed_batching", "scale"];
        super::only_attributes(node, known)?;
        if flag(node, "is_packed_batching")? {
            return Err(unsupported("packed batches are not supported"));
        }
        if float(node, "scale").unwrap_or(1.0) != 1.0 {
            return Err(unsupported("a scale is not supported"));
        }
        let (heads, rotary_dim) = (count(node, "num_heads")?, count(node, "rotary_embedding_dim")?);
        ensure!(rotary_dim == 0 || heads > 0, "rotary_embedding_dim needs num_heads");
        Ok(RotaryEmbedding { heads, rotary_dim, interleaved: flag(node, "interleaved")? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let [x, position_ids, cos, sin] = *inputs else { bail!("four inputs are needed") };
        if !is_f32(model, &[x, cos, sin])? {
            return Err(unsupported("only float32 is supported"));
        }
        check_pairs(model, cos, self.rotary_dim)?;
        let (layout, heads) = match model.outlet_fact(x)?.rank() {
            4 => (HeadLayout::HeadMajor, self.heads),
            3 if self.heads > 0 => (HeadLayout::Packed, self.heads),
            3 => (HeadLayout::Packed, heads_of_caches(model, x, cos)?),
            rank => bail!("the input must have rank 3 or 4, not {rank}"),
        };
        let ids = shape(model, position_ids)?;
        let positions = match ids.len() {
            1 if ids[0].compatible_with(&1.to_dim()) => Positions::Following,
            2 => Positions::PerToken,
            _ => bail!("position_ids of {ids:?} are neither [1] nor [batch, seq]"),
        };
        let position_ids = int64(prefix, model, position_ids)?;
        let fused = Fused { heads, layout, interleaved: self.interleaved, positions };
        model.wire_node(prefix, fused, &[x, cos, sin, position_ids]).map(Some)
    }
}

/// How many vectors of twice the caches' width fit.
fn heads_of_caches(model: &TypedModel, x: OutletId, cos: OutletId) -> TractResult<usize> {
    let width = shape(model, x)?[2].to_usize().ok();
    let pairs = shape(model, cos)?.last().and_then(|pairs| pairs.to_usize().ok()).filter(|pairs| *pairs > 0);
    let known = width.zip(pairs).ok_or_else(|| unsupported("the number of heads is not known"))?;
    ensure!(known.0.is_multiple_of(2 * known.1), "{} columns do not hold vectors of {}", known.0, 2 * known.1);
    Ok(known.0 / (2 * known.1))
}
