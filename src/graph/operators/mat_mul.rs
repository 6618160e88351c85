//! ONNX `MatMul` (9 to 13): matrices of float32 become [`MatMul`](crate::ops::MatMul), those of integers [`IntegerMatMul`],
//! those of float64 [`EinSum`].

use super::compose::Composer;
use super::{Wiring, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::einsum::EinSum;
use crate::ops::integer_mat_mul::IntegerMatMul;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::change_axes::wire_rank_broadcast;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MatMul;

impl Wiring for MatMul {
    const OPERATOR: &'static str = "MatMul";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(MatMul)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        Ok(tvec!(product(&mut Composer::new(prefix, model), inputs[0], inputs[1])?))
    }
}

/// Wires the product of two tensors as numpy's `matmul` defines it: a vector on the left is a row, one on the right
/// a column, and the axis that this adds is not in the result.
pub fn product(composer: &mut Composer, mut left: OutletId, mut right: OutletId) -> TractResult<OutletId> {
    ensure!(composer.fact(left)?.rank() > 0 && composer.fact(right)?.rank() > 0, "a scalar cannot be multiplied");
    let vectors = [composer.fact(left)?.rank() == 1, composer.fact(right)?.rank() == 1];
    if vectors[0] {
        left = composer.wire(AxisOp::Add(0), &[left])?;
    }
    if vectors[1] {
        right = composer.wire(AxisOp::Add(1), &[right])?;
    }
    let mut product = matrices(composer, left, right)?;
    let rank = composer.fact(product)?.rank();
    if vectors[1] {
        product = composer.wire(AxisOp::Rm(rank - 1), &[product])?;
    }
    if vectors[0] {
        product = composer.wire(AxisOp::Rm(rank - 2), &[product])?;
    }
    Ok(product)
}

fn matrices(composer: &mut Composer, left: OutletId, right: OutletId) -> TractResult<OutletId> {
    let datum_type = composer.fact(left)?.datum_type;
    if datum_type == f32::datum_type() {
        return composer.wire(crate::ops::MatMul, &[left, right]);
    }
    let name = composer.name("ranks");
    let inputs = wire_rank_broadcast(name, composer.model(), &[left, right])?;
    if datum_type.is_integer() {
        return composer.wire(PlainOperator(IntegerMatMul), &inputs);
    }
    if datum_type != f64::datum_type() {
        return Err(unsupported("only float32, float64 and integers are supported"));
    }
    let rank = composer.fact(inputs[0])?.rank();
    composer.wire(PlainOperator(product_of_letters(rank)?), &inputs)
}

/// The product of two stacks of matrices of that rank.
fn product_of_letters(rank: usize) -> TractResult<EinSum> {
    let batch: String = ('a'..='w').take(rank - 2).collect();
    ensure!(batch.len() + 2 == rank, "a product of tensors of rank {rank}");
    let operands = vec![format!("{batch}xy"), format!("{batch}yz")];
    Ok(EinSum { operands, result: format!("{batch}xz") })
}
