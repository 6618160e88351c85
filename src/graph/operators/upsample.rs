//! ONNX `Upsample` (7 to 9): any type for `nearest`, else float types.
//!
//! Inputs: `X`; `scales` constant (an attribute below opset 9). Attribute: `mode`: `nearest` or `linear`.

use super::resize::{plain, wire_resize};
use super::{Wiring, arguments, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::{Interpolation, Rounding, Target};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Upsample {
    interpolation: Interpolation,
    scales: Option<Vec<f32>>,
}

impl Wiring for Upsample {
    const OPERATOR: &'static str = "Upsample";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        let attributes: &[&str] = if opset < 9 { &["mode", "scales"] } else { &["mode"] };
        only_attributes(node, attributes)?;
        if opset > 9 {
            return Err(unsupported("ONNX has no Upsample from opset 10 on"));
        }
        let interpolation = match &*arguments::string(node, "mode", "nearest") {
            "nearest" => Interpolation::Nearest(Rounding::Simple),
            "linear" => Interpolation::Linear,
            other => return Err(unsupported(format!("mode `{other}`"))),
        };
        Ok(Upsample { interpolation, scales: arguments::floats(node, "scales") })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let scales = match &self.scales {
            Some(scales) => scales.clone(),
            None => arguments::constant_floats(model, inputs[1], "scales")?,
        };
        let rank = model.outlet_fact(inputs[0])?.rank();
        let operator = crate::ops::Resize {
            interpolation: self.interpolation,
            axes: (0..rank).collect(),
            region: vec![(0., 1.); rank],
            target: Target::Scales(scales),
            ..plain()
        };
        wire_resize(operator, prefix, model, inputs[0])
    }
}
