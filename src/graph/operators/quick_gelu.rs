//! com.microsoft `QuickGelu`: `x · sigmoid(alpha · x)`, float32. Attribute: `alpha`.

use super::compose::Composer;
use super::swish::swish;
use super::{Wiring, float, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QuickGelu {
    alpha: f32,
}

impl Wiring for QuickGelu {
    const OPERATOR: &'static str = "com.microsoft.QuickGelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha"])?;
        Ok(QuickGelu { alpha: float(node, "alpha").unwrap_or(1.702) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        Ok(tvec!(swish(&mut Composer::new(prefix, model), inputs[0], self.alpha)?))
    }
}
