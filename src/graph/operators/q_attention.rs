//! com.microsoft `QAttention`: `Attention` on 8-bit input and weights, which are multiplied as integers.
//!
//! Inputs: `input` int8 or uint8 `[batch, seq, width]`; `weight` int8 or uint8 `[width, 3 * columns]`; `bias` f32
//! `[3 * columns]`; `input_scale` f32, one element; `weight_scale` f32, one element or one for each column; optionally
//! `mask_index` as [`PaddingMask`](crate::ops::PaddingMask) reads it, `input_zero_point` and `weight_zero_point` of the types
//! and shapes that go with the scales, `past` f32 `[2, batch, heads, past, dim]`.
//!
//! Outputs and attributes: those of com.microsoft `Attention`.

use super::attention_microsoft::Attend;
use super::compose::Composer;
use super::quantized::{integer_product, scaled};
use super::{Wiring, input, is_f32, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::add;

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

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let floats: Vec<OutletId> = inputs[2..5].iter().copied().chain(self.past.map(|at| inputs[at])).collect();
        if !is_f32(model, &floats)? {
            return Err(unsupported("only float32 bias, scales and past are supported"));
        }
        let at = |position: Option<usize>| position.map(|position| inputs[position]);
        let zero_points = [at(self.input_zero_point), at(self.weight_zero_point)];
        let projected = project(&mut Composer::new(prefix, model), inputs, zero_points)?;
        let optional = [at(self.mask_index), at(self.past), None];
        self.attend.wire(prefix, model, projected, optional)
    }
}

/// `x · weights + bias`, of x, weights, bias and the scales of the first two.
fn project(composer: &mut Composer, inputs: &[OutletId], zero_points: [Option<OutletId>; 2]) -> TractResult<OutletId> {
    let &[x, weights, bias, x_scale, weights_scale, ..] = inputs else { bail!("five inputs are needed") };
    for operand in [x, weights] {
        if ![i8::datum_type(), u8::datum_type()].contains(&composer.fact(operand)?.datum_type) {
            return Err(unsupported("only int8 and uint8 are supported"));
        }
    }
    let ranks = [composer.fact(x)?.rank(), composer.fact(weights)?.rank(), composer.fact(bias)?.rank()];
    ensure!(ranks == [3, 2, 1], "input, weights and bias must have the ranks 3, 2 and 1, not {ranks:?}");
    let sums = integer_product(composer, [x, weights], zero_points)?;
    let product = scaled(composer, sums, [x_scale, weights_scale], 2)?;
    composer.binary(add(), product, bias)
}
