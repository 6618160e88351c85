//! ONNX `Compress` (9 to 28): where the condition holds, slices along an axis, or elements of the flattened input.

use super::{Wiring, attribute, unsupported};
use crate::graph::builder::fresh_symbol;
use crate::onnx::pb::NodeProto;
use crate::ops::non_zero::NonZero;
use crate::ops::plain::wrapped;
use tract_core::internal::*;
use tract_core::ops::array::Gather;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Compress {
    axis: Option<i64>,
}

impl Wiring for Compress {
    const OPERATOR: &'static str = "Compress";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["axis"])?;
        Ok(Compress { axis: attribute(node, "axis").map(|axis| axis.i) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut data = inputs[0];
        let shape = model.outlet_fact(data)?.shape.to_tvec();
        let axis = match self.axis {
            Some(axis) => wrapped(axis, shape.len()).ok_or_else(|| unsupported(format!("axis {axis}")))?,
            None => {
                let flat = tvec!(shape.iter().cloned().product());
                data = model.wire_node(format!("{prefix}.flat"), AxisOp::Reshape(0, shape, flat), &[data])?[0];
                0
            }
        };
        let count = fresh_symbol(&model.symbols, "compress");
        let found = model.wire_node(format!("{prefix}.found"), NonZero { count }, &inputs[1..2])?;
        let found = model.wire_node(format!("{prefix}.indices"), AxisOp::Rm(0), &found)?[0];
        model.wire_node(prefix, Gather::new(axis), &[data, found])
    }
}
