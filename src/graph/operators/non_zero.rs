//! ONNX `NonZero` (9 to 13) of numbers and bool; a scalar counts as a vector of one element.

use super::Wiring;
use crate::graph::builder::fresh_symbol;
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct NonZero;

impl Wiring for NonZero {
    const OPERATOR: &'static str = "NonZero";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &[])?;
        Ok(NonZero)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut input = inputs[0];
        if model.outlet_fact(input)?.rank() == 0 {
            input = model.wire_node(format!("{prefix}.vector"), AxisOp::Add(0), &[input])?[0];
        }
        let count = fresh_symbol(&model.symbols, "nonzero");
        model.wire_node(prefix, crate::ops::non_zero::NonZero { count }, &[input])
    }
}
