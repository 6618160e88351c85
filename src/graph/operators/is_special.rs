//! ONNX `IsNaN` (9 to 20) and `IsInf` (10 to 20) of floats.

use super::{Wiring, int};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::change_axes::wire_with_rank_broadcast;
use tract_core::ops::logic::{comp_eq, comp_ne};
use tract_core::ops::math;

/// ONNX `IsNaN`.
#[derive(Debug, Clone)]
pub struct IsNaN;

/// ONNX `IsInf`.
#[derive(Debug, Clone)]
pub struct IsInf {
    positive: bool,
    negative: bool,
}

impl Wiring for IsNaN {
    const OPERATOR: &'static str = "IsNaN";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &[])?;
        Ok(IsNaN)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if model.outlet_fact(inputs[0])?.datum_type == f64::datum_type() {
            return model.wire_node(prefix, TypedBinOp(comp_ne(), None), &[inputs[0], inputs[0]]);
        }
        model.wire_node(prefix, math::is_nan(), inputs)
    }
}

impl Wiring for IsInf {
    const OPERATOR: &'static str = "IsInf";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["detect_positive", "detect_negative"])?;
        Ok(IsInf { positive: int(node, "detect_positive", 1) != 0, negative: int(node, "detect_negative", 1) != 0 })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut x = inputs[0];
        if self.positive && self.negative {
            x = model.wire_node(format!("{prefix}.abs"), math::abs(), &[x])?[0];
        }
        // Nothing is equal to NaN.
        let wanted = match (self.positive, self.negative) {
            (true, _) => f64::INFINITY,
            (false, true) => f64::NEG_INFINITY,
            (false, false) => f64::NAN,
        };
        let datum_type = model.outlet_fact(x)?.datum_type;
        let wanted = tensor0(wanted).cast_to_dt(datum_type)?.into_owned();
        let wanted = model.add_const(format!("{prefix}.infinity"), wanted)?;
        wire_with_rank_broadcast(prefix, model, TypedBinOp(comp_eq(), None), &[x, wanted])
    }
}
