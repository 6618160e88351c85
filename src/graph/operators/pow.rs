//! ONNX `Pow` (7 to 15): `X` of float32, float64, int32 or int64, `Y` of any of them. The result has `X`'s type.

use super::{Wiring, only_attributes};
use crate::ops::plain::PlainOperator;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::tract_core::ops::{change_axes::wire_rank_broadcast, math::pow};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Pow;

impl Wiring for Pow {
    const OPERATOR: &'static str = "Pow";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Pow)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let [x, y] = [inputs[0], inputs[1]].map(|outlet| model.outlet_fact(outlet).map(|fact| fact.datum_type));
        let (x, y) = (x?, y?);
        if x.is_float() && x == y {
            return Ok(None);
        }
        if !x.is_float() {
            return model.wire_node(prefix, PlainOperator(crate::ops::IntegerPower), inputs).map(Some);
        }
        let exponent = model.wire_node(format!("{prefix}.exponent"), cast(x), &inputs[1..2])?[0];
        let operands = wire_rank_broadcast(prefix, model, &[inputs[0], exponent])?;
        model.wire_node(prefix, pow(), &operands).map(Some)
    }
}
