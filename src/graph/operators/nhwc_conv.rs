//! com.microsoft `NhwcConv` (1): ONNX `Conv` of float32 with the channels last.
//!
//! Inputs: `X` `[batch, ...sizes, channels]`; `W` `[filters, ...window, channels / group]`; optional `B` `[filters]`.
//! Output: `[batch, ...sizes, filters]`. Attributes: those of `Conv`.

use super::compose::Composer;
use super::conv::ATTRIBUTES;
use super::quantized::{attributes, channels_first, channels_last, node};
use super::{Wiring, is_f32, only_attributes, unsupported, wire_node};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct NhwcConv {
    conv: NodeProto,
    opset: i64,
}

impl Wiring for NhwcConv {
    const OPERATOR: &'static str = "com.microsoft.NhwcConv";

    fn parse(proto: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(proto, ATTRIBUTES)?;
        Ok(NhwcConv { conv: node("Conv", proto.input.len(), attributes(proto, ATTRIBUTES)), opset })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let mut operands: TVec<OutletId> = inputs.into();
        let mut composer = Composer::new(prefix, model);
        for operand in &mut operands[..2] {
            *operand = channels_first(&mut composer, *operand)?;
        }
        let sums = wire_node(&self.conv, self.opset, &format!("{prefix}.conv"), model, &operands)?;
        Ok(tvec!(channels_last(&mut Composer::new(prefix, model), sums[0])?))
    }
}
