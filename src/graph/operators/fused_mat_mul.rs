//! com.microsoft `FusedMatMul` and its older name `TransposeMatMul`: `alpha · A × B` in float32, the operands transposed
//! first. Attributes: `transBatchA`, `transBatchB` (the first axis goes before the last), `transA`, `transB` (the last two
//! axes are swapped, but not those of a vector), `alpha`.

use super::compose::Composer;
use super::gemm::linear;
use super::mat_mul::product;
use super::{Wiring, float, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::mul;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct FusedMatMul {
    left: Transposition,
    right: Transposition,
    alpha: f32,
}

/// How an operand is transposed.
#[derive(Debug, Clone, Copy)]
struct Transposition {
    batch: bool,
    matrix: bool,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct TransposeMatMul(FusedMatMul);

impl Wiring for FusedMatMul {
    const OPERATOR: &'static str = "com.microsoft.FusedMatMul";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["transA", "transB", "transBatchA", "transBatchB", "alpha"])?;
        let transposition =
            |matrix, batch| Transposition { batch: int(node, batch, 0) != 0, matrix: int(node, matrix, 0) != 0 };
        Ok(FusedMatMul {
            left: transposition("transA", "transBatchA"),
            right: transposition("transB", "transBatchB"),
            alpha: float(node, "alpha").unwrap_or(1.0),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        ensure!(inputs.len() == 2, "it takes 2 inputs");
        let composer = &mut Composer::new(prefix, model);
        let left = self.left.wire(composer, inputs[0])?;
        let constant =
            if self.right.batch { None } else { linear(composer, inputs[1], self.right.matrix, self.alpha)? };
        if let Some(linear) = constant {
            return Ok(tvec!(composer.wire(linear, &[left])?));
        }
        let right = self.right.wire(composer, inputs[1])?;
        let product = product(composer, left, right)?;
        Ok(tvec!(if self.alpha == 1.0 { product } else { composer.binary_with(mul(), product, self.alpha)? }))
    }
}

impl Transposition {
    fn wire(self, composer: &mut Composer, mut operand: OutletId) -> TractResult<OutletId> {
        let rank = composer.fact(operand)?.rank();
        if self.batch && rank > 2 {
            operand = composer.wire(AxisOp::Move(0, rank - 2), &[operand])?;
        }
        if self.matrix && rank > 1 {
            operand = composer.wire(AxisOp::Move(rank - 2, rank - 1), &[operand])?;
        }
        Ok(operand)
    }
}

impl Wiring for TransposeMatMul {
    const OPERATOR: &'static str = "com.microsoft.TransposeMatMul";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        FusedMatMul::parse(node, opset).map(TransposeMatMul)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs)
    }
}
