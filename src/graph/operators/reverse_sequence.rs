//! ONNX `ReverseSequence` (10 to 28), any type.
//!
//! Inputs: `input`, `sequence_lens`. Attributes: `batch_axis` and `time_axis`, 0 and 1 in one order or the other.

use super::{Wiring, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct ReverseSequence(crate::ops::ReverseSequence);

impl Wiring for ReverseSequence {
    const OPERATOR: &'static str = "ReverseSequence";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["batch_axis", "time_axis"])?;
        match (int(node, "batch_axis", 1), int(node, "time_axis", 0)) {
            (batch @ (0 | 1), time @ (0 | 1)) if batch != time => {
                Ok(ReverseSequence(crate::ops::ReverseSequence { batch_first: batch == 0 }))
            }
            (batch, time) => Err(unsupported(format!("batch_axis {batch} with time_axis {time}"))),
        }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.0.clone(), inputs)
    }
}
