//! ONNX `Gelu` (20): exact, or by the tanh approximation.

use super::{Wiring, attribute, is_f32, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Gelu(Activation);

impl Wiring for Gelu {
    const OPERATOR: &'static str = "Gelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["approximate"])?;
        match attribute(node, "approximate").map_or(&b"none"[..], |approximate| &approximate.s) {
            b"none" => Ok(Gelu(Activation::Gelu)),
            b"tanh" => Ok(Gelu(Activation::GeluTanh)),
            other => Err(unsupported(format!("approximation `{}`", String::from_utf8_lossy(other)))),
        }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        model.wire_node(prefix, Activate(self.0), inputs)
    }
}
