//! com.microsoft `MultiHeadAttention`.
//!
//! Inputs: `query` f32 `[batch, seq, heads * dim]`; `key` and `value` f32 `[batch, keys, heads * dim]` or
//! `[batch, heads, keys, dim]`, or both in `key` `[batch, keys, heads, 2, dim]`, or all in `query`
//! `[batch, seq, heads, 3, dim]`; optionally `bias` f32 for the columns of query, key and value, of which rank 4 has none, `key_padding_mask` as
//! [`PaddingMask`](crate::ops::PaddingMask) reads it, `attention_bias` f32 that broadcasts to `[batch, heads, seq, keys]`,
//! `past_key` and `past_value` f32 `[batch, heads, past, dim]`. Shared buffers (`past_sequence_length`) and beams
//! (`cache_indirection`) are refused.
//!
//! Outputs: f32 `[batch, seq, heads * dim]`; the present key and value `[batch, heads, past + keys, dim]`; the scores
//! with the masks added, `[batch, heads, seq, past + keys]`, which are refused with `unidirectional`.
//!
//! Attributes: `num_heads`, `scale`, `unidirectional`, `mask_filter_value`.

use super::attention_parts::{shape, slice, split, wire};
use super::multi_head::{MultiHead, Operands};
use super::{Wiring, has_output, input, is_f32, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::HeadLayout;
use tract_core::internal::*;
use tract_core::ops::math;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MultiHeadAttention {
    multi_head: MultiHead,
    key: Option<usize>,
    value: Option<usize>,
    bias: Option<usize>,
    padding: Option<usize>,
    attention_bias: Option<usize>,
    past: Option<[usize; 2]>,
    present: bool,
    scores: bool,
}

impl Wiring for MultiHeadAttention {
    const OPERATOR: &'static str = "com.microsoft.MultiHeadAttention";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["num_heads", "scale", "unidirectional", "mask_filter_value"])?;
        if node.input.iter().skip(8).any(|name| !name.is_empty()) {
            return Err(unsupported("shared buffers and beams are not supported"));
        }
        let past = match (input(node, 6), input(node, 7)) {
            (Some(key), Some(value)) => Some([key, value]),
            (None, None) => None,
            _ => bail!("past_key and past_value come together or not at all"),
        };
        Ok(MultiHeadAttention {
            multi_head: MultiHead::of(node)?,
            key: input(node, 1),
            value: input(node, 2),
            bias: input(node, 3),
            padding: input(node, 4),
            attention_bias: input(node, 5),
            past,
            present: match [has_output(node, 1), has_output(node, 2)] {
                [false, false] => false,
                [true, true] => true,
                _ => return Err(unsupported("only both the present key and value, or none, are supported")),
            },
            scores: has_output(node, 3),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let floats = [Some(0), self.key, self.value, self.bias, self.attention_bias];
        let floats = floats.into_iter().flatten().chain(self.past.into_iter().flatten());
        if !is_f32(model, &floats.map(|at| inputs[at]).collect::<Vec<_>>())? {
            return Err(unsupported("only float32 is supported"));
        }
        let ([mut query, mut key, mut value], layout) = self.query_key_value(prefix, model, inputs)?;
        if let Some(bias) = self.bias {
            if layout == HeadLayout::Packed {
                [query, key, value] = add_bias(prefix, model, inputs[bias], [query, key, value])?;
            } else {
                [query] = add_bias(prefix, model, inputs[bias], [query])?;
            }
        }
        let operands = Operands {
            query,
            key,
            value,
            layout,
            padding: self.padding.map(|at| inputs[at]),
            attention_bias: self.attention_bias.map(|at| inputs[at]),
            past: self.past.map(|past| past.map(|at| inputs[at])),
            present: self.present,
            scores: self.scores,
        };
        self.multi_head.wire(prefix, model, &operands)
    }
}

impl MultiHeadAttention {
    /// Query, packed, and key and value in one layout.
    fn query_key_value(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<([OutletId; 3], HeadLayout)> {
        let rank = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.rank());
        let query = inputs[0];
        match (self.key.map(|at| inputs[at]), self.value.map(|at| inputs[at])) {
            (Some(key), Some(value)) => match (rank(query)?, rank(key)?, rank(value)?) {
                (3, 3, 3) => Ok(([query, key, value], HeadLayout::Packed)),
                (3, 4, 4) if self.past.is_none() => Ok(([query, key, value], HeadLayout::HeadMajor)),
                ranks => Err(unsupported(format!("query, key and value of ranks {ranks:?} are not supported"))),
            },
            (Some(packed), None) if rank(query)? == 3 && rank(packed)? == 5 => {
                let [key, value] = unpack(prefix, model, packed)?;
                Ok(([query, key, value], HeadLayout::Packed))
            }
            (None, None) if rank(query)? == 5 => Ok((unpack(prefix, model, query)?, HeadLayout::Packed)),
            _ => Err(unsupported("this way of packing query, key and value is not supported")),
        }
    }
}

/// `[batch, seq, heads, N, dim]` to N times `[batch, seq, heads * dim]`.
fn unpack<const N: usize>(prefix: &str, model: &mut TypedModel, packed: OutletId) -> TractResult<[OutletId; N]> {
    let dims = shape(model, packed)?;
    ensure!(dims[3].compatible_with(&N.to_dim()), "the fourth axis of {dims:?} must have size {N}");
    let heads = tvec!(dims[2].clone(), dims[4].clone());
    let columns = tvec!(dims[2].clone() * &dims[4]);
    let mut pieces = [packed; N];
    for (at, piece) in pieces.iter_mut().enumerate() {
        let one = slice(prefix, model, packed, 3, at.to_dim(), (at + 1).to_dim())?;
        let one = wire(prefix, "unpacked", model, AxisOp::Rm(3), &[one])?;
        *piece = wire(prefix, "packed", model, AxisOp::Reshape(2, heads.clone(), columns.clone()), &[one])?;
    }
    Ok(pieces)
}

/// Adds to each operand its part of the bias.
pub fn add_bias<const N: usize>(
    prefix: &str,
    model: &mut TypedModel,
    bias: OutletId,
    operands: [OutletId; N],
) -> TractResult<[OutletId; N]> {
    ensure!(model.outlet_fact(bias)?.rank() == 1, "the bias must have rank 1");
    let mut widths: TVec<TDim> = tvec!();
    for operand in operands {
        widths.push(shape(model, operand)?[2].clone());
    }
    let parts = split(prefix, model, bias, 0, &widths)?;
    let mut sums = operands;
    for (sum, part) in sums.iter_mut().zip(parts) {
        let part = wire(prefix, "bias", model, AxisOp::Add(0), &[part])?;
        let part = wire(prefix, "bias", model, AxisOp::Add(0), &[part])?;
        *sum = wire(prefix, "biased", model, math::add(), &[*sum, part])?;
    }
    Ok(sums)
}
