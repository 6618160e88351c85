//! ONNX `Det` (11 to 22): the determinants of f32 matrices.

use super::{Wiring, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::determinant::Determinant;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Det;

impl Wiring for Det {
    const OPERATOR: &'static str = "Det";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(Det)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        model.wire_node(prefix, PlainOperator(Determinant), inputs)
    }
}
