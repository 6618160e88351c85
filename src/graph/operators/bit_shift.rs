//! ONNX `BitShift` (11 to 28) of every integer type.

use super::{Wiring, attribute, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::bit_shift::BitShift as Shift;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::change_axes::wire_with_rank_broadcast;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct BitShift(Shift);

impl Wiring for BitShift {
    const OPERATOR: &'static str = "BitShift";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["direction"])?;
        match attribute(node, "direction").map(|direction| &*direction.s) {
            Some(b"LEFT") => Ok(BitShift(Shift { left: true })),
            Some(b"RIGHT") => Ok(BitShift(Shift { left: false })),
            _ => Err(unsupported("the direction must be LEFT or RIGHT")),
        }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        wire_with_rank_broadcast(prefix, model, PlainOperator(self.0.clone()), inputs)
    }
}
