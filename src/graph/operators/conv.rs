//! ONNX `Conv` (1 to 22), float32 and float64, over any number of spatial axes.

use super::window::{WindowAttributes, kernel_sizes};
use super::{Wiring, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::conv::Conv as Operator;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// The attributes of a convolution.
pub const ATTRIBUTES: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Conv {
    groups: usize,
    windows: WindowAttributes,
}

impl Wiring for Conv {
    const OPERATOR: &'static str = "Conv";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, ATTRIBUTES)?;
        Ok(Conv { groups: groups(node)?, windows: WindowAttributes::of(node)? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        refuse_other_types(model, inputs)?;
        let steps = self.windows.steps(&kernel_sizes(model, inputs[1])?)?;
        model.wire_node(prefix, PlainOperator(Operator { groups: self.groups, steps }), inputs)
    }
}

/// The attribute `group`.
///
/// # Errors
/// Where it is negative.
pub fn groups(node: &NodeProto) -> TractResult<usize> {
    usize::try_from(int(node, "group", 1)).context("`group` is negative")
}

/// Refuses other types than float32 and float64.
///
/// # Errors
/// `UnsupportedOp`.
pub fn refuse_other_types(model: &TypedModel, inputs: &[OutletId]) -> TractResult<()> {
    for input in inputs {
        if ![f32::datum_type(), f64::datum_type()].contains(&model.outlet_fact(*input)?.datum_type) {
            return Err(unsupported("only float32 and float64 are supported"));
        }
    }
    Ok(())
}
