//! `NarrowInteger`: ONNX `Cast` to int4, uint4, int2 and uint2, whose values are held as int8 and uint8.
//!
//! Input: numbers or booleans. Output: int8 or uint8 of the same shape; f32 is rounded to the nearest, halves away from
//! zero, and of every integer the lowest bits are kept.

use super::f32_slice;
use super::quantization::QuantizedType;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct NarrowInteger(pub QuantizedType);

impl Op for NarrowInteger {
    fn name(&self) -> StaticName {
        "NarrowInteger".into()
    }

    op_as_typed_op!();
}

impl EvalOp for NarrowInteger {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let integers: Vec<i64> = if input.datum_type() == f32::datum_type() {
            f32_slice(input)?.iter().map(|value| value.round() as i64).collect()
        } else {
            input.cast_to::<i64>()?.try_as_plain_ram()?.as_slice::<i64>()?.to_vec()
        };
        let NarrowInteger(target) = *self;
        let mask = (1i64 << target.bits) - 1;
        let kept = integers.into_iter().map(|value| {
            let kept = (value & mask) as i32;
            if kept > target.highest() { kept - (mask as i32 + 1) } else { kept }
        });
        Ok(tvec!(target.tensor(input.shape(), kept)?.into_tvalue()))
    }
}

impl TypedOp for NarrowInteger {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.0.datum_type().fact(inputs[0].shape.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{evaluate, tensor};
    use super::*;

    #[test]
    fn lowest_bits_are_kept() {
        // From ONNX Runtime 1.32.
        let values = [-20., -8.5, -3.5, -0.5, 0.5, 3.7, 7.5, 16.];
        let cases: [(u32, bool, [i32; 8]); 4] = [
            (4, true, [-4, 7, -4, -1, 1, 4, -8, 0]),
            (4, false, [12, 7, 12, 15, 1, 4, 8, 0]),
            (2, true, [0, -1, 0, -1, 1, 0, 0, 0]),
            (2, false, [0, 3, 0, 3, 1, 0, 0, 0]),
        ];
        for (bits, signed, expected) in cases {
            let output = evaluate(&NarrowInteger(QuantizedType { bits, signed }), &[tensor(&[8], &values)]).unwrap();
            let output = output.cast_to::<i32>().unwrap().into_owned();
            assert_eq!(output, Tensor::from_shape(&[8], &expected).unwrap(), "{bits} {signed}");
        }
        let integers = Tensor::from_shape(&[3], &[-9i64, 31, 200]).unwrap();
        let output = evaluate(&NarrowInteger(QuantizedType { bits: 4, signed: true }), &[integers]).unwrap();
        assert_eq!(output, Tensor::from_shape(&[3], &[7i8, -1, -8]).unwrap());
    }
}
