//! ONNX `Pow` (7 to 15): `X` of float32, float64, int32 or int64, `Y` of any of them. The result has `X`'s type.

use super::{Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::cast::wire_cast;
use tract_core::ops::{change_axes::wire_rank_broadcast, math::pow};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Pow;

impl Wiring for Pow {
    const OPERATOR: &'static str = "Pow";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Pow)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let x = model.outlet_fact(inputs[0])?.datum_type;
        if !x.is_float() {
            return model.wire_node(prefix, PlainOperator(crate::ops::IntegerPower), inputs);
        }
        let exponent = wire_cast(format!("{prefix}.exponent"), model, &inputs[1..2], x)?[0];
        let operands = wire_rank_broadcast(prefix, model, &[inputs[0], exponent])?;
        model.wire_node(prefix, pow(), &operands)
    }
}
