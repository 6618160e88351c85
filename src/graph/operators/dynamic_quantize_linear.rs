//! ONNX `DynamicQuantizeLinear` (11): f32 `x`; outputs uint8 of its shape, the scale and the zero point.

use super::{Wiring, has_output, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct DynamicQuantizeLinear {
    outputs: [bool; 3],
}

impl Wiring for DynamicQuantizeLinear {
    const OPERATOR: &'static str = "DynamicQuantizeLinear";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(DynamicQuantizeLinear { outputs: std::array::from_fn(|position| has_output(node, position)) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only floats of 16 and 32 bits are supported"));
        }
        let outlets = model.wire_node(prefix, PlainOperator(crate::ops::DynamicQuantizeLinear), inputs)?;
        let named = outlets.into_iter().zip(self.outputs).filter(|(_, named)| *named);
        Ok(named.map(|(outlet, _)| outlet).collect())
    }
}
