//! ONNX `CausalConvWithState` (27), float32.
//!
//! Inputs: `input` `[batch, channels, length]`, `weight` `[channels, 1, taps]`, optionally `bias`, `past_state`.
//! Outputs: `output`, optionally `present_state`. Attributes: `activation` `none`, `silu` or `swish`;
//! com.microsoft's `ndim`, `dilation`, `channels_last` and `state_window` may have the values that change nothing.

use super::compose::Composer;
use super::{Wiring, arguments, has_output, input, int, is_f32, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use crate::ops::causal_convolution::CausalConvolution;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// com.microsoft's attributes of the layout, with the values that they may have.
const NEUTRAL: [(&str, i64); 4] = [("ndim", 1), ("dilation", 1), ("channels_last", 0), ("state_window", 0)];

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct CausalConvWithState {
    convolution: CausalConvolution,
    activated: bool,
    /// Whether the node names each output.
    outputs: [bool; 2],
}

impl Wiring for CausalConvWithState {
    const OPERATOR: &'static str = "CausalConvWithState";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        let layout = NEUTRAL.map(|(name, _)| name);
        only_attributes(node, &[&["activation"], &layout[..]].concat())?;
        if NEUTRAL.into_iter().any(|(name, neutral)| int(node, name, neutral) != neutral) {
            return Err(unsupported("other layouts than one axis behind the channels are not supported"));
        }
        let activated = match &*arguments::string(node, "activation", "none") {
            "none" => false,
            "silu" | "swish" => true,
            other => return Err(unsupported(format!("activation `{other}` is not supported"))),
        };
        let convolution = CausalConvolution { has_bias: input(node, 2).is_some(), has_past: input(node, 3).is_some() };
        Ok(CausalConvWithState { convolution, activated, outputs: [has_output(node, 0), has_output(node, 1)] })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let mut outlets = model.wire_node(prefix, PlainOperator(self.convolution.clone()), inputs)?;
        if self.activated {
            outlets[0] = Composer::new(prefix, model).wire(Activate(Activation::Silu), &outlets[..1])?;
        }
        Ok(outlets.into_iter().zip(self.outputs).filter(|(_, named)| *named).map(|(outlet, _)| outlet).collect())
    }
}
