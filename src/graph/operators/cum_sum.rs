//! ONNX `CumSum` (11, 14): numbers of any type, summed along a constant axis; `exclusive`, `reverse`.

use super::{Wiring, as_numbers, int, only_attributes};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::CumSum as Stock;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct CumSum {
    exclusive: bool,
    reverse: bool,
}

impl Wiring for CumSum {
    const OPERATOR: &'static str = "CumSum";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["exclusive", "reverse"])?;
        Ok(CumSum { exclusive: int(node, "exclusive", 0) == 1, reverse: int(node, "reverse", 0) == 1 })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let axis = super::constant(model, inputs[1])?.context("the axis is not a constant")?;
        let axis = axis.cast_to_scalar::<i64>()?;
        let rank = model.outlet_fact(inputs[0])?.rank() as i64;
        let axis = if axis < 0 { axis + rank } else { axis };
        ensure!((0..rank).contains(&axis), "axis {axis} of a tensor of rank {rank}");
        let operand = as_numbers(prefix, model, inputs[0])?;
        let sum = Stock { axis: axis as usize, exclusive: self.exclusive, reverse: self.reverse };
        model.wire_node(prefix, sum, &[operand]).map(Some)
    }
}
