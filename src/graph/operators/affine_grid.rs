//! ONNX `AffineGrid` (20) of two and three axes, float32. Inputs: `theta` `[batch, axes, axes + 1]`; a constant `size`, that of
//! the images `[batch, channels, sizes...]`. Attribute: `align_corners`.

use super::{Wiring, arguments, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::affine_grid::AffineGrid as Operator;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct AffineGrid {
    align_corners: bool,
}

impl Wiring for AffineGrid {
    const OPERATOR: &'static str = "AffineGrid";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["align_corners"])?;
        Ok(AffineGrid { align_corners: int(node, "align_corners", 0) != 0 })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[..1])? {
            return Err(unsupported("only float32 is supported"));
        }
        let size = arguments::constant_ints(model, inputs[1], "size")?;
        if !(4..=5).contains(&size.len()) {
            return Err(unsupported(format!("images of rank {}", size.len())));
        }
        let size = size.into_iter().map(usize::try_from).collect::<Result<TVec<usize>, _>>();
        let size = size.map_err(|_| unsupported("a size is negative"))?;
        let operator =
            Operator { batch: size[0], sizes: size[2..].iter().copied().collect(), align_corners: self.align_corners };
        model.wire_node(prefix, PlainOperator(operator), &inputs[..1])
    }
}
