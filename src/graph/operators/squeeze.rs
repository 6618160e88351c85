//! ONNX `Squeeze` (1 to 25), any type.
//!
//! Inputs: `data`; `axes` constant (an attribute below opset 13). Without axes all sizes must be known, because those of size 1 go.

use super::{Wiring, arguments, input, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::identity::Identity;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Squeeze {
    axes: Option<Vec<i64>>,
    axes_input: Option<usize>,
}

impl Wiring for Squeeze {
    const OPERATOR: &'static str = "Squeeze";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        let attributes: &[&str] = if opset < 13 { &["axes"] } else { &[] };
        only_attributes(node, attributes)?;
        Ok(Squeeze { axes: arguments::ints(node, "axes"), axes_input: input(node, 1).filter(|_| opset >= 13) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = model.outlet_fact(inputs[0])?.shape.to_tvec();
        let given = match self.axes_input {
            Some(axes) => Some(arguments::constant_ints(model, inputs[axes], "axes")?),
            None => self.axes.clone(),
        };
        let mut axes = match given {
            Some(axes) => {
                axes.iter().map(|axis| arguments::axis(*axis, shape.len())).collect::<TractResult<Vec<_>>>()?
            }
            None => {
                let sizes = shape.iter().map(|size| size.to_usize()).collect::<Result<Vec<_>, _>>();
                let sizes = sizes.context("the axes of size 1 are not known")?;
                (0..sizes.len()).filter(|axis| sizes[*axis] == 1).collect()
            }
        };
        axes.sort_unstable();
        axes.dedup();
        let mut outlet = inputs[0];
        for axis in axes.iter().rev() {
            outlet = model.wire_node(format!("{prefix}.without_{axis}"), AxisOp::Rm(*axis), &[outlet])?[0];
        }
        model.wire_node(prefix, Identity, &[outlet])
    }
}
