//! ONNX `Col2Im` (18). Inputs: f32 `[batch, channels * places of a window, windows]`; the constant sizes of the image; the
//! constant sizes of a window. Attributes: `strides`, `dilations`, `pads`.

use super::window::{WindowAttributes, sizes};
use super::{Wiring, arguments, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::col2im::Col2Im as Operator;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Col2Im {
    windows: WindowAttributes,
}

impl Wiring for Col2Im {
    const OPERATOR: &'static str = "Col2Im";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["strides", "dilations", "pads"])?;
        Ok(Col2Im { windows: WindowAttributes::of(node)? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[..1])? {
            return Err(unsupported("only float32 is supported"));
        }
        let image = sizes("image_shape", &arguments::constant_ints(model, inputs[1], "image_shape")?)?;
        let kernel = sizes("block_shape", &arguments::constant_ints(model, inputs[2], "block_shape")?)?;
        let steps = self.windows.steps(&kernel)?;
        let operator = Operator { image, kernel, steps };
        model.wire_node(prefix, PlainOperator(operator), &inputs[..1])
    }
}
