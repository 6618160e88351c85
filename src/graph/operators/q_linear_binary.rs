//! com.microsoft `QLinearAdd` and `QLinearMul` (1): `A` and `B` both int8 or both uint8, which broadcast; f32 scales and
//! optional zero points of both and of the output, one each.

use super::compose::Composer;
use super::quantized::zero_point;
use super::{Wiring, input, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::QLinearBinary;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::change_axes::wire_rank_broadcast;

/// com.microsoft `QLinearAdd`.
#[derive(Debug, Clone)]
pub struct QLinearAdd(Operands);

/// com.microsoft `QLinearMul`.
#[derive(Debug, Clone)]
pub struct QLinearMul(Operands);

/// Where the inputs stand.
#[derive(Debug, Clone)]
struct Operands([Option<usize>; 8]);

impl Wiring for QLinearAdd {
    const OPERATOR: &'static str = "com.microsoft.QLinearAdd";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        Operands::of(node).map(QLinearAdd)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(QLinearBinary::Add, prefix, model, inputs)
    }
}

impl Wiring for QLinearMul {
    const OPERATOR: &'static str = "com.microsoft.QLinearMul";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        Operands::of(node).map(QLinearMul)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(QLinearBinary::Mul, prefix, model, inputs)
    }
}

impl Operands {
    fn of(node: &NodeProto) -> TractResult<Operands> {
        only_attributes(node, &[])?;
        Ok(Operands(std::array::from_fn(|position| input(node, position))))
    }

    fn wire(
        &self,
        operator: QLinearBinary,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let [a, a_scale, a_zero, b, b_scale, b_zero, scale, zero] =
            self.0.map(|position| position.map(|at| inputs[at]));
        let required = |input: Option<OutletId>| input.context("values and scales are needed");
        let scales = [required(a_scale)?, required(b_scale)?, required(scale)?];
        if !is_f32(model, &scales)? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let operands = wire_rank_broadcast(format!("{prefix}.rank"), model, &[required(a)?, required(b)?])?;
        let composer = &mut Composer::new(prefix, model);
        let a_zero = zero_point(composer, a_zero, operands[0])?;
        let b_zero = zero_point(composer, b_zero, operands[1])?;
        let zero = zero_point(composer, zero, operands[0])?;
        let inputs = [operands[0], scales[0], a_zero, operands[1], scales[1], b_zero, scales[2], zero];
        Ok(tvec!(composer.wire(PlainOperator(operator), &inputs)?))
    }
}
