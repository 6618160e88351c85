//! `DequantizeLinear`: ONNX `DequantizeLinear` (10 to 28) to f32, per tensor, per axis or in blocks.
//!
//! Inputs: `x` int8, uint8, int16, uint16 or int32, narrow values perhaps packed as `packed` says; `scale` f32, of one
//! element, `[x.shape[axis]]`, or of `x`'s shape with `axis` cut into blocks; optionally `zero_point` of integers, or of
//! f32, of `scale`'s shape or of one element. Output: f32 of `x`'s (unpacked) shape, `(x - zero_point) * scale`.

use super::f32_slice;
use super::quantization::{QuantizedType, runs, to_f32};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DequantizeLinear {
    /// Axis along which the scales vary, where they do.
    pub axis: usize,
    /// Elements along `axis` that share a scale; 0 where scales are not given in blocks.
    pub block_size: usize,
    /// The type of the values where `x` is int8 or uint8 with several in a byte, the lowest bits first, along the last axis.
    pub packed: Option<QuantizedType>,
}

/// Folding a larger constant than this would throw its compact form away, and with it what the fused operators want.
const FOLDED: usize = 4096;

impl Op for DequantizeLinear {
    fn name(&self) -> StaticName {
        "DequantizeLinear".into()
    }

    op_as_typed_op!();
}

impl DequantizeLinear {
    /// Values in a byte.
    pub fn in_byte(&self) -> usize {
        self.packed.map_or(1, |packed| 8 / packed.bits as usize)
    }

    /// The shape of the values that a stored tensor holds.
    pub fn unpacked_shape<D: DimLike>(&self, stored: &[D]) -> TVec<D> {
        let mut shape: TVec<D> = stored.into();
        if let Some(last) = shape.last_mut() {
            *last = last.clone() * self.in_byte();
        }
        shape
    }

    fn values(&self, x: &Tensor) -> TractResult<Vec<f32>> {
        let Some(packed) = self.packed else { return to_f32(x) };
        let bytes = x.as_bytes();
        let (bits, mask) = (packed.bits, (1i32 << packed.bits) - 1);
        let unpacked = bytes.iter().flat_map(|byte| {
            (0..8 / bits).map(move |position| {
                let value = i32::from(*byte) >> (position * bits) & mask;
                (if value > packed.highest() { value - mask - 1 } else { value }) as f32
            })
        });
        Ok(unpacked.collect())
    }

    fn dequantize(&self, inputs: &[TValue]) -> TractResult<Tensor> {
        let scales = f32_slice(&inputs[1])?;
        let zero_points = inputs.get(2).map(|zero_points| to_f32(zero_points)).transpose()?;
        if let Some(zero_points) = &zero_points {
            let fits = zero_points.len() == scales.len() || zero_points.len() == 1;
            ensure!(fits, "as many zero points as scales are needed");
        }
        let shape = self.unpacked_shape(inputs[0].shape());
        let mut values = self.values(&inputs[0])?;
        for run in runs(&shape, self.axis, self.block_size, inputs[1].shape())? {
            for (index, value) in values[run.elements.clone()].iter_mut().enumerate() {
                let scale = run.scale(index);
                let zero_point = zero_points.as_ref().map_or(0.0, |zero_points| match **zero_points {
                    [one] => one,
                    ref each => each[scale],
                });
                *value = (*value - zero_point) * scales[scale];
            }
        }
        Tensor::from_shape(&shape, &values)
    }
}

impl EvalOp for DequantizeLinear {
    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        if inputs[0].volume() > FOLDED {
            return Ok(None);
        }
        Ok(Some(tvec!(self.dequantize(&inputs)?.into_tvalue())))
    }

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(tvec!(self.dequantize(&inputs)?.into_tvalue()))
    }
}

impl TypedOp for DequantizeLinear {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        let supported = QuantizedType::of(datum_type).is_some() || datum_type == i32::datum_type();
        ensure!(supported, "DequantizeLinear takes integers of 8, 16 or 32 bits, not {datum_type:?}");
        ensure!(inputs[1].datum_type == f32::datum_type(), "DequantizeLinear takes float32 scales");
        let packable = datum_type.size_of() == 1 && inputs[0].rank() > 0;
        ensure!(self.packed.is_none() || packable, "a packed tensor is one of bytes with at least one axis");
        Ok(tvec!(f32::fact(self.unpacked_shape(&inputs[0].shape))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn scales_of_every_granularity() {
        struct Case {
            axis: usize,
            block_size: usize,
            scale: (&'static [usize], &'static [f32]),
            zero_point: Option<&'static [u8]>,
            expected: Option<&'static [f32]>,
        }
        // x = [[0, 1, 2], [3, 4, 255]]; expected by (x - zero_point) * scale.
        let cases = [
            Case {
                axis: 0,
                block_size: 0,
                scale: (&[], &[0.5]),
                zero_point: None,
                expected: Some(&[0., 0.5, 1., 1.5, 2., 127.5]),
            },
            Case {
                axis: 0,
                block_size: 0,
                scale: (&[2], &[1., 2.]),
                zero_point: Some(&[1, 3]),
                expected: Some(&[-1., 0., 1., 0., 2., 504.]),
            },
            Case {
                axis: 1,
                block_size: 2,
                scale: (&[2, 2], &[1., 2., 3., 4.]),
                zero_point: Some(&[0, 1, 3, 5]),
                expected: Some(&[0., 1., 2., 0., 3., 1000.]),
            },
            Case { axis: 1, block_size: 0, scale: (&[2], &[1., 2.]), zero_point: None, expected: None },
            Case { axis: 0, block_size: 0, scale: (&[2], &[1., 2.]), zero_point: Some(&[1, 2, 3]), expected: None },
        ];
        for case in cases {
            let x = Tensor::from_shape(&[2, 3], &[0u8, 1, 2, 3, 4, 255]).unwrap();
            let mut inputs = vec![x, tensor(case.scale.0, case.scale.1)];
            inputs.extend(case.zero_point.map(|zero| Tensor::from_shape(&[zero.len()], zero).unwrap()));
            let operator = DequantizeLinear { axis: case.axis, block_size: case.block_size, packed: None };
            match (evaluate(&operator, &inputs), case.expected) {
                (Ok(output), Some(expected)) => assert_close("dequantized", &output, &[2, 3], expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{:?}", case.scale),
            }
        }
    }

    #[test]
    fn packed_values() {
        let cases: [(u32, bool, &[f32]); 4] = [
            (4, false, &[1., 2., 8., 15.]),
            (4, true, &[1., 2., -8., -1.]),
            (2, false, &[1., 0., 2., 0., 0., 2., 3., 3.]),
            (2, true, &[1., 0., -2., 0., 0., -2., -1., -1.]),
        ];
        for (bits, signed, expected) in cases {
            let x = Tensor::from_shape(&[1, 2], &[0x21u8, 0xf8]).unwrap();
            let packed = Some(QuantizedType { bits, signed });
            let operator = DequantizeLinear { axis: 0, block_size: 0, packed };
            let output = evaluate(&operator, &[x, tensor(&[], &[1.0])]).unwrap();
            assert_close("packed", &output, &[1, expected.len()], expected);
        }
    }
}
