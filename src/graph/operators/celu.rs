//! ONNX `Celu` (12 to 28): `max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`.

use super::{Wiring, float};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_hir::tract_core::ops::change_axes::wire_with_rank_broadcast;
use tract_onnx::tract_hir::tract_core::ops::logic::{Iff, comp_gte};
use tract_onnx::tract_hir::tract_core::ops::math;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Celu {
    alpha: f32,
}

impl Wiring for Celu {
    const OPERATOR: &'static str = "Celu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["alpha"])?;
        Ok(Celu { alpha: float(node, "alpha").unwrap_or(1.0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let x = inputs[0];
        let datum_type = model.outlet_fact(x)?.datum_type;
        let constant = |model: &mut TypedModel, name: &str, value: f32| {
            model.add_const(format!("{prefix}.{name}"), tensor0(value).cast_to_dt(datum_type)?.into_owned())
        };
        let alpha = constant(model, "alpha", self.alpha)?;
        let one = constant(model, "one", 1.0)?;
        let zero = constant(model, "zero", 0.0)?;
        let scaled = wire_with_rank_broadcast(format!("{prefix}.scaled"), model, math::div(), &[x, alpha])?[0];
        let grown = model.wire_node(format!("{prefix}.exp"), math::exp(), &[scaled])?[0];
        let less = wire_with_rank_broadcast(format!("{prefix}.less_one"), model, math::sub(), &[grown, one])?[0];
        let below = wire_with_rank_broadcast(format!("{prefix}.below"), model, math::mul(), &[less, alpha])?[0];
        let is_above = TypedBinOp(comp_gte(), None);
        let above = wire_with_rank_broadcast(format!("{prefix}.above"), model, is_above, &[x, zero])?[0];
        model.wire_node(prefix, Iff, &[above, x, below]).map(Some)
    }
}
