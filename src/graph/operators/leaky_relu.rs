//! ONNX `LeakyRelu` (6 to 16) of floats: `x`, and `alpha · x` where it is negative. tract's operator
//! lacks float64.

use super::{Wiring, float};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::change_axes::wire_with_rank_broadcast;
use tract_core::ops::logic::{Iff, comp_gte};
use tract_core::ops::math;
use tract_core::ops::nn::leaky_relu;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct LeakyRelu {
    alpha: f32,
}

impl Wiring for LeakyRelu {
    const OPERATOR: &'static str = "LeakyRelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["alpha"])?;
        Ok(LeakyRelu { alpha: float(node, "alpha").unwrap_or(0.01) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let x = inputs[0];
        if model.outlet_fact(x)?.datum_type != f64::datum_type() {
            return model.wire_node(prefix, leaky_relu(self.alpha), inputs);
        }
        let alpha = model.add_const(format!("{prefix}.alpha"), tensor0(f64::from(self.alpha)))?;
        let zero = model.add_const(format!("{prefix}.zero"), tensor0(0f64))?;
        let below = wire_with_rank_broadcast(format!("{prefix}.below"), model, math::mul(), &[x, alpha])?[0];
        let is_above = TypedBinOp(comp_gte(), None);
        let above = wire_with_rank_broadcast(format!("{prefix}.above"), model, is_above, &[x, zero])?[0];
        model.wire_node(prefix, Iff, &[above, x, below])
    }
}
