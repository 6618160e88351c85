//! ONNX `Equal` (7 to 19) of any type.

use super::Wiring;
use super::binary::wire_operands;
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::change_axes::wire_with_rank_broadcast;
use tract_core::ops::logic::{Xor, comp_eq, not};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Equal;

impl Wiring for Equal {
    const OPERATOR: &'static str = "Equal";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &[])?;
        Ok(Equal)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        for input in inputs {
            if model.outlet_fact(*input)?.datum_type != bool::datum_type() {
                return wire_operands(prefix, model, TypedBinOp(comp_eq(), None), inputs);
            }
        }
        let differ = TypedBinOp(Box::new(Xor), None);
        let differ = wire_with_rank_broadcast(format!("{prefix}.differ"), model, differ, inputs)?;
        model.wire_node(prefix, not(), &differ)
    }
}
