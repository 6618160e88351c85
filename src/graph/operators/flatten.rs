//! ONNX `Flatten` (13): `[..axis]` and `[axis..]` each folded into one axis, symbolic ones too.

use super::{Wiring, int};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Flatten {
    axis: i64,
}

impl Wiring for Flatten {
    const OPERATOR: &'static str = "Flatten";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["axis"])?;
        Ok(Flatten { axis: int(node, "axis", 1) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = model.outlet_fact(inputs[0])?.shape.to_tvec();
        let rank = shape.len() as i64;
        let axis = if self.axis < 0 { self.axis + rank } else { self.axis };
        ensure!((0..=rank).contains(&axis), "axis {} of a tensor of rank {rank}", self.axis);
        let rows: TDim = shape[..axis as usize].iter().cloned().product();
        let columns: TDim = shape[axis as usize..].iter().cloned().product();
        model.wire_node(prefix, AxisOp::Reshape(0, shape, tvec!(rows, columns)), inputs)
    }
}
