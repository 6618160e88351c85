//! ONNX `Mean` (8 to 13) of floating-point tensors, which broadcast.

use super::Wiring;
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::change_axes::wire_with_rank_broadcast;
use tract_core::ops::math;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Mean;

impl Wiring for Mean {
    const OPERATOR: &'static str = "Mean";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &[])?;
        Ok(Mean)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut sum = inputs[0];
        for (position, input) in inputs.iter().enumerate().skip(1) {
            sum = wire_with_rank_broadcast(format!("{prefix}.sum{position}"), model, math::add(), &[sum, *input])?[0];
        }
        let datum_type = model.outlet_fact(sum)?.datum_type;
        let count = tensor0(inputs.len() as f32).cast_to_dt(datum_type)?.into_owned();
        let count = model.add_const(format!("{prefix}.count"), count)?;
        wire_with_rank_broadcast(prefix, model, math::div(), &[sum, count])
    }
}
