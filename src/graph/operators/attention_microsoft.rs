//! com.microsoft `Attention`: projection of the input to query, key and value, then attention.
//!
//! Inputs: `input` f32 `[batch, seq, width]`; `weights` f32 `[width, columns of query, key and value]`; optionally `bias`
//! f32 for those columns, `mask_index` as [`PaddingMask`](crate::ops::PaddingMask) reads it, `past` f32
//! `[2, batch, heads, past, dim]`, `attention_bias` f32 that broadcasts to `[batch, heads, seq, keys]`. Shared buffers,
//! masks of rank 4 and rotation are refused.
//!
//! Outputs: f32 `[batch, seq, heads * dim]`; `present` f32 `[2, batch, heads, past + seq, dim]`.
//!
//! Attributes: `num_heads`, `qkv_hidden_sizes`, `scale`, `unidirectional`, `mask_filter_value`.

use super::attention_parts::{concat, count_outputs, shape, slice, split, wire};
use super::multi_head::{MultiHead, Operands};
use super::{Wiring, attribute, input, int, is_f32, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::{HeadLayout, MatMul};
use tract_core::internal::*;
use tract_core::ops::math;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Attention {
    attend: Attend,
    bias: Option<usize>,
    mask_index: Option<usize>,
    attention_bias: Option<usize>,
    past: Option<usize>,
}

/// What `QAttention` does too.
#[derive(Debug, Clone)]
pub struct Attend {
    multi_head: MultiHead,
    sizes: Option<[usize; 3]>,
    present: bool,
}

impl Wiring for Attention {
    const OPERATOR: &'static str = "com.microsoft.Attention";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        if input(node, 6).is_some() {
            return Err(unsupported("shared buffers are not supported"));
        }
        Ok(Attention {
            attend: Attend::of(node)?,
            bias: input(node, 2),
            mask_index: input(node, 3),
            past: input(node, 4),
            attention_bias: input(node, 5),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let floats = [Some(0), Some(1), self.bias, self.past, self.attention_bias];
        if !is_f32(model, &floats.into_iter().flatten().map(|at| inputs[at]).collect::<Vec<_>>())? {
            return Err(unsupported("only float32 is supported"));
        }
        let at = |position: Option<usize>| position.map(|position| inputs[position]);
        let projected = project(prefix, model, inputs[0], inputs[1], at(self.bias))?;
        let optional = [at(self.mask_index), at(self.past), at(self.attention_bias)];
        self.attend.wire(prefix, model, projected, optional)
    }
}

/// `x · weights + bias`.
fn project(
    prefix: &str,
    model: &mut TypedModel,
    x: OutletId,
    weights: OutletId,
    bias: Option<OutletId>,
) -> TractResult<OutletId> {
    ensure!(model.outlet_fact(x)?.rank() == 3, "the input must have rank 3");
    let mut weights = weights;
    ensure!(model.outlet_fact(weights)?.rank() == 2, "the weights must have rank 2");
    if model.outlet_fact(weights)?.konst.is_none() {
        weights = wire(prefix, "weights", model, AxisOp::Add(0), &[weights])?;
    }
    let product = wire(prefix, "projection", model, MatMul, &[x, weights])?;
    let Some(bias) = bias else { return Ok(product) };
    ensure!(model.outlet_fact(bias)?.rank() == 1, "the bias must have rank 1");
    let bias = wire(prefix, "bias", model, AxisOp::Add(0), &[bias])?;
    let bias = wire(prefix, "bias", model, AxisOp::Add(0), &[bias])?;
    wire(prefix, "projected", model, math::add(), &[product, bias])
}

impl Attend {
    /// Reads the attributes and the number of outputs.
    pub fn of(node: &NodeProto) -> TractResult<Attend> {
        super::only_attributes(
            node,
            &[
                "num_heads",
                "qkv_hidden_sizes",
                "scale",
                "unidirectional",
                "mask_filter_value",
                "do_rotary",
                "rotary_embedding_dim",
                "past_present_share_buffer",
            ],
        )?;
        if int(node, "do_rotary", 0) != 0 {
            return Err(unsupported("rotation (do_rotary) is not supported"));
        }
        if int(node, "past_present_share_buffer", 0) != 0 {
            return Err(unsupported("shared buffers are not supported"));
        }
        Ok(Attend { multi_head: MultiHead::of(node)?, sizes: sizes(node)?, present: count_outputs(node)? == 2 })
    }

    /// Attention on the columns of query, key and value, side by side; `optional` are mask index, past and bias.
    pub fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        projected: OutletId,
        [padding, past, attention_bias]: [Option<OutletId>; 3],
    ) -> TractResult<TVec<OutletId>> {
        let columns = shape(model, projected)?[2].clone();
        let sizes = match self.sizes {
            Some(sizes) => sizes.map(|size| size.to_dim()),
            None => [(); 3].map(|()| columns.clone() / 3),
        };
        ensure!(sizes.iter().sum::<TDim>().compatible_with(&columns), "{columns} columns are not {sizes:?}");
        let parts = split(prefix, model, projected, 2, &sizes)?;
        let past = past.map(|past| unstack(prefix, model, past)).transpose()?;
        let operands = Operands {
            query: parts[0],
            key: parts[1],
            value: parts[2],
            layout: HeadLayout::Packed,
            padding,
            attention_bias,
            past,
            present: self.present,
            scores: false,
        };
        let outputs = self.multi_head.wire(prefix, model, &operands)?;
        if !self.present {
            return Ok(outputs);
        }
        let mut presents = tvec!();
        for present in &outputs[1..] {
            presents.push(wire(prefix, "stacked", model, AxisOp::Add(0), &[*present])?);
        }
        Ok(tvec!(outputs[0], concat(prefix, model, 0, &presents)?))
    }
}

/// The two halves of a past.
fn unstack(prefix: &str, model: &mut TypedModel, past: OutletId) -> TractResult<[OutletId; 2]> {
    let dims = shape(model, past)?;
    ensure!(dims.len() == 5 && dims[0].compatible_with(&2.to_dim()), "a past of {dims:?} is no key and value");
    let mut halves = [past; 2];
    for (at, half) in halves.iter_mut().enumerate() {
        let one = slice(prefix, model, past, 0, at.to_dim(), (at + 1).to_dim())?;
        *half = wire(prefix, "past", model, AxisOp::Rm(0), &[one])?;
    }
    Ok(halves)
}

fn sizes(node: &NodeProto) -> TractResult<Option<[usize; 3]>> {
    let Some(sizes) = attribute(node, "qkv_hidden_sizes").filter(|sizes| !sizes.ints.is_empty()) else {
        return Ok(None);
    };
    let sizes: Vec<usize> = sizes.ints.iter().filter_map(|size| usize::try_from(*size).ok()).collect();
    let sizes = <[usize; 3]>::try_from(sizes).ok().filter(|sizes| !sizes.contains(&0));
    sizes.context("qkv_hidden_sizes must be three positive sizes").map(Some)
}
