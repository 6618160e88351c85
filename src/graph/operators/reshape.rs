//! ONNX `Reshape` (5 to 25), any type: `shape` constant, maybe symbolic. Attribute: `allowzero`.

use super::{Wiring, constant, int, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::change_axes::to_axis_ops_with_onnx_rules;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Reshape {
    allow_zero: bool,
}

impl Wiring for Reshape {
    const OPERATOR: &'static str = "Reshape";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["allowzero"])?;
        Ok(Reshape { allow_zero: int(node, "allowzero", 0) != 0 })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = constant(model, inputs[1])?.context("shape input is variable")?;
        let shape = shape.cast_to::<TDim>()?;
        let own = model.outlet_fact(inputs[0])?.shape.to_tvec();
        let steps = to_axis_ops_with_onnx_rules(&own, shape.try_as_plain_ram()?.as_slice()?, self.allow_zero)?;
        let mut outlet = inputs[0];
        for (position, step) in steps.into_iter().enumerate() {
            outlet = model.wire_node(format!("{prefix}.{position}"), step, &[outlet])?[0];
        }
        Ok(tvec!(outlet))
    }
}
