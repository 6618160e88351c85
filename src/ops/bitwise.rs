//! `Bitwise`: ONNX `BitwiseAnd`, `BitwiseNot`, `BitwiseOr` and `BitwiseXor` (18).
//!
//! Inputs: integers of one type, which broadcast; `Not` has one. Output: their type.

use super::plain::{Plain, broadcast_shape};
use tract_core::broadcast::multi_broadcast;
use tract_core::internal::*;

/// What is computed of each bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bitwise {
    /// Whether both are set.
    And,
    /// Whether it is not set.
    Not,
    /// Whether one is set.
    Or,
    /// Whether they differ.
    Xor,
}

impl Plain for Bitwise {
    const NAME: &'static str = "Bitwise";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        let same = inputs.iter().all(|input| input.datum_type == datum_type);
        ensure!(datum_type.is_integer() && same, "{self:?} of {inputs:?}");
        ensure!(inputs.len() == if *self == Bitwise::Not { 1 } else { 2 }, "{self:?} of {} tensors", inputs.len());
        Ok(tvec!(datum_type.fact(broadcast_shape(inputs)?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.shape()).collect();
        let shape = multi_broadcast(&shapes)?;
        let mut result = inputs[0].broadcast_to_shape(&shape)?;
        if *self == Bitwise::Not {
            result.try_as_plain_ram_mut()?.as_bytes_mut().iter_mut().for_each(|byte| *byte = !*byte);
            return Ok(tvec!(result));
        }
        let other = inputs[1].broadcast_to_shape(&shape)?;
        let other = other.try_as_plain_ram()?;
        for (byte, other) in result.try_as_plain_ram_mut()?.as_bytes_mut().iter_mut().zip(other.as_bytes()) {
            *byte = match self {
                Bitwise::And => *byte & other,
                Bitwise::Or => *byte | other,
                _ => *byte ^ other,
            };
        }
        Ok(tvec!(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_shapes() {
        let cases = [
            (Bitwise::And, vec![tensor1(&[12u8, 10]), tensor0(6u8)], tensor1(&[4u8, 2])),
            (Bitwise::Or, vec![tensor2(&[[1i32], [256]]), tensor1(&[2i32, -1])], tensor2(&[[3i32, -1], [258, -1]])),
            (Bitwise::Xor, vec![tensor1(&[1u64 << 40]), tensor1(&[1u64])], tensor1(&[(1u64 << 40) + 1])),
            (Bitwise::Not, vec![tensor1(&[0i16, -1, 5])], tensor1(&[-1i16, 0, -6])),
        ];
        for (operation, inputs, expected) in cases {
            let inputs: Vec<TValue> = inputs.into_iter().map(IntoTValue::into_tvalue).collect();
            assert_eq!(operation.compute(&inputs).unwrap()[0], expected, "{operation:?}");
        }
    }
}
