//! ONNX `GlobalAveragePool` and `GlobalMaxPool` (1 to 22) of floating-point images.

use super::reduce::of_floats;
use super::{Composer, Wiring, only_attributes};
use crate::ops::Reducer;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::nn;

/// ONNX `GlobalAveragePool`.
#[derive(Debug, Clone)]
pub struct GlobalAveragePool;

/// ONNX `GlobalMaxPool`.
#[derive(Debug, Clone)]
pub struct GlobalMaxPool;

impl Wiring for GlobalAveragePool {
    const OPERATOR: &'static str = "GlobalAveragePool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| GlobalAveragePool)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axes: TVec<usize> = (2..model.outlet_fact(inputs[0])?.rank()).collect();
        Ok(tvec!(of_floats(&mut Composer::new(prefix, model), Reducer::Mean, inputs[0], &axes)?))
    }
}

impl Wiring for GlobalMaxPool {
    const OPERATOR: &'static str = "GlobalMaxPool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| GlobalMaxPool)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axes = (2..model.outlet_fact(inputs[0])?.rank()).collect();
        model.wire_node(prefix, nn::Reduce::new(axes, nn::Reducer::Max), inputs)
    }
}
