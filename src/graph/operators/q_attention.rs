//! com.microsoft `QAttention`: `Attention` on 8-bit input and weights, which are dequantised.
//!
//! Inputs: `input` int8 or uint8 `[batch, seq, width]`; `weight` int8 or uint8 `[width, 3 * columns]`; `bias` f32
//! `[3 * columns]`; `input_scale` f32, one element; `weight_scale` f32, one element or one for each column; optionally
//! `mask_index` as [`PaddingMask`](crate::ops::PaddingMask) reads it, `input_zero_point` and `weight_zero_point` of the types
//! and shapes that go with the scales, `past` f32 `[2, batch, heads, past, dim]`.
//!
//! Outputs and attributes: those of com.microsoft `Attention`.

use super::attention_microsoft::{Attend, project};
use super::attention_parts::wire;
use super::{Wiring, input, is_f32, unsupported};
use crate::ops::DequantizeLinear;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QAttention {
    attend: Attend,
    mask_index: Option<usize>,
    input_zero_point: Option<usize>,
    weight_zero_point: Option<usize>,
    past: Option<usize>,
}

impl Wiring for QAttention {
    const OPERATOR: &'static str = "com.microsoft.QAttention";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        Ok(QAttention {
            attend: Attend::of(node)?,
            mask_index: input(node, 5),
            input_zero_point: input(node, 6),
            weight_zero_point: input(node, 7),
            past: input(node, 8),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let floats: Vec<OutletId> = inputs[2..5].iter().copied().chain(self.past.map(|at| inputs[at])).collect();
        if !is_f32(model, &floats)? {
            return Err(unsupported("only float32 bias, scales and past are supported"));
        }
        let at = |position: Option<usize>| position.map(|position| inputs[position]);
        let x = dequantize(prefix, model, [inputs[0], inputs[3]], at(self.input_zero_point), 2)?;
        let weights = dequantize(prefix, model, [inputs[1], inputs[4]], at(self.weight_zero_point), 1)?;
        let projected = project(prefix, model, x, weights, Some(inputs[2]))?;
        let optional = [at(self.mask_index), at(self.past), None];
        self.attend.wire(prefix, model, projected, optional).map(Some)
    }
}

fn dequantize(
    prefix: &str,
    model: &mut TypedModel,
    quantized: [OutletId; 2],
    zero_point: Option<OutletId>,
    axis: usize,
) -> TractResult<OutletId> {
    let datum_type = model.outlet_fact(quantized[0])?.datum_type;
    if ![i8::datum_type(), u8::datum_type()].contains(&datum_type) {
        return Err(unsupported("only int8 and uint8 are supported"));
    }
    let inputs: TVec<OutletId> = quantized.into_iter().chain(zero_point).collect();
    wire(prefix, "dequantized", model, DequantizeLinear { axis, block_size: 0, packed: None }, &inputs)
}
