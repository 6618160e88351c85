//! ONNX `AveragePool` (1 to 22) of float32.

use super::max_pool::pool;
use super::window::WindowAttributes;
use super::{Wiring, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::pool::Pooling;
use tract_core::internal::*;

/// The attributes that are understood.
const ATTRIBUTES: &[&str] =
    &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"];

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct AveragePool {
    windows: WindowAttributes,
    counts_padding: bool,
}

impl Wiring for AveragePool {
    const OPERATOR: &'static str = "AveragePool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, ATTRIBUTES)?;
        let counts_padding = int(node, "count_include_pad", 0) != 0;
        Ok(AveragePool { windows: WindowAttributes::of(node)?, counts_padding })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let pooling = Pooling::Mean { counts_padding: self.counts_padding };
        pool(&self.windows, pooling, prefix, model, inputs)
    }
}
