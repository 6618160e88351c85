//! ONNX `BitCast` (26) between numbers of one width, 8, 32 or 64 bits, and from and to 16-bit integers.

use super::{Wiring, int, unsupported};
use crate::onnx::element_type;
use crate::onnx::pb::NodeProto;
use crate::ops::bit_cast::BitCast as Operator;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct BitCast {
    to: DatumType,
}

impl Wiring for BitCast {
    const OPERATOR: &'static str = "BitCast";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["to"])?;
        let to = element_type(int(node, "to", 0) as i32)?;
        let to = Some(to.held_as).filter(|held| held.size_of() * 8 == to.bits);
        let to = to.filter(|to| to.is_number() || *to == bool::datum_type());
        Ok(BitCast { to: to.ok_or_else(|| unsupported("the type to cast to is not supported"))? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let from = model.outlet_fact(inputs[0])?.datum_type;
        // float16 is computed as float32, so its own bits are not there.
        if from.size_of() != self.to.size_of() {
            return Err(unsupported(format!("from {from:?} to {:?} is not supported", self.to)));
        }
        model.wire_node(prefix, PlainOperator(Operator { to: self.to }), inputs)
    }
}
