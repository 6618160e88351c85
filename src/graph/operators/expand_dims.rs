//! com.microsoft `ExpandDims` (1) of every type: an axis of size 1 at the constant int32 `axis`, where negative ones count from the
//! end of the output's axes.

use super::arguments::{axis, constant_ints};
use super::{Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct ExpandDims;

impl Wiring for ExpandDims {
    const OPERATOR: &'static str = "com.microsoft.ExpandDims";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| ExpandDims)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [x, position] = *inputs else { bail!("ExpandDims takes two inputs") };
        let [position] = constant_ints(model, position, "the axis")?[..] else { bail!("ExpandDims takes one axis") };
        let rank = model.outlet_fact(x)?.rank() + 1;
        model.wire_node(prefix, AxisOp::Add(axis(position, rank)?), &[x])
    }
}
