//! ONNX `Softplus` (1 to 22) of float32 and float64.

use super::compose::Composer;
use super::{Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Softplus;

impl Wiring for Softplus {
    const OPERATOR: &'static str = "Softplus";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Softplus)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, PlainOperator(crate::ops::Softplus), inputs)
    }
}

/// Wires the softplus of an outlet.
pub fn softplus(composer: &mut Composer, x: OutletId) -> TractResult<OutletId> {
    composer.wire(PlainOperator(crate::ops::Softplus), &[x])
}
