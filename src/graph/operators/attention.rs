//! ONNX `Attention` (23, 24, 25).
//!
//! Inputs: `Q`, `K`, `V` f32 `[batch, heads, seq, dim]` or `[batch, seq, heads * dim]`; optionally `attn_mask`, boolean or
//! f32, that broadcasts to `[batch, heads, queries, keys]` but for a last axis that may be shorter (keys behind it are masked),
//! `past_key` and `past_value` f32 `[batch, kv_heads, past, dim]`, `nonpad_kv_seqlen` int64 `[batch]`.
//!
//! Outputs: f32 in the layout of `Q`; the present key and value, `[batch, kv_heads, past + keys, dim]`; the scores
//! `[batch, heads, queries, keys]` at the stage that `qk_matmul_output_mode` names. A query whose every key is masked gets
//! zeros. Up to opset 24 the lowest f32 in the mask masks like minus infinity, as it does in ONNX Runtime.
//!
//! Attributes: `q_num_heads` and `kv_num_heads` for operands of rank 3, `scale`, `softcap`, `is_causal`,
//! `left_window_size`, `right_window_size`, `qk_matmul_output_mode`, `softmax_precision` (always float32, or better).

use super::attention_parts::{choose, count, fill_mask, flag, int64, shape, size, wire};
use super::{Wiring, float, input, int, is_f32, unsupported};
use crate::attention::{ScoreStage, Window};
use crate::onnx::pb::NodeProto;
use crate::ops::{AppendToCache, Attention as Fused, HeadLayout};
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::logic::{self, Iff};
use tract_core::ops::math;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Attention {
    heads: usize,
    kv_heads: usize,
    scale: Option<f32>,
    softcap: f32,
    window: Window,
    mask: Option<usize>,
    lowest_masks: bool,
    past: Option<[usize; 2]>,
    lengths: Option<usize>,
    presents: [bool; 2],
    scores: Option<ScoreStage>,
}

impl Wiring for Attention {
    const OPERATOR: &'static str = "Attention";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        super::only_attributes(
            node,
            &[
                "q_num_heads",
                "kv_num_heads",
                "scale",
                "softcap",
                "is_causal",
                "left_window_size",
                "right_window_size",
                "qk_matmul_output_mode",
                "softmax_precision",
            ],
        )?;
        if ![0, 1, 10, 11, 16].contains(&int(node, "softmax_precision", 0)) {
            return Err(unsupported(format!("`softmax_precision` is {}", int(node, "softmax_precision", 0))));
        }
        let past = match (input(node, 4), input(node, 5)) {
            (Some(key), Some(value)) => Some([key, value]),
            (None, None) => None,
            _ => bail!("past_key and past_value come together or not at all"),
        };
        let lengths = input(node, 6);
        ensure!(past.is_none() || lengths.is_none(), "nonpad_kv_seqlen and a past exclude each other");
        let wanted = |position: usize| node.output.get(position).is_some_and(|name| !name.is_empty());
        Ok(Attention {
            heads: count(node, "q_num_heads")?,
            kv_heads: count(node, "kv_num_heads")?,
            scale: float(node, "scale"),
            softcap: float(node, "softcap").unwrap_or(0.0),
            window: window(node)?,
            mask: input(node, 3),
            lowest_masks: opset < 25,
            past,
            lengths,
            presents: [wanted(1), wanted(2)],
            scores: if wanted(3) { Some(stage(node)?) } else { None },
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let floats = [0, 1, 2].into_iter().chain(self.past.into_iter().flatten());
        if !is_f32(model, &floats.map(|at| inputs[at]).collect::<Vec<_>>())? {
            return Err(unsupported("only float32 is supported"));
        }
        let (layout, heads, kv_heads) = self.heads_of(model, inputs)?;
        let (presents, kv_layout) = self.present(prefix, model, inputs, layout, kv_heads)?;
        let mut operands = tvec!(inputs[0], presents[0], presents[1]);
        if let Some(mask) = self.mask {
            let keys = shape(model, presents[0])?[if kv_layout == HeadLayout::Packed { 1 } else { 2 }].clone();
            let mask = additive_mask(prefix, model, inputs[mask], self.lowest_masks)?;
            operands.push(fill_mask(prefix, model, mask, &keys)?);
        }
        let queries = shape(model, inputs[0])?[if layout == HeadLayout::Packed { 1 } else { 2 }].clone();
        let first = self.first_positions(prefix, model, inputs, &queries)?;
        operands.extend(first);
        operands.extend(self.lengths.map(|at| inputs[at]));
        let fused = Fused {
            key: kv_layout,
            value: kv_layout,
            softcap: self.softcap,
            window: self.window,
            mask: self.mask.is_some(),
            first_positions: first.is_some(),
            key_lengths: self.lengths.is_some(),
            scores: self.scores,
            zero_when_all_masked: true,
            ..Fused::new(heads, kv_heads, self.scale, layout)
        };
        let attended = model.wire_node(prefix, fused, &operands)?;
        let presents = presents.into_iter().zip(self.presents).filter(|(_, wanted)| *wanted);
        let outputs = attended[..1].iter().copied().chain(presents.map(|(outlet, _)| outlet));
        Ok(outputs.chain(attended[1..].iter().copied()).collect())
    }
}

fn window(node: &NodeProto) -> TractResult<Window> {
    let bound = |name: &str| match int(node, name, -1) {
        -1 => Ok(None),
        keys if keys >= 0 => Ok(Some(usize::try_from(keys).unwrap_or(usize::MAX))),
        keys => Err(unsupported(format!("`{name}` is {keys}"))),
    };
    let (left, right) = (bound("left_window_size")?, bound("right_window_size")?);
    Ok(Window { left, right: if flag(node, "is_causal")? { Some(0) } else { right } })
}

fn stage(node: &NodeProto) -> TractResult<ScoreStage> {
    match int(node, "qk_matmul_output_mode", 0) {
        0 => Ok(ScoreStage::Scaled),
        1 => Ok(ScoreStage::Capped),
        2 => Ok(ScoreStage::Masked),
        3 => Ok(ScoreStage::Probabilities),
        mode => Err(unsupported(format!("`qk_matmul_output_mode` is {mode}"))),
    }
}

impl Attention {
    fn heads_of(&self, model: &TypedModel, inputs: &[OutletId]) -> TractResult<(HeadLayout, usize, usize)> {
        if model.outlet_fact(inputs[0])?.rank() == 3 {
            let given = self.heads > 0 && self.kv_heads > 0;
            ensure!(given, "q_num_heads and kv_num_heads are needed with operands of rank 3");
            return Ok((HeadLayout::Packed, self.heads, self.kv_heads));
        }
        let heads = |outlet: OutletId| -> TractResult<usize> {
            let shape = shape(model, outlet)?;
            ensure!(shape.len() == 4, "operands must have rank 3 or 4");
            shape[1].to_usize().context("the number of heads is not known")
        };
        Ok((HeadLayout::HeadMajor, heads(inputs[0])?, heads(inputs[1])?))
    }

    /// Key and value with those of the past, and their layout.
    fn present(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
        layout: HeadLayout,
        heads: usize,
    ) -> TractResult<([OutletId; 2], HeadLayout)> {
        let mut present = [inputs[1], inputs[2]];
        let wanted = self.presents.contains(&true);
        if self.past.is_none() && (!wanted || layout == HeadLayout::HeadMajor) {
            return Ok((present, layout));
        }
        let append = AppendToCache { heads, layout, columns: None, past: self.past.is_some(), buffer: None };
        for (which, present) in present.iter_mut().enumerate() {
            let past = self.past.map(|past| inputs[past[which]]);
            let operands: TVec<OutletId> = [*present].into_iter().chain(past).collect();
            *present = wire(prefix, "present", model, append.clone(), &operands)?;
        }
        Ok((present, HeadLayout::HeadMajor))
    }

    /// Queries follow the past, or stand at the end of the keys that are no padding; else they start at 0.
    fn first_positions(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
        queries: &TDim,
    ) -> TractResult<Option<OutletId>> {
        if self.window == Window::default() {
            return Ok(None);
        }
        if let Some([key, _]) = self.past {
            let past = shape(model, inputs[key])?.get(2).context("a past must have rank 4")?.clone();
            return size(prefix, model, &past).map(Some);
        }
        let Some(lengths) = self.lengths else { return Ok(None) };
        let (lengths, queries) = (int64(prefix, model, inputs[lengths])?, size(prefix, model, queries)?);
        wire(prefix, "first_positions", model, math::sub(), &[lengths, queries]).map(Some)
    }
}

/// Minus infinity for false, and perhaps for the lowest number.
fn additive_mask(prefix: &str, model: &mut TypedModel, mask: OutletId, lowest_masks: bool) -> TractResult<OutletId> {
    let fact = model.outlet_fact(mask)?.clone();
    if fact.datum_type == bool::datum_type() {
        return choose(prefix, model, mask, 0.0, f32::NEG_INFINITY);
    }
    if fact.datum_type != f32::datum_type() {
        return Err(unsupported("the mask must be boolean or float32"));
    }
    if !lowest_masks {
        return Ok(mask);
    }
    let shape = vec![1; fact.rank()];
    let [lowest, infinity] = [f32::MIN, f32::NEG_INFINITY].map(|value| {
        let name = model.unique_name(format!("{prefix}.bound"));
        model.add_const(name, Tensor::from_shape(&shape, &[value])?)
    });
    let above = wire(prefix, "above", model, TypedBinOp(logic::comp_gt(), None), &[mask, lowest?])?;
    wire(prefix, "mask", model, Iff, &[above, mask, infinity?])
}
