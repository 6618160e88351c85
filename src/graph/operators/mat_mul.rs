//! ONNX `MatMul` (9 to 13): float32 becomes [`MatMul`](crate::ops::MatMul); other types are left to tract.

use super::compose::Composer;
use super::{Wiring, is_f32, only_attributes};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MatMul;

impl Wiring for MatMul {
    const OPERATOR: &'static str = "MatMul";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(MatMul)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        if !is_f32(model, inputs)? {
            return Ok(None);
        }
        Ok(Some(tvec!(product(&mut Composer::new(prefix, model), inputs[0], inputs[1])?)))
    }
}

/// Wires the product of two float32 tensors as numpy's `matmul` defines it: a vector on the left is a row, one on the right
/// a column, and the axis that this adds is not in the result.
pub fn product(composer: &mut Composer, mut left: OutletId, mut right: OutletId) -> TractResult<OutletId> {
    let vectors = [composer.fact(left)?.rank() == 1, composer.fact(right)?.rank() == 1];
    if vectors[0] {
        left = composer.wire(AxisOp::Add(0), &[left])?;
    }
    if vectors[1] {
        right = composer.wire(AxisOp::Add(1), &[right])?;
    }
    let mut product = composer.wire(crate::ops::MatMul, &[left, right])?;
    let rank = composer.fact(product)?.rank();
    if vectors[1] {
        product = composer.wire(AxisOp::Rm(rank - 1), &[product])?;
    }
    if vectors[0] {
        product = composer.wire(AxisOp::Rm(rank - 2), &[product])?;
    }
    Ok(product)
}
