//! ONNX `Sum` (8 to 13) of tensors that broadcast.

use super::{Wiring, binary, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Sum;

impl Wiring for Sum {
    const OPERATOR: &'static str = "Sum";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Sum)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        binary::wire_all(prefix, model, add, inputs)
    }
}
