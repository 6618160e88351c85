//! `BitShift`: ONNX `BitShift` (28) of integers, which broadcast.
//!
//! Inputs: values and amounts of one integer type. Output: the type of the inputs. Amounts that are negative, or not smaller
//! than the width, shift every bit out: what is left is the sign of a signed value shifted right, else 0.

use super::plain::{Plain, broadcast_shape, zip_broadcast};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct BitShift {
    /// Towards the high bits.
    pub left: bool,
}

impl Plain for BitShift {
    const NAME: &'static str = "BitShift";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        ensure!(datum_type.is_integer() && datum_type == inputs[1].datum_type, "integers of one type are needed");
        Ok(tvec!(datum_type.fact(broadcast_shape(inputs)?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        macro_rules! shift {
            ($($variant:ident $type:ty),*) => {
                match inputs[0].datum_type() {
                    $(DatumType::$variant => zip_broadcast(&inputs[0], &inputs[1], |value: $type, amount: $type| {
                        let amount = u32::try_from(amount).ok().filter(|amount| *amount < <$type>::BITS);
                        match amount {
                            Some(amount) if self.left => value << amount,
                            Some(amount) => value >> amount,
                            None if self.left => 0,
                            None => value >> (<$type>::BITS - 1) >> 1,
                        }
                    })?,)*
                    other => bail!("{other:?} cannot be shifted"),
                }
            };
        }
        Ok(tvec!(shift!(U8 u8, U16 u16, U32 u32, U64 u64, I8 i8, I16 i16, I32 i32, I64 i64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_any_size() {
        let cases = [
            (true, tensor1(&[1u8, 128, 3]), tensor1(&[1u8, 1, 8]), tensor1(&[2u8, 0, 0])),
            (false, tensor1(&[255u8, 255]), tensor1(&[7u8, 200]), tensor1(&[1u8, 0])),
            (false, tensor1(&[-8i32, -8, 8]), tensor1(&[1i32, 32, -1]), tensor1(&[-4i32, -1, 0])),
            (true, tensor1(&[-8i64, 1]), tensor1(&[63i64, -1]), tensor1(&[0i64, 0])),
            (true, tensor2(&[[1u16], [2]]), tensor1(&[0u16, 15]), tensor2(&[[1u16, 32768], [2, 0]])),
        ];
        for (left, values, amounts, expected) in cases {
            let inputs = [values.into_tvalue(), amounts.into_tvalue()];
            assert_eq!(BitShift { left }.compute(&inputs).unwrap()[0], expected, "{inputs:?}");
        }
    }

    #[test]
    fn refused() {
        let shift = BitShift { left: true };
        assert!(shift.facts(&[&f32::fact([2]), &f32::fact([2])]).is_err(), "no integers");
        assert!(shift.facts(&[&u8::fact([2]), &u16::fact([2])]).is_err(), "two types");
    }
}
