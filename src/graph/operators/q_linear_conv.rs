//! ONNX `QLinearConv` (10): `x` and `w` int8 or uint8; f32 scales and zero points, of `x` and the output one, of `w` one or
//! one for each output; optional int32 bias, one for each output. Output: of the type of its zero point. com.microsoft `QLinearConv` (1)
//! is the same; with `channels_last` the channels of `x` and the output stand last.

use super::attention_parts::flag;
use super::compose::Composer;
use super::conv::ATTRIBUTES;
use super::conv_integer::Convolution;
use super::quantized::{channels_first, channels_last, quantized_type};
use super::{Wiring, input, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::Requantize;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QLinearConv {
    convolution: Convolution,
    bias: Option<usize>,
}

impl Wiring for QLinearConv {
    const OPERATOR: &'static str = "QLinearConv";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, ATTRIBUTES)?;
        ensure!((0..8).all(|position| input(node, position).is_some()), "the first eight inputs are needed");
        Ok(QLinearConv { convolution: Convolution::of(node)?, bias: input(node, 8) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [x, x_scale, x_zero_point, w, w_scale, w_zero_point, scale, zero_point, ..] = *inputs else {
            bail!("eight inputs are needed");
        };
        if !is_f32(model, &[x_scale, w_scale, scale])? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let mut sums = self.convolution.wire(composer, [x, w], [Some(x_zero_point), Some(w_zero_point)])?;
        if let Some(bias) = self.bias {
            let rank = composer.fact(sums)?.rank() - 1;
            let bias = composer.trailing_axes(inputs[bias], rank)?;
            sums = composer.binary(add(), sums, bias)?;
        }
        let operator = Requantize { axis: 1, alpha: 1.0, output: Some(quantized_type(composer, zero_point)?) };
        let inputs = [sums, x_scale, w_scale, scale, zero_point];
        Ok(tvec!(composer.wire(PlainOperator(operator), &inputs)?))
    }
}

/// com.microsoft `QLinearConv`.
#[derive(Debug, Clone)]
pub struct MicrosoftQLinearConv {
    convolution: QLinearConv,
    channels_last: bool,
}

impl Wiring for MicrosoftQLinearConv {
    const OPERATOR: &'static str = "com.microsoft.QLinearConv";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        let mut plain = node.clone();
        plain.attribute.retain(|attribute| attribute.name != "channels_last");
        let channels_last = flag(node, "channels_last")?;
        Ok(MicrosoftQLinearConv { convolution: QLinearConv::parse(&plain, opset)?, channels_last })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !self.channels_last {
            return self.convolution.wire(prefix, model, inputs);
        }
        let mut operands: TVec<OutletId> = inputs.into();
        operands[0] = channels_first(&mut Composer::new(prefix, model), inputs[0])?;
        let outlets = self.convolution.wire(prefix, model, &operands)?;
        Ok(tvec!(channels_last(&mut Composer::new(prefix, model), outlets[0])?))
    }
}
