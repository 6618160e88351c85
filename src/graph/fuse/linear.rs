//! A matrix product with constant weights, f32, or 8-bit or 4-bit with scales.

use super::Match;
use super::pattern::{producer, replace};
use crate::kernels::embedding::EmbeddingTable;
use crate::kernels::linear::{LinearWeights, Quantised};
use crate::ops::{DequantizeLinear, Linear, MatMul, f32_slice, runs, to_f32};
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
    Ok(quantized(model, producer(model, outlet))?.and_then(|quantized| quantized.linear_weights()))
}

/// A constant matrix of integers of 4 or 8 bits with its scales.
pub struct Quantized {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// How it is dequantised; bytes may hold two elements.
    pub operator: DequantizeLinear,
    /// The integers, as they are stored.
    elements: Arc<Tensor>,
    /// As the operator wants them.
    pub scales: Vec<f32>,
    /// As many as scales, or none where they are zero.
    zero_points: Vec<f32>,
}

impl Quantized {
    fn bits(&self) -> usize {
        8 / self.operator.in_byte()
    }

    /// What is added to make integers unsigned.
    fn offset(&self) -> u8 {
        let signed =
            self.operator.packed.map_or(self.elements.datum_type() == i8::datum_type(), |packed| packed.signed);
        if signed { 1 << (self.bits() - 1) } else { 0 }
    }

    /// The weights of a linear layer, where the scales vary along the rows in blocks, along the columns, or not at all.
    pub fn linear_weights(&self) -> Option<LinearWeights> {
        let [inputs, outputs] = self.shape;
        let (bits, offset, bytes) = (self.bits(), self.offset(), self.elements.as_bytes());
        let mask = ((1u32 << bits) - 1) as u8;
        let element = |k: usize, n: usize| {
            let position = (k * outputs + n) * bits;
            (bytes[position / 8] >> (position % 8)).wrapping_add(offset) & mask
        };
        let one_scale = self.scales.len() == 1;
        let block_size = match (self.operator.axis, self.operator.block_size) {
            _ if one_scale => inputs,
            (0, block_size @ 1..) => block_size,
            (1, 0) => inputs,
            _ => return None,
        };
        let at = |block: usize, n: usize| if one_scale { 0 } else { block * outputs + n };
        Some(LinearWeights::from_quantised(Quantised {
            bits,
            inputs,
            outputs,
            block_size: block_size.max(1),
            element,
            scale: |block, n| self.scales[at(block, n)],
            zero_point: Some(|block: usize, n: usize| {
                f32::from(offset) + self.zero_points.get(at(block, n)).copied().unwrap_or(0.0)
            }),
        }))
    }

    /// An embedding table, where each row, or all of it, has one scale and bytes hold one element.
    pub fn embedding_table(&self) -> TractResult<Option<EmbeddingTable>> {
        let by_row = self.scales.len() == 1 || (self.operator.axis, self.operator.block_size) == (0, 0);
        if self.bits() != 8 || !by_row {
            return Ok(None);
        }
        let ([rows, width], flip) = (self.shape, 0x80 ^ self.offset());
        let elements = self.elements.as_bytes().iter().map(|byte| (byte ^ flip) as i8).collect();
        let shift = if flip == 0 { 0.0 } else { 128.0 };
        let zero_points = match &*self.zero_points {
            [] => vec![-shift; self.scales.len()],
            zero_points => zero_points.iter().map(|zero_point| zero_point - shift).collect(),
        };
        let zero_points = zero_points.into_iter().map(|zero_point| zero_point as i8).collect();
        Ok(Some(EmbeddingTable::from_int8(elements, rows, width, self.scales.clone(), zero_points)?))
    }
}

/// The constant integers behind a `DequantizeLinear`.
pub fn quantized(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Quantized>> {
    let Some(operator) = node.op_as::<DequantizeLinear>() else { return Ok(None) };
    let Some(matrix) = model.outlet_fact(node.inputs[0])?.konst.clone() else { return Ok(None) };
    quantized_matrix(model, matrix, operator, &node.inputs)
}

/// Constant integers with the scales and zero points that a `DequantizeLinear` of these inputs applies.
pub fn quantized_matrix(
    model: &TypedModel,
    elements: Arc<Tensor>,
    operator: &DequantizeLinear,
    inputs: &[OutletId],
) -> TractResult<Option<Quantized>> {
    let konst = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.konst.clone());
    let Some(scales) = konst(inputs[1])? else { return Ok(None) };
    let zero_points = match inputs.get(2) {
        Some(outlet) => match konst(*outlet)? {
            Some(zero_points) => to_f32(&zero_points)?,
            None => return Ok(None),
        },
        None => vec![],
    };
    let byte_sized = [i8::datum_type(), u8::datum_type()].contains(&elements.datum_type());
    let &[rows, columns] = &*operator.unpacked_shape(elements.shape()) else { return Ok(None) };
    let fits = runs(&[rows, columns], operator.axis, operator.block_size, scales.shape()).is_ok()
        && (zero_points.is_empty() || zero_points.len() == scales.volume());
    if !byte_sized || !fits {
        return Ok(None);
    }
    let scales = f32_slice(&scales)?.to_vec();
    Ok(Some(Quantized { shape: [rows, columns], operator: operator.clone(), elements, scales, zero_points }))
}
