//! ONNX `Gather` (1 to 13) and `GatherElements` (11 to 13), any type; negative indices count from the end. Attribute: `axis`.

use super::{Wiring, axis_of, int, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::array;
use tract_core::ops::cast::wire_cast;

/// ONNX `Gather`.
#[derive(Debug, Clone)]
pub struct Gather {
    axis: i64,
}

/// ONNX `GatherElements`.
#[derive(Debug, Clone)]
pub struct GatherElements {
    axis: i64,
}

impl Wiring for Gather {
    const OPERATOR: &'static str = "Gather";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis"])?;
        Ok(Gather { axis: int(node, "axis", 0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axis = axis_of(self.axis, model.outlet_fact(inputs[0])?.rank())?;
        wire(prefix, model, array::Gather::new(axis), inputs)
    }
}

impl Wiring for GatherElements {
    const OPERATOR: &'static str = "GatherElements";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis"])?;
        Ok(GatherElements { axis: int(node, "axis", 0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axis = axis_of(self.axis, model.outlet_fact(inputs[0])?.rank())?;
        wire(prefix, model, array::GatherElements { axis }, inputs)
    }
}

/// Wires a gathering, whose indices become int64.
fn wire(
    prefix: &str,
    model: &mut TypedModel,
    operator: impl Into<Box<dyn TypedOp>>,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    let indices = wire_cast(format!("{prefix}.indices"), model, &inputs[1..2], i64::datum_type())?;
    model.wire_node(prefix, operator, &[inputs[0], indices[0]])
}
