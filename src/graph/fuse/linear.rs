//! A matrix product with constant weights, f32 or 8-bit with scales.

use super::Match;
use super::pattern::{producer, replace};
use crate::kernels::linear::LinearWeights;
use crate::ops::{DequantizeLinear, Linear, MatMul, f32_slice};
use tract_onnx::tract_hir::internal::*;

/// Looks for a product whose right operand is a constant matrix.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if !node.op_is::<MatMul>() {
        return Ok(Match::None);
    }
    let Some(weights) = weights(model, node.inputs[1])? else { return Ok(Match::None) };
    let operator = Linear::new(weights);
    Ok(Match::Found(replace(model, &node.name, operator, &node.inputs[..1], OutletId::new(node.id, 0))?))
}

fn weights(model: &TypedModel, outlet: OutletId) -> TractResult<Option<LinearWeights>> {
    let fact = model.outlet_fact(outlet)?;
    if fact.rank() != 2 {
        return Ok(None);
    }
    if let Some(constant) = &fact.konst {
        let (inputs, outputs) = (constant.shape()[0], constant.shape()[1]);
        return Ok(Some(LinearWeights::from_f32(f32_slice(constant)?, inputs, outputs, outputs, 1)));
    }
    let Some(quantized) = quantized(model, producer(model, outlet))? else { return Ok(None) };
    let [inputs, outputs] = quantized.shape;
    if quantized.scales.len() > 1 && quantized.axis != 1 {
        return Ok(None);
    }
    let Quantized { elements, scales, zero_points, .. } = &quantized;
    Ok(Some(LinearWeights::from_int8(elements, inputs, outputs, outputs, 1, scales, zero_points)?))
}

/// A constant 8-bit matrix with its scales.
pub struct Quantized {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Row-major; unsigned ones shifted by -128.
    pub elements: Vec<i8>,
    /// One, or as many as the matrix has along `axis`.
    pub scales: Vec<f32>,
    /// As many as scales, shifted like the elements, or none where they are zero.
    pub zero_points: Vec<i8>,
    /// Axis of the scales.
    pub axis: usize,
}

/// The 8-bit constant behind a `DequantizeLinear`.
pub fn quantized(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Quantized>> {
    let Some(operator) = node.op_as::<DequantizeLinear>() else { return Ok(None) };
    let Some(matrix) = model.outlet_fact(node.inputs[0])?.konst.clone() else { return Ok(None) };
    quantized_matrix(model, &matrix, operator, &node.inputs)
}

/// A constant 8-bit matrix with the scales and zero points that a `DequantizeLinear` of these inputs applies.
pub fn quantized_matrix(
    model: &TypedModel,
    matrix: &Tensor,
    operator: &DequantizeLinear,
    inputs: &[OutletId],
) -> TractResult<Option<Quantized>> {
    let konst = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.konst.clone());
    let Some(scales) = konst(inputs[1])? else { return Ok(None) };
    let zero_points = match inputs.get(2).map(|outlet| konst(*outlet)).transpose()? {
        Some(Some(zero_points)) => Some(zero_points),
        Some(None) => return Ok(None),
        None => None,
    };
    let (&[rows, columns], Some(elements)) = (matrix.shape(), signed(matrix)?) else { return Ok(None) };
    let zero_points = match (zero_points, matrix.datum_type() == u8::datum_type()) {
        (Some(zero_points), _) => signed(&zero_points)?.unwrap_or_default(),
        (None, true) => vec![i8::MIN; scales.volume()],
        (None, false) => vec![],
    };
    let scales = f32_slice(&scales)?.to_vec();
    Ok(Some(Quantized { shape: [rows, columns], elements, scales, zero_points, axis: operator.axis }))
}

fn signed(tensor: &Tensor) -> TractResult<Option<Vec<i8>>> {
    let view = tensor.try_as_plain_ram()?;
    Ok(if tensor.datum_type() == i8::datum_type() {
        Some(view.as_slice::<i8>()?.to_vec())
    } else if tensor.datum_type() == u8::datum_type() {
        Some(view.as_slice::<u8>()?.iter().map(|element| (element ^ 0x80) as i8).collect())
    } else {
        None
    })
}
