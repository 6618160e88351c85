//! ONNX `GridSample` (16 to 22), float32, images of any number of axes. Attributes: `align_corners`, `mode`, `padding_mode`; cubic
//! interpolation with `border` padding is refused.

use super::{Wiring, arguments, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::nn::{self, InterpolationMode, PaddingMode};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct GridSample(nn::GridSample);

impl Wiring for GridSample {
    const OPERATOR: &'static str = "GridSample";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["align_corners", "mode", "padding_mode"])?;
        let mode = match &*arguments::string(node, "mode", "linear") {
            "bilinear" | "linear" => InterpolationMode::Bilinear,
            "nearest" => InterpolationMode::Nearest,
            "bicubic" | "cubic" => InterpolationMode::Bicubic,
            other => return Err(unsupported(format!("`mode` of `{other}` is not supported"))),
        };
        let padding_mode = match &*arguments::string(node, "padding_mode", "zeros") {
            "zeros" => PaddingMode::Zeros,
            "border" if mode == InterpolationMode::Bicubic => {
                return Err(unsupported("cubic interpolation with `border` padding is not supported"));
            }
            "border" => PaddingMode::Border,
            "reflection" => PaddingMode::Reflection,
            other => return Err(unsupported(format!("`padding_mode` of `{other}` is not supported"))),
        };
        Ok(GridSample(nn::GridSample { mode, padding_mode, align_corners: int(node, "align_corners", 0) != 0 }))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        model.wire_node(prefix, self.0.clone(), inputs)
    }
}
