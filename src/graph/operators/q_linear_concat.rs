//! com.microsoft `QLinearConcat` (1): the output's f32 scale and zero point, then values, scale and zero point of each tensor;
//! all int8 or all uint8. Each is quantised again with the output's scale.

use super::compose::Composer;
use super::quantized::{Quantized, dequantize, quantize};
use super::{Wiring, axis_of, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::array::TypedConcat;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QLinearConcat {
    axis: i64,
}

impl Wiring for QLinearConcat {
    const OPERATOR: &'static str = "com.microsoft.QLinearConcat";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis"])?;
        let complete = node.input.len() > 2 && node.input.len() % 3 == 2 && !node.input.iter().any(String::is_empty);
        ensure!(complete, "values, scale and zero point of every tensor are needed");
        Ok(QLinearConcat { axis: int(node, "axis", 0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let (parts, _) = inputs[2..].as_chunks::<3>();
        let scales: Vec<OutletId> = parts.iter().map(|part| part[1]).chain([inputs[0]]).collect();
        if !is_f32(model, &scales)? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let axis = axis_of(self.axis, composer.fact(inputs[2])?.rank())?;
        let shape = composer.shape(inputs[2])?;
        let mut requantized = TVec::new();
        for [values, scale, zero_point] in parts {
            let other = composer.shape(*values)?;
            ensure!(other.len() == shape.len(), "tensors of shapes {shape:?} and {other:?}");
            let differ = (0..shape.len()).filter(|at| *at != axis && other[*at] != shape[*at]);
            let values = composer.known_sizes(*values, differ.map(|at| (at, shape[at].clone())).collect())?;
            let quantized = Quantized { values, scale: *scale, zero_point: Some(*zero_point) };
            let values = dequantize(composer, quantized, 0)?;
            requantized.push(quantize(composer, values, inputs[0], Some(inputs[1]), inputs[2])?);
        }
        Ok(tvec!(composer.wire(TypedConcat::new(axis), &requantized)?))
    }
}
