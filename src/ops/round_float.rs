//! `RoundFloat`: f32 rounded to the values of a 16-bit type, which is what ONNX `Cast` to that type and back does.
//!
//! Input and output: f32 of the same shape. Halves are rounded to even, what is too large becomes infinite.

use super::f32_slice;
use super::spare::written;
use half::{bf16, f16};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum RoundFloat {
    /// To float16.
    Float16,
    /// To bfloat16.
    BFloat16,
}

impl Op for RoundFloat {
    fn name(&self) -> StaticName {
        "RoundFloat".into()
    }

    op_as_typed_op!();
}

impl EvalOp for RoundFloat {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let round = match self {
            RoundFloat::Float16 => |value| f16::from_f32(value).to_f32(),
            RoundFloat::BFloat16 => |value| bf16::from_f32(value).to_f32(),
        };
        let output = written(inputs[0].shape(), |out| {
            out.iter_mut().zip(f32_slice(&inputs[0])?).for_each(|(out, value)| *out = round(*value));
            Ok(())
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for RoundFloat {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == f32::datum_type(), "RoundFloat takes float32");
        Ok(tvec!(f32::fact(inputs[0].shape.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn bits_are_lost() {
        // From ONNX Runtime 1.32: Cast to the type and back.
        let input = tensor(&[4], &[1.001, 3.1405, 1e5, -1e-7]);
        let cases: [(RoundFloat, &[f32]); 2] = [
            (RoundFloat::BFloat16, &[1.0, 3.140625, 99840.0, -1.0011718e-7]),
            (RoundFloat::Float16, &[1.0009766, 3.140625, f32::INFINITY, -1.1920929e-7]),
        ];
        for (operator, expected) in cases {
            let output = evaluate(&operator, std::slice::from_ref(&input)).unwrap();
            assert_eq!(f32_slice(&output).unwrap(), expected, "{operator:?}");
        }
        assert_close("none", &evaluate(&RoundFloat::Float16, &[tensor(&[0], &[])]).unwrap(), &[0], &[]);
    }
}
