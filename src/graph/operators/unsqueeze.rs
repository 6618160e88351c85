//! ONNX `Unsqueeze` (1 to 25), any type: `axes` constant (an attribute below opset 13).

use super::{Wiring, arguments, axis_of, constant, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Unsqueeze {
    axes: Option<Vec<i64>>,
}

impl Wiring for Unsqueeze {
    const OPERATOR: &'static str = "Unsqueeze";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        if opset >= 13 {
            only_attributes(node, &[])?;
            return Ok(Unsqueeze { axes: None });
        }
        only_attributes(node, &["axes"])?;
        Ok(Unsqueeze { axes: Some(arguments::ints(node, "axes").context("there are no axes")?) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axes = match &self.axes {
            Some(axes) => axes.clone(),
            None => {
                let axes = *inputs.get(1).context("the axes are missing")?;
                crate::ops::integers(&*constant(model, axes)?.context("Need axes to be a constant")?)?
            }
        };
        let rank = model.outlet_fact(inputs[0])?.rank() + axes.len();
        let mut axes = axes.iter().map(|axis| axis_of(*axis, rank)).collect::<TractResult<Vec<_>>>()?;
        axes.sort_unstable();
        ensure!(axes.windows(2).all(|pair| pair[0] < pair[1]), "an axis that is added twice: {axes:?}");
        let mut outlet = inputs[0];
        for axis in axes {
            outlet = model.wire_node(format!("{prefix}.axis-{axis}"), AxisOp::Add(axis), &[outlet])?[0];
        }
        Ok(tvec!(outlet))
    }
}
