//! com.microsoft `Inverse` (1) of float32 and float64 `[..., n, n]`: the inverse of each matrix. One that has none is an error.

use super::{Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::inverse::Inverse as Operator;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Inverse;

impl Wiring for Inverse {
    const OPERATOR: &'static str = "com.microsoft.Inverse";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Inverse)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, PlainOperator(Operator), inputs)
    }
}
