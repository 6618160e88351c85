//! com.microsoft `DecoderMaskedMultiHeadAttention` (1): attention of one new token of each sequence.
//!
//! Inputs: `query` f32 `[batch, 1, heads * dim]`; `key` and `value`, f32 `[batch, 1, heads * dim]` of the new token, or, with nothing
//! after the mask, `[batch, heads, keys, dim]` of another sequence; optionally `mask_index` `[batch, keys]`, above 0 where the key is
//! kept; then for the new token's `past_key` and `past_value` f32 `[batch, heads, capacity, dim]`, `past_sequence_length`, one element, and
//! optionally `bias` f32 for the columns of query, key and value. Its past is a shared buffer (`past_present_share_buffer` 1), in the
//! order of heads, positions, columns. `attention_bias`, beams, and the scores as an output are refused.
//!
//! Outputs: f32 `[batch, 1, heads * dim]`; the past with the new token in it.
//!
//! Attributes: `num_heads`, `scale`, `mask_filter_value`, `past_present_share_buffer`.

use super::attention_parts::{count_outputs, fill_mask, flag, int64, shape, wire};
use super::multi_head::{MultiHead, Operands};
use super::multi_head_attention::add_bias;
use super::{Wiring, input, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::{AppendToCache, Attention, HeadLayout, TensorScatter};
use tract_core::internal::*;
use tract_core::ops::array::MultiBroadcastTo;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct DecoderMaskedMultiHeadAttention {
    multi_head: MultiHead,
    mask: Option<usize>,
    past: Option<Past>,
}

/// Where the inputs that concern a past stand.
#[derive(Debug, Clone)]
struct Past {
    key_value: [usize; 2],
    length: usize,
    bias: Option<usize>,
    present: bool,
}

impl Wiring for DecoderMaskedMultiHeadAttention {
    const OPERATOR: &'static str = "com.microsoft.DecoderMaskedMultiHeadAttention";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["num_heads", "scale", "mask_filter_value", "past_present_share_buffer", "output_qk"])?;
        let refused = [
            (flag(node, "output_qk")?, "shown scores"),
            (input(node, 4).is_some(), "attention biases"),
            (input(node, 8).is_some() || input(node, 9).is_some(), "beams"),
        ];
        if let Some((_, what)) = refused.iter().find(|(present, _)| *present) {
            return Err(unsupported(format!("{what} are not supported")));
        }
        let outputs = count_outputs(node)?;
        let past = match [5, 6, 7].map(|position| input(node, position)) {
            [Some(key), Some(value), Some(length)] if flag(node, "past_present_share_buffer")? => {
                Some(Past { key_value: [key, value], length, bias: input(node, 10), present: outputs == 3 })
            }
            [None, None, None] if input(node, 10).is_none() && outputs == 1 => None,
            _ => return Err(unsupported("only a past in a shared buffer, or none, is supported")),
        };
        ensure!([1, 3].contains(&outputs), "there are one or three outputs, not {outputs}");
        ensure!([1, 2].into_iter().all(|position| input(node, position).is_some()), "key and value are needed");
        Ok(DecoderMaskedMultiHeadAttention { multi_head: MultiHead::of(node)?, mask: input(node, 3), past })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let past = self.past.iter().flat_map(|past| past.key_value.into_iter().chain(past.bias));
        let floats = (0..3).chain(past).map(|at| inputs[at]).collect::<Vec<_>>();
        if !is_f32(model, &floats)? {
            return Err(unsupported("only float32 is supported"));
        }
        let mask = self.mask.map(|at| inputs[at]);
        if mask.is_some_and(|mask| model.outlet_fact(mask).is_ok_and(|fact| fact.rank() != 2)) {
            return Err(unsupported("only masks of rank 2 are supported"));
        }
        let tokens = shape(model, inputs[0])?;
        ensure!(tokens.len() == 3 && tokens[1].compatible_with(&1.to_dim()), "a query of {tokens:?} is not one token");
        if let Some(past) = &self.past {
            return self.wire_past(prefix, model, inputs, past, mask);
        }
        let operands = Operands {
            query: inputs[0],
            key: inputs[1],
            value: inputs[2],
            layout: HeadLayout::HeadMajor,
            padding: mask,
            attention_bias: None,
            past: None,
            present: false,
            scores: false,
        };
        self.multi_head.wire(prefix, model, &operands)
    }
}

impl DecoderMaskedMultiHeadAttention {
    fn wire_past(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
        past: &Past,
        mask: Option<OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let [mut query, mut key, mut value] = [inputs[0], inputs[1], inputs[2]];
        if let Some(bias) = past.bias {
            [query, key, value] = add_bias(prefix, model, inputs[bias], [query, key, value])?;
        }
        let [batch, capacity] = {
            let shape = shape(model, inputs[past.key_value[0]])?;
            ensure!(shape.len() == 4, "a past of rank {}", shape.len());
            [shape[0].clone(), shape[2].clone()]
        };
        let mut length = int64(prefix, model, inputs[past.length])?;
        if model.outlet_fact(length)?.rank() == 0 {
            length = wire(prefix, "length", model, AxisOp::Add(0), &[length])?;
        }
        let lengths = wire(prefix, "lengths", model, MultiBroadcastTo { shape: [batch.clone()].into() }, &[length])?;
        let one = model.add_const(model.unique_name(format!("{prefix}.one")), tensor1(&[1i64]))?;
        let key_lengths = wire(prefix, "key_lengths", model, add(), &[lengths, one])?;
        let heads = self.multi_head.heads;
        let apart = AppendToCache { heads, layout: HeadLayout::Packed, columns: None, past: false, buffer: None };
        let mut presents = [key, value];
        for (present, past) in presents.iter_mut().zip(past.key_value) {
            let new = wire(prefix, "new", model, apart.clone(), &[*present])?;
            let scatter = TensorScatter { axis: 2, circular: false };
            *present = wire(prefix, "present", model, scatter, &[inputs[past], new, lengths])?;
        }
        let mask = mask.map(|mask| {
            let keys = shape(model, mask)?[1].clone();
            let mask = self.multi_head.padding(prefix, model, mask, &batch, &keys)?;
            fill_mask(prefix, model, mask, &capacity)
        });
        let mask = mask.transpose()?;
        let operands = [query, presents[0], presents[1]].into_iter().chain(mask).chain([key_lengths]);
        let fused = Attention {
            key: HeadLayout::HeadMajor,
            value: HeadLayout::HeadMajor,
            mask: mask.is_some(),
            key_lengths: true,
            ..Attention::new(heads, heads, self.multi_head.scale, HeadLayout::Packed)
        };
        let mut outputs = model.wire_node(prefix, fused, &operands.collect::<TVec<_>>())?;
        outputs.extend(presents.into_iter().filter(|_| past.present));
        Ok(outputs)
    }
}
