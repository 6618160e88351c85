//! ONNX `Identity` (1 to 25) of a tensor.

use super::{Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::identity;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Identity;

impl Wiring for Identity {
    const OPERATOR: &'static str = "Identity";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Identity)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, identity::Identity, inputs)
    }
}
