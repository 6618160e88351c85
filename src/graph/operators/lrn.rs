//! ONNX `LRN` (1 to 13) of floating-point images. Attributes: `alpha`, `beta`, `bias`, `size`.

use super::{Wiring, float, int, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::local_response::LocalResponse;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Lrn(LocalResponse);

impl Wiring for Lrn {
    const OPERATOR: &'static str = "LRN";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha", "beta", "bias", "size"])?;
        let size = usize::try_from(int(node, "size", 0)).ok().filter(|size| *size > 0);
        Ok(Lrn(LocalResponse {
            alpha: float(node, "alpha").unwrap_or(1e-4),
            beta: float(node, "beta").unwrap_or(0.75),
            bias: float(node, "bias").unwrap_or(1.0),
            size: size.context("`size` is missing or not positive")?,
        }))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, PlainOperator(self.0.clone()), inputs)
    }
}
