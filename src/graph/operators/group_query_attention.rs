//! com.microsoft `GroupQueryAttention`: causal attention with grouped heads and a cache of keys and values.
//!
//! Inputs: `query` f32 `[batch, seq, heads * dim]`, `key` and `value` f32 `[batch, seq, kv_heads * dim]`, or all three side
//! by side in `query`; optionally `past_key` and `past_value` f32 `[batch, kv_heads, capacity, dim]`; `seqlens_k`
//! `[batch]`, tokens of each sequence, the new ones included, less one; `total_sequence_length`, one element; optionally
//! `cos_cache` and `sin_cache` f32 `[positions, pairs]`, `position_ids` `[batch, seq]`, `attention_bias` f32 that
//! broadcasts to `[batch, heads, seq, keys]`, `head_sink` f32 `[heads]`, `q_norm_weight` and `k_norm_weight` f32 `[dim]`, which
//! scale each head of query and key after it is divided by its root mean square, before the rotation. Quantised caches, caches
//! of the window's size and padded chunks (`query_seqlens`) are refused.
//!
//! Outputs: f32 `[batch, seq, heads * dim]`; the present key and value f32 `[batch, kv_heads, max(total_sequence_length,
//! capacity), dim]`. What stands in them behind a sequence's end is not defined; it is zero here.
//!
//! Attributes: `num_heads`, `kv_num_heads`, `scale`, `softcap`, `local_window_size`, `causal`, `do_rotary`,
//! `rotary_interleaved`, `smooth_softmax`, `qk_norm_epsilon`, `q_norm_epsilon`, `k_norm_epsilon`; those of what is refused may have the values that leave it out.

use super::attention_parts::{fill_mask, flag, heads, int64, scale, shape, size, split, wire};
use super::compose::Composer;
use super::normalise::{Kind, Normalisation};
use super::{Wiring, attribute, float, input, int, is_f32, unsupported};
use crate::attention::Window;
use crate::graph::builder::fresh_symbol;
use crate::onnx::pb::NodeProto;
use crate::ops::{AppendToCache, Attention, Buffer, HeadLayout, Positions, RotaryEmbedding};
use tract_core::internal::*;
use tract_core::ops::math;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct GroupQueryAttention {
    heads: usize,
    kv_heads: usize,
    scale: Option<f32>,
    softcap: f32,
    window: Window,
    rotary: bool,
    interleaved: bool,
    smooth_softmax: bool,
    /// Of the norms of query and key.
    epsilons: [f32; 2],
    inputs: Inputs,
    presents: [bool; 2],
}

/// Where the optional inputs stand.
#[derive(Debug, Clone)]
struct Inputs {
    key_value: Option<[usize; 2]>,
    past: Option<[usize; 2]>,
    seqlens_k: usize,
    total: usize,
    caches: Option<[usize; 2]>,
    position_ids: Option<usize>,
    attention_bias: Option<usize>,
    head_sink: Option<usize>,
    norms: Option<[usize; 2]>,
}

const ATTRIBUTES: &[&str] = &[
    "num_heads",
    "kv_num_heads",
    "scale",
    "softcap",
    "local_window_size",
    "causal",
    "do_rotary",
    "rotary_interleaved",
    "smooth_softmax",
    "qk_output",
    "sliding_window_cache",
    "k_quant_type",
    "v_quant_type",
    "kv_cache_bit_width",
    "qk_norm_epsilon",
    "q_norm_epsilon",
    "k_norm_epsilon",
];

impl Wiring for GroupQueryAttention {
    const OPERATOR: &'static str = "com.microsoft.GroupQueryAttention";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, ATTRIBUTES)?;
        refuse(node)?;
        let kv_heads = heads(node, "kv_num_heads")?;
        let heads = heads(node, "num_heads")?;
        ensure!(heads.is_multiple_of(kv_heads), "{heads} heads cannot share {kv_heads} key/value heads");
        let present = |position: usize| node.output.get(position).is_some_and(|name| !name.is_empty());
        Ok(GroupQueryAttention {
            heads,
            kv_heads,
            scale: scale(node),
            softcap: float(node, "softcap").unwrap_or(0.0),
            window: window(node)?,
            rotary: flag(node, "do_rotary")?,
            interleaved: flag(node, "rotary_interleaved")?,
            smooth_softmax: int(node, "smooth_softmax", -1) != -1 && flag(node, "smooth_softmax")?,
            epsilons: [epsilon(node, "q_norm_epsilon")?, epsilon(node, "k_norm_epsilon")?],
            inputs: Inputs::of(node)?,
            presents: [present(1), present(2)],
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let at = |position: usize| inputs[position];
        let floats = self.inputs.floats().map(at).collect::<Vec<_>>();
        if !is_f32(model, &floats)? {
            return Err(unsupported("only float32 is supported"));
        }
        let [query, key, value] = self.query_key_value(prefix, model, inputs)?;
        let tokens = shape(model, query)?[1].clone();
        let lengths = self.lengths(prefix, model, inputs, &tokens)?;
        let [query, key] = self.normalise(prefix, model, inputs, [query, key])?;
        let query = self.rotate(prefix, model, inputs, query, self.heads, &lengths)?;
        let key = self.rotate(prefix, model, inputs, key, self.kv_heads, &lengths)?;
        let buffer = self.buffer(model, inputs, &lengths)?;
        let mut presents = [key, value];
        for (present, past) in presents.iter_mut().zip(0..2) {
            let past = self.inputs.past.map(|positions| at(positions[past]));
            let operands: TVec<OutletId> =
                [*present].into_iter().chain(past).chain([lengths.key_lengths, lengths.total]).collect();
            let append = AppendToCache {
                heads: self.kv_heads,
                layout: HeadLayout::Packed,
                columns: None,
                past: past.is_some(),
                buffer: Some(buffer.clone()),
            };
            *present = wire(prefix, "present", model, append, &operands)?;
        }
        let mut operands = tvec!(query, presents[0], presents[1]);
        if let Some(bias) = self.inputs.attention_bias {
            operands.push(fill_mask(prefix, model, at(bias), &buffer.length)?);
        }
        operands.extend([lengths.first_positions, lengths.key_lengths]);
        operands.extend(self.sinks(prefix, model, inputs)?);
        let fused = Attention {
            key: HeadLayout::HeadMajor,
            value: HeadLayout::HeadMajor,
            softcap: self.softcap,
            window: self.window,
            mask: self.inputs.attention_bias.is_some(),
            first_positions: true,
            key_lengths: true,
            sinks: self.smooth_softmax || self.inputs.head_sink.is_some(),
            zero_when_all_masked: true,
            ..Attention::new(self.heads, self.kv_heads, self.scale, HeadLayout::Packed)
        };
        let mut outputs = model.wire_node(prefix, fused, &operands)?;
        outputs.extend(presents.into_iter().zip(self.presents).filter(|(_, wanted)| *wanted).map(|(outlet, _)| outlet));
        Ok(outputs)
    }
}

/// Refuses what is not supported.
fn refuse(node: &NodeProto) -> TractResult<()> {
    for name in ["k_quant_type", "v_quant_type"] {
        if attribute(node, name).is_some_and(|attribute| attribute.s != b"NONE") {
            return Err(unsupported("quantised caches are not supported"));
        }
    }
    let refused = [
        (flag(node, "sliding_window_cache")?, "caches of the window's size"),
        (int(node, "qk_output", 0) != 0 || node.output.iter().skip(3).any(|name| !name.is_empty()), "shown scores"),
        (input(node, 12).is_some() || input(node, 13).is_some(), "quantised caches"),
        (node.input.iter().skip(16).any(|name| !name.is_empty()), "padded chunks (query_seqlens)"),
    ];
    match refused.iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(unsupported(format!("{what} are not supported"))),
        None => Ok(()),
    }
}

/// Of the norm of query or key, whose own attribute goes before the one for both.
fn epsilon(node: &NodeProto, own: &str) -> TractResult<f32> {
    let epsilon = float(node, own).or(float(node, "qk_norm_epsilon")).unwrap_or(1e-6);
    ensure!(epsilon.is_finite() && epsilon > 0.0, "the epsilon of a norm is {epsilon}");
    Ok(epsilon)
}

/// A local window counts the query's own key.
fn window(node: &NodeProto) -> TractResult<Window> {
    let causal = match int(node, "causal", 1) {
        0 => false,
        1 => true,
        other => return Err(unsupported(format!("`causal` is {other}"))),
    };
    let left = match int(node, "local_window_size", -1) {
        -1 => None,
        keys if keys > 0 && causal => Some(usize::try_from(keys - 1).unwrap_or(usize::MAX)),
        keys => return Err(unsupported(format!("a local window of {keys} keys is not supported"))),
    };
    Ok(Window { left, right: causal.then_some(0) })
}

impl Inputs {
    fn of(node: &NodeProto) -> TractResult<Inputs> {
        let pair = |first: usize| match (input(node, first), input(node, first + 1)) {
            (Some(first), Some(second)) => Ok(Some([first, second])),
            (None, None) => Ok(None),
            _ => bail!("inputs {first} and {} come together or not at all", first + 1),
        };
        Ok(Inputs {
            key_value: pair(1)?,
            past: pair(3)?,
            seqlens_k: input(node, 5).context("seqlens_k is missing")?,
            total: input(node, 6).context("total_sequence_length is missing")?,
            caches: pair(7)?,
            position_ids: input(node, 9),
            attention_bias: input(node, 10),
            head_sink: input(node, 11),
            norms: pair(14)?,
        })
    }

    fn floats(&self) -> impl Iterator<Item = usize> {
        let pairs = [self.key_value, self.past, self.caches, self.norms].into_iter().flatten().flatten();
        [0].into_iter().chain(pairs).chain(self.attention_bias).chain(self.head_sink)
    }
}

/// The lengths of a call, int64.
struct Lengths {
    first_positions: OutletId,
    key_lengths: OutletId,
    total: OutletId,
}

impl GroupQueryAttention {
    fn query_key_value(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<[OutletId; 3]> {
        ensure!(model.outlet_fact(inputs[0])?.rank() == 3, "the query must have rank 3");
        if let Some([key, value]) = self.inputs.key_value {
            return Ok([inputs[0], inputs[key], inputs[value]]);
        }
        let width = shape(model, inputs[0])?[2].clone();
        let head_dim = width.clone() / (self.heads + 2 * self.kv_heads);
        let sizes = [self.heads, self.kv_heads, self.kv_heads].map(|heads| head_dim.clone() * heads);
        ensure!(sizes.iter().sum::<TDim>().compatible_with(&width), "{width} columns cannot hold all heads");
        let pieces = split(prefix, model, inputs[0], 2, &sizes)?;
        Ok([pieces[0], pieces[1], pieces[2]])
    }

    /// A sequence's new tokens stand at its end; a padded first prompt starts at 0.
    fn lengths(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
        tokens: &TDim,
    ) -> TractResult<Lengths> {
        let mut seqlens = inputs[self.inputs.seqlens_k];
        let dims = shape(model, seqlens)?;
        if dims.len() > 1 {
            let flat = tvec!(dims.iter().product());
            seqlens = wire(prefix, "seqlens_k", model, AxisOp::Reshape(0, dims, flat), &[seqlens])?;
        }
        let seqlens = int64(prefix, model, seqlens)?;
        let one = size(prefix, model, &1.to_dim())?;
        let zero = size(prefix, model, &0.to_dim())?;
        let tokens = size(prefix, model, tokens)?;
        let key_lengths = wire(prefix, "key_lengths", model, math::add(), &[seqlens, one])?;
        let earlier = wire(prefix, "earlier", model, math::sub(), &[key_lengths, tokens])?;
        let first_positions = wire(prefix, "first_positions", model, math::max(), &[earlier, zero])?;
        let total = int64(prefix, model, inputs[self.inputs.total])?;
        Ok(Lengths { first_positions, key_lengths, total })
    }

    /// Each head of query and key divided by its root mean square, times the weight.
    fn normalise(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
        query_key: [OutletId; 2],
    ) -> TractResult<[OutletId; 2]> {
        let Some(weights) = self.inputs.norms else { return Ok(query_key) };
        let composer = &mut Composer::new(prefix, model);
        let mut normal = query_key;
        for (place, heads) in [self.heads, self.kv_heads].into_iter().enumerate() {
            let (x, weight) = (query_key[place], inputs[weights[place]]);
            let columns = [composer.shape(x)?[2].clone()];
            let apart = [heads.to_dim(), columns[0].clone() / heads];
            let weighs = composer.shape(weight)?;
            ensure!(
                weighs.len() == 1 && weighs[0].compatible_with(&apart[1]),
                "a norm's weight is {weighs:?}, a head's size {}",
                apart[1]
            );
            let x = composer.reshape(x, 2, &columns, &apart)?;
            let norm = Normalisation { kind: Kind::RootMeanSquare, axis: 3, epsilon: self.epsilons[place] };
            let x = norm.wire(composer, x, Some(weight), None)?;
            normal[place] = composer.reshape(x, 2, &apart, &columns)?;
        }
        Ok(normal)
    }

    fn rotate(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
        x: OutletId,
        heads: usize,
        lengths: &Lengths,
    ) -> TractResult<OutletId> {
        if !self.rotary {
            return Ok(x);
        }
        let [cos, sin] = self.inputs.caches.context("do_rotary needs cos_cache and sin_cache")?;
        let (positions, places) = match self.inputs.position_ids {
            Some(ids) => (Positions::PerTokenButInPrompt, tvec!(int64(prefix, model, inputs[ids])?, lengths.total)),
            None => (Positions::Following, tvec!(lengths.first_positions)),
        };
        let layout = HeadLayout::Packed;
        let operands: TVec<OutletId> = [x, inputs[cos], inputs[sin]].into_iter().chain(places).collect();
        let operator =
            RotaryEmbedding { heads: Some(heads), layout, columns: None, interleaved: self.interleaved, positions };
        wire(prefix, "rotary", model, operator, &operands)
    }

    fn buffer(&self, model: &TypedModel, inputs: &[OutletId], lengths: &Lengths) -> TractResult<Buffer> {
        let capacity = match self.inputs.past {
            Some([key, _]) => shape(model, inputs[key])?.get(2).context("a past must have rank 4")?.clone(),
            None => 0.to_dim(),
        };
        let total = known_size(model, inputs[self.inputs.total])?.or(known_size(model, lengths.total)?);
        let minted = total.is_none();
        let length = match total {
            Some(total) => total.maxi(capacity),
            None => fresh_symbol(&model.symbols, "present_length").to_dim(),
        };
        Ok(Buffer { length, minted })
    }

    fn sinks(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<OutletId>> {
        if let Some(sink) = self.inputs.head_sink {
            return Ok(Some(inputs[sink]));
        }
        let zeros = Tensor::zero::<f32>(&[self.heads])?;
        let name = model.unique_name(format!("{prefix}.sinks"));
        self.smooth_softmax.then(|| model.add_const(name, zeros)).transpose()
    }
}

/// The size that a tensor of one element holds, where it is known while the model is loaded.
fn known_size(model: &TypedModel, outlet: OutletId) -> TractResult<Option<TDim>> {
    let fact = model.outlet_fact(outlet)?;
    if let Some(constant) = &fact.konst {
        let constant = constant.cast_to::<TDim>()?;
        return Ok(constant.try_as_plain_ram()?.as_slice::<TDim>()?.first().cloned());
    }
    Ok(fact.uniform_tdim.clone().filter(|_| fact.shape.volume() == 1.to_dim()))
}
