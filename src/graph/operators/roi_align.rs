//! ONNX `RoiAlign` (10 to 22), f32. Attributes: `mode`, `output_height`, `output_width`, `sampling_ratio`, `spatial_scale`, and from
//! opset 16 on `coordinate_transformation_mode`.

use super::{Wiring, arguments, float, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use crate::ops::roi_align::RoiAlign as Operator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct RoiAlign {
    operator: Operator,
}

impl Wiring for RoiAlign {
    const OPERATOR: &'static str = "RoiAlign";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        let mut attributes = vec!["mode", "output_height", "output_width", "sampling_ratio", "spatial_scale"];
        attributes.extend((opset >= 16).then_some("coordinate_transformation_mode"));
        only_attributes(node, &attributes)?;
        let size = |name: &str, default: i64| {
            usize::try_from(int(node, name, default)).map_err(|_| unsupported(format!("a negative `{name}`")))
        };
        let greatest = match &*arguments::string(node, "mode", "avg") {
            "avg" => false,
            "max" => true,
            other => return Err(unsupported(format!("mode `{other}`"))),
        };
        let default = if opset >= 16 { "half_pixel" } else { "output_half_pixel" };
        let half_pixel = match &*arguments::string(node, "coordinate_transformation_mode", default) {
            "half_pixel" => true,
            "output_half_pixel" => false,
            other => return Err(unsupported(format!("coordinate_transformation_mode `{other}`"))),
        };
        let output = [size("output_height", 1)?, size("output_width", 1)?];
        let (sampling_ratio, spatial_scale) = (size("sampling_ratio", 0)?, float(node, "spatial_scale").unwrap_or(1.0));
        Ok(RoiAlign { operator: Operator { greatest, half_pixel, output, sampling_ratio, spatial_scale } })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[..2])? {
            return Err(unsupported("only float32 is supported"));
        }
        model.wire_node(prefix, PlainOperator(self.operator.clone()), inputs)
    }
}
