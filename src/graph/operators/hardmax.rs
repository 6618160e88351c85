//! ONNX `Hardmax` (1 to 13). Before opset 13 the axes from `axis` on count as one.

use super::{Wiring, int, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::hardmax::Hardmax as Operator;
use crate::ops::plain::{PlainOperator, wrapped};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Hardmax {
    axis: i64,
    to_the_end: bool,
}

impl Wiring for Hardmax {
    const OPERATOR: &'static str = "Hardmax";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        super::only_attributes(node, &["axis"])?;
        let to_the_end = opset < 13;
        Ok(Hardmax { axis: int(node, "axis", if to_the_end { 1 } else { -1 }), to_the_end })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        let axis = wrapped(self.axis, rank).ok_or_else(|| unsupported(format!("axis {}", self.axis)))?;
        let operator = Operator { axis, to_the_end: self.to_the_end };
        model.wire_node(prefix, PlainOperator(operator), inputs)
    }
}
