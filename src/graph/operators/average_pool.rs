//! ONNX `AveragePool` (7 to 22) of floating-point images with a known number of channels. Attributes: `auto_pad`, `ceil_mode`,
//! `count_include_pad`, `dilations`, `kernel_shape`, `pads`, `strides`.

use super::window::Pool;
use super::{Wiring, int, only_attributes};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cnn::SumPool;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct AveragePool {
    pool: Pool,
    count_include_pad: bool,
}

impl Wiring for AveragePool {
    const OPERATOR: &'static str = "AveragePool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(
            node,
            &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"],
        )?;
        Ok(AveragePool { pool: Pool::of(node)?, count_include_pad: int(node, "count_include_pad", 0) != 0 })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let pool_spec = self.pool.over(model.outlet_fact(inputs[0])?)?;
        let mean = SumPool { pool_spec, count_include_pad: self.count_include_pad, normalize: true };
        model.wire_node(prefix, mean, inputs)
    }
}
