//! com.microsoft `QMoE` (1) with `quant_type` int: a mixture of experts with weights of 2, 4 or 8 bits.
//!
//! Inputs: `input` f32 `[tokens, width]` or `[batch, seq, width]`; `router_probs` f32 `[tokens, experts]`, logits; constant uint8
//! `fc1_experts_weights` `[experts, hidden, width * bits / 8]` (twice as many rows with swiglu), the lowest bits of a byte first, f32
//! `fc1_scales` `[experts, hidden]`, or with `block_size` `[experts, hidden, width / block_size]`, optionally `fc1_experts_bias` f32
//! `[experts, hidden]`; likewise `fc2` from `hidden` to `width`; optional zero points uint8, packed along the scales' last axis, else half
//! the integers' range; optional `router_weights` f32 `[tokens, experts]`. A third layer and scales of activations are refused.
//! Output: as `input`.
//!
//! Each token goes to the `k` experts with the highest logits. Their shares are the softmax of these logits, as ONNX Runtime's CPU has
//! it whatever `normalize_routing_weights` says, or the `router_weights`, which with `normalize_routing_weights` are divided by their
//! sum. Activations: see `MoE`. `accuracy_level` only allows lower accuracy; it is always computed in f32. Weights in the layout of a
//! provider (`weights_prepacked` 1) are refused.

use super::arguments::string;
use super::attention_parts::count;
use super::experts::{activation, bias, checked, constant, normalised, refuse, selected};
use super::{Wiring, attribute, input, int, is_f32, unsupported};
use crate::kernels::linear::{LinearWeights, Quantised, lowest_bits};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::{PlainOperator, elements};
use crate::ops::{Expert, ExpertActivation, ExpertLayer, Mixing, MixtureOfExperts, Shared, f32_slice};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QMoe {
    selected: usize,
    normalised: bool,
    activation: ExpertActivation,
    /// 0 for one block a row.
    block_size: usize,
    layers: [Layer; 2],
    router_weights: Option<usize>,
}

/// Where a layer's inputs stand.
#[derive(Debug, Clone)]
struct Layer {
    bits: usize,
    weights: usize,
    scales: usize,
    bias: Option<usize>,
    zero_points: Option<usize>,
}

impl Wiring for QMoe {
    const OPERATOR: &'static str = "com.microsoft.QMoE";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        refuse(
            node,
            &[
                "expert_weight_bits",
                "fc1_expert_weight_bits",
                "fc2_expert_weight_bits",
                "block_size",
                "quant_type",
                "weights_prepacked",
                "accuracy_level",
            ],
        )?;
        if string(node, "quant_type", "int") != "int" || int(node, "weights_prepacked", -1) == 1 {
            return Err(unsupported("weights that are no plain integers are not supported"));
        }
        if [8, 9, 10, 13].into_iter().chain(15..node.input.len()).any(|position| input(node, position).is_some()) {
            return Err(unsupported("a third layer of experts and scales of activations are not supported"));
        }
        Ok(QMoe {
            selected: selected(node)?,
            normalised: normalised(node)?,
            activation: activation(node)?,
            block_size: count(node, "block_size")?,
            layers: [Layer::of("fc1", node, 2, 11)?, Layer::of("fc2", node, 5, 12)?],
            router_weights: input(node, 14),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let floats = [Some(0), Some(1), self.router_weights].into_iter().flatten();
        let floats = floats.chain(self.layers.iter().flat_map(|layer| [layer.scales].into_iter().chain(layer.bias)));
        if !is_f32(model, &floats.map(|at| inputs[at]).collect::<Vec<_>>())? {
            return Err(unsupported("only float activations and scales of 16 and 32 bits are supported"));
        }
        let positions = self.layers.iter().flat_map(Layer::constants);
        let constants = positions.map(|at| constant(model, inputs[at])).collect::<TractResult<Vec<_>>>()?;
        let experts = Shared::try_of(&constants.iter().collect::<Vec<_>>(), self, || {
            let [first, second] = [0, 1].map(|at| self.layers[at].read(model, inputs, self.block_size));
            let (first, second) = (first?, second?);
            ensure!(first.len() == second.len(), "layers of {} and {} experts", first.len(), second.len());
            let experts = first.into_iter().zip(second).map(|(first, second)| Expert { first, second });
            checked(experts.collect(), self.selected, self.activation)
        })?;
        let operator = MixtureOfExperts {
            experts,
            selected: self.selected,
            activation: self.activation,
            mixing: match self.router_weights {
                Some(_) => Mixing::Given { normalised: self.normalised },
                None => Mixing::AmongSelected,
            },
        };
        let routing = self.router_weights.map(|at| inputs[at]);
        let inputs: TVec<OutletId> = inputs[..2].iter().copied().chain(routing).collect();
        model.wire_node(prefix, PlainOperator(operator), &inputs)
    }
}

impl Layer {
    fn of(name: &str, node: &NodeProto, weights: usize, zero_points: usize) -> TractResult<Layer> {
        let own = format!("{name}_expert_weight_bits");
        let bits = int(node, "expert_weight_bits", 4);
        let bits = attribute(node, &own).map_or(bits, |bits| bits.i);
        if ![2, 4, 8].contains(&bits) {
            return Err(unsupported(format!("weights of {bits} bits are not supported")));
        }
        Ok(Layer {
            bits: bits as usize,
            weights: input(node, weights).with_context(|| format!("the weights of {name} are missing"))?,
            scales: input(node, weights + 1).with_context(|| format!("the scales of {name} are missing"))?,
            bias: input(node, weights + 2),
            zero_points: input(node, zero_points),
        })
    }

    /// Its inputs.
    fn constants(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.weights), Some(self.scales), self.bias, self.zero_points].into_iter().flatten()
    }

    /// This layer of each expert.
    fn read(&self, model: &TypedModel, inputs: &[OutletId], block_size: usize) -> TractResult<Vec<ExpertLayer>> {
        let optional = |position: Option<usize>| position.map(|position| constant(model, inputs[position])).transpose();
        let (weights, scales) = (constant(model, inputs[self.weights])?, constant(model, inputs[self.scales])?);
        let (biases, zero_points) = (optional(self.bias)?, optional(self.zero_points)?);
        let &[experts, outputs, row_bytes] = weights.shape() else { bail!("the weights of experts have rank 3") };
        let width = row_bytes * 8 / self.bits;
        let table = Table {
            bits: self.bits,
            outputs,
            width,
            block_size: if block_size == 0 { width.max(1) } else { block_size },
            blocked: block_size != 0,
            weights: elements::<u8>(&weights)?,
            scales: f32_slice(&scales)?,
            zero_points: zero_points.as_ref().map(|zero_points| elements::<u8>(zero_points)).transpose()?,
        };
        table.check(scales.shape(), zero_points.as_ref().map(|zero_points| zero_points.shape()), experts)?;
        let layer = |expert| {
            let bias = bias(biases.as_deref(), expert, [experts, outputs])?;
            Ok(ExpertLayer { weights: table.expert(expert), bias })
        };
        (0..experts).map(layer).collect()
    }
}

/// The integers of a layer of all experts, and what they stand for.
struct Table<'a> {
    bits: usize,
    outputs: usize,
    width: usize,
    block_size: usize,
    /// Whether there is an axis of blocks.
    blocked: bool,
    weights: &'a [u8],
    scales: &'a [f32],
    zero_points: Option<&'a [u8]>,
}

impl Table<'_> {
    fn blocks(&self) -> usize {
        self.width / self.block_size
    }

    fn check(&self, scales: &[usize], zero_points: Option<&[usize]>, experts: usize) -> TractResult<()> {
        ensure!(self.width.is_multiple_of(self.block_size), "{} columns in blocks of {}", self.width, self.block_size);
        let mut expected = vec![experts, self.outputs];
        expected.extend(self.blocked.then(|| self.blocks()));
        ensure!(scales == expected, "scales of {scales:?}, not {expected:?}");
        if let (Some(last), Some(zero_points)) = (expected.last_mut(), zero_points) {
            *last = (*last * self.bits).div_ceil(8);
            ensure!(zero_points == expected, "zero points of {zero_points:?}, not {expected:?}");
        }
        ensure!(self.scales.iter().all(|scale| scale.is_finite()), "a scale is not finite");
        Ok(())
    }

    fn expert(&self, expert: usize) -> LinearWeights {
        let (outputs, blocks, bits) = (self.outputs, self.blocks(), self.bits);
        let rows = expert * outputs;
        let row_bytes = self.width * bits / 8;
        // Zero points are packed along the blocks of a row, or the rows of an expert.
        let zero_point = |bytes: &[u8], block: usize, row: usize| match self.blocked {
            true => lowest_bits(&bytes[(rows + row) * (blocks * bits).div_ceil(8)..], bits, block),
            false => lowest_bits(&bytes[expert * (outputs * bits).div_ceil(8)..], bits, row),
        };
        LinearWeights::from_quantised(Quantised {
            bits,
            inputs: self.width,
            outputs,
            block_size: self.block_size,
            element: |column, row| lowest_bits(&self.weights[(rows + row) * row_bytes..], bits, column),
            scale: |block, row| self.scales[(rows + row) * blocks + block],
            zero_point: self.zero_points.map(|bytes| move |block, row| f32::from(zero_point(bytes, block, row))),
        })
    }
}
