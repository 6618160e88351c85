//! ONNX `BitwiseAnd`, `BitwiseNot`, `BitwiseOr` and `BitwiseXor` (18) of integers, which broadcast.

use super::wires::concrete;
use super::{Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::bitwise::Bitwise;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

macro_rules! operations {
    ($($type:ident, $operator:literal, $operation:expr;)*) => {$(
        #[doc = concat!("`", $operator, "`.")]
        #[derive(Debug, Clone)]
        pub struct $type;

        impl Wiring for $type {
            const OPERATOR: &'static str = $operator;

            fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
                only_attributes(node, &[]).map(|()| $type)
            }

            fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
                wire($operation, prefix, model, inputs)
            }
        }
    )*};
}

operations! {
    BitwiseAnd, "BitwiseAnd", Bitwise::And;
    BitwiseNot, "BitwiseNot", Bitwise::Not;
    BitwiseOr, "BitwiseOr", Bitwise::Or;
    BitwiseXor, "BitwiseXor", Bitwise::Xor;
}

fn wire(operation: Bitwise, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
    let mut operands: TVec<OutletId> = inputs.into();
    for (position, operand) in operands.iter_mut().enumerate() {
        if model.outlet_fact(*operand)?.datum_type.is_tdim() {
            *operand = concrete(&format!("{prefix}.{position}"), model, *operand, i64::datum_type())?;
        }
    }
    model.wire_node(prefix, PlainOperator(operation), &operands)
}
