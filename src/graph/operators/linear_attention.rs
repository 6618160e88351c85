//! ONNX `LinearAttention` (27), float32: the rules `linear`, `gated`, `delta` and `gated_delta`.
//!
//! Inputs: `query`, `key`, `value`, optionally `past_state`; `decay` for the gated rules; `beta` for the delta rules.
//! Outputs: `output`, optionally `present_state`. Attributes: `q_num_heads`, `kv_num_heads`, `scale`, `update_rule`;
//! `chunk_size` does not change the result.

use super::{Wiring, arguments, float, has_output, input, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::linear_attention::LinearAttention as Operator;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct LinearAttention {
    operator: Operator,
    /// Whether the node names each output.
    outputs: [bool; 2],
}

impl Wiring for LinearAttention {
    const OPERATOR: &'static str = "LinearAttention";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["q_num_heads", "kv_num_heads", "scale", "update_rule", "chunk_size", "state_window"])?;
        if int(node, "state_window", 0) != 0 {
            return Err(unsupported("several states are not supported"));
        }
        let heads = |name| usize::try_from(int(node, name, 0)).ok().filter(|heads| *heads > 0);
        let (Some(heads), Some(state_heads)) = (heads("q_num_heads"), heads("kv_num_heads")) else {
            return Err(unsupported("a number of heads is missing or not positive"));
        };
        if heads % state_heads != 0 {
            return Err(unsupported(format!("{heads} heads do not share {state_heads} states")));
        }
        let (has_decay, has_rate) = match &*arguments::string(node, "update_rule", "gated_delta") {
            "linear" => (false, false),
            "gated" => (true, false),
            "delta" => (false, true),
            "gated_delta" => (true, true),
            other => return Err(unsupported(format!("update_rule `{other}` is not supported"))),
        };
        if input(node, 4).is_some() != has_decay || input(node, 5).is_some() != has_rate {
            return Err(unsupported("the inputs `decay` and `beta` are not those of its update_rule"));
        }
        let scale = float(node, "scale").filter(|scale| *scale != 0.0);
        let has_past = input(node, 3).is_some();
        let operator = Operator { heads, state_heads, scale, has_past, has_decay, has_rate };
        Ok(LinearAttention { operator, outputs: [has_output(node, 0), has_output(node, 1)] })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let outlets = model.wire_node(prefix, PlainOperator(self.operator.clone()), inputs)?;
        Ok(outlets.into_iter().zip(self.outputs).filter(|(_, named)| *named).map(|(outlet, _)| outlet).collect())
    }
}
