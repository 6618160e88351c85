//! ONNX `MaxPool` (8 to 22) of images with a known number of channels. Outputs: the greatest element of each window; optionally where
//! it stands. Attributes: `auto_pad`, `ceil_mode`, `dilations`, `kernel_shape`, `pads`, `storage_order`, `strides`.

use super::window::Pool;
use super::{Wiring, has_output, int, only_attributes};
use crate::ops::plain::PlainOperator;
use crate::ops::pool_indices::PoolIndices;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cnn;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MaxPool {
    pool: Pool,
    values: bool,
    indices: bool,
    column_major: bool,
}

impl Wiring for MaxPool {
    const OPERATOR: &'static str = "MaxPool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(
            node,
            &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        )?;
        Ok(MaxPool {
            pool: Pool::of(node)?,
            values: has_output(node, 0),
            indices: has_output(node, 1),
            column_major: int(node, "storage_order", 0) == 1,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let pool_spec = self.pool.over(model.outlet_fact(inputs[0])?)?;
        let with_index_outputs = self.indices.then(i64::datum_type);
        let pooled = model.wire_node(prefix, cnn::MaxPool { pool_spec, with_index_outputs }, inputs)?;
        let mut outlets = tvec!();
        if self.values {
            outlets.push(pooled[0]);
        }
        if self.indices {
            let operator = PlainOperator(PoolIndices { column_major: self.column_major });
            outlets.extend(model.wire_node(format!("{prefix}.indices"), operator, &[pooled[1], inputs[0]])?);
        }
        Ok(outlets)
    }
}
