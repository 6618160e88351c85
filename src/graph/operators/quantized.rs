//! What the operators on quantised tensors share.

use super::compose::Composer;
use super::{attribute, unsupported};
use crate::onnx::pb::{AttributeProto, NodeProto};
use crate::ops::plain::PlainOperator;
use crate::ops::{DequantizeLinear, MatMulInteger, QuantizeLinear, QuantizedType, Requantize};
use tract_core::internal::*;

/// A quantised tensor with its scale and, where it is given, its zero point.
#[derive(Debug, Clone, Copy)]
pub struct Quantized {
    /// The integers.
    pub values: OutletId,
    /// f32.
    pub scale: OutletId,
    /// Integers; 0 without them.
    pub zero_point: Option<OutletId>,
}

/// The zero point of `values`, or a constant 0 of their type.
pub fn zero_point(composer: &mut Composer, zero_point: Option<OutletId>, values: OutletId) -> TractResult<OutletId> {
    if let Some(zero_point) = zero_point {
        return Ok(zero_point);
    }
    let datum_type = composer.fact(values)?.datum_type;
    composer.constant(Tensor::zero_scalar_dt(datum_type)?)
}

/// The values as f32, with one scale, or one for each index of `axis`.
pub fn dequantize(composer: &mut Composer, quantized: Quantized, axis: usize) -> TractResult<OutletId> {
    let Quantized { values, scale, zero_point } = quantized;
    let inputs: TVec<OutletId> = [values, scale].into_iter().chain(zero_point).collect();
    composer.wire(DequantizeLinear { axis, block_size: 0, packed: None }, &inputs)
}

/// f32 values quantised to the type of `like`, with one scale.
pub fn quantize(
    composer: &mut Composer,
    values: OutletId,
    scale: OutletId,
    zero_point: Option<OutletId>,
    like: OutletId,
) -> TractResult<OutletId> {
    let output = quantized_type(composer, like)?;
    let inputs: TVec<OutletId> = [values, scale].into_iter().chain(zero_point).collect();
    composer.wire(QuantizeLinear { axis: 0, block_size: 0, output }, &inputs)
}

/// The integer type of an outlet.
pub fn quantized_type(composer: &Composer, outlet: OutletId) -> TractResult<QuantizedType> {
    let datum_type = composer.fact(outlet)?.datum_type;
    QuantizedType::of(datum_type)
        .ok_or_else(|| unsupported(format!("tensors of type {datum_type:?} are not supported")))
}

/// `MatMulInteger` of operands of any rank; the product has the ranks that NumPy's `matmul` gives it.
pub fn integer_product(
    composer: &mut Composer,
    mut operands: [OutletId; 2],
    zero_points: [Option<OutletId>; 2],
) -> TractResult<OutletId> {
    let ranks = [composer.fact(operands[0])?.rank(), composer.fact(operands[1])?.rank()];
    ensure!(!ranks.contains(&0), "a product of scalars");
    if ranks[0] == 1 {
        operands[0] = composer.wire(AxisOp::Add(0), &operands[..1])?;
    }
    if ranks[1] == 1 {
        operands[1] = composer.wire(AxisOp::Add(1), &operands[1..])?;
    }
    let [left, right] = operands;
    let zero_points = [zero_point(composer, zero_points[0], left)?, zero_point(composer, zero_points[1], right)?];
    let inputs = [operands[0], operands[1], zero_points[0], zero_points[1]];
    let mut product = composer.wire(PlainOperator(MatMulInteger), &inputs)?;
    let rank = composer.fact(product)?.rank();
    if ranks[1] == 1 {
        product = composer.wire(AxisOp::Rm(rank - 1), &[product])?;
    }
    if ranks[0] == 1 {
        let axis = composer.fact(product)?.rank() - if ranks[1] == 1 { 1 } else { 2 };
        product = composer.wire(AxisOp::Rm(axis), &[product])?;
    }
    Ok(product)
}

/// Sums of products of operands with these scales as f32; the right operand's vary along `axis`.
pub fn scaled(composer: &mut Composer, sums: OutletId, scales: [OutletId; 2], axis: usize) -> TractResult<OutletId> {
    let operator = Requantize { axis, alpha: 1.0, output: None };
    composer.wire(PlainOperator(operator), &[sums, scales[0], scales[1]])
}

/// The last axis of an outlet; 0 of a scalar.
pub fn last_axis(composer: &Composer, outlet: OutletId) -> TractResult<usize> {
    Ok(composer.fact(outlet)?.rank().saturating_sub(1))
}

/// A node of ONNX's own operators, with these inputs, as other operators are made of.
pub fn node(op_type: &str, inputs: usize, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        input: (0..inputs).map(|position| format!("input {position}")).collect(),
        output: vec!["output".into()],
        attribute,
        ..Default::default()
    }
}

/// Those attributes of a node that have these names.
pub fn attributes(node: &NodeProto, names: &[&str]) -> Vec<AttributeProto> {
    names.iter().filter_map(|name| attribute(node, name).cloned()).collect()
}

/// A tensor whose channels stand last with the channels after the batch.
pub fn channels_first(composer: &mut Composer, x: OutletId) -> TractResult<OutletId> {
    let last = composer.fact(x)?.rank().checked_sub(1).filter(|last| *last > 0).context("channels need an axis")?;
    composer.wire(AxisOp::Move(last, 1), &[x])
}

/// The opposite of [`channels_first`].
pub fn channels_last(composer: &mut Composer, x: OutletId) -> TractResult<OutletId> {
    let last = composer.fact(x)?.rank().checked_sub(1).filter(|last| *last > 0).context("channels need an axis")?;
    composer.wire(AxisOp::Move(1, last), &[x])
}
