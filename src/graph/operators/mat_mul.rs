//! ONNX `MatMul` (9 to 13): matrices of f32 become [`MatMul`](crate::ops::MatMul), those of integers [`IntegerMatMul`];
//! float64 is left to tract. A vector is a matrix of one row or, on the right, of one column.

use super::Wiring;
use crate::ops::integer_mat_mul::IntegerMatMul;
use crate::ops::plain::PlainOperator;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::change_axes::wire_rank_broadcast;
use tract_onnx::tract_hir::tract_core::ops::einsum::prefix_matmul::PrefixMatMul;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MatMul;

impl Wiring for MatMul {
    const OPERATOR: &'static str = "MatMul";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &[])?;
        Ok(MatMul)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let ranks = [model.outlet_fact(inputs[0])?.rank(), model.outlet_fact(inputs[1])?.rank()];
        ensure!(!ranks.contains(&0), "a scalar cannot be multiplied");
        let vectors = ranks.map(|rank| rank == 1);
        let [mut left, mut right] = [inputs[0], inputs[1]];
        if vectors[0] {
            left = model.wire_node(format!("{prefix}.row"), AxisOp::Add(0), &[left])?[0];
        }
        if vectors[1] {
            right = model.wire_node(format!("{prefix}.column"), AxisOp::Add(1), &[right])?[0];
        }
        if vectors == [false, false] {
            return self.matrices(prefix, model, &[left, right]).map(Some);
        }
        let mut product = self.matrices(&format!("{prefix}.product"), model, &[left, right])?;
        let rank = model.outlet_fact(product[0])?.rank();
        let axes = [(vectors[1], rank - 1, "no_column"), (vectors[0], rank - 2, "no_row")];
        for (_, axis, name) in axes.into_iter().filter(|(vector, _, _)| *vector) {
            product = model.wire_node(format!("{prefix}.{name}"), AxisOp::Rm(axis), &product)?;
        }
        Ok(Some(product))
    }
}

impl MatMul {
    fn matrices(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let datum_type = model.outlet_fact(inputs[0])?.datum_type;
        if datum_type == f32::datum_type() {
            return model.wire_node(prefix, crate::ops::MatMul, inputs);
        }
        let inputs = wire_rank_broadcast(prefix, model, inputs)?;
        if datum_type.is_integer() {
            return model.wire_node(prefix, PlainOperator(IntegerMatMul), &inputs);
        }
        let product = PrefixMatMul {
            transpose_a: false,
            transpose_b: false,
            transpose_c: false,
            quantize_output: None,
            operating_dt: None,
        };
        model.wire_node(prefix, product, &inputs)
    }
}
