//! `BitShift`: ONNX `BitShift` (28) of integers, which broadcast.
//!
//! Inputs: values and amounts of one integer type. Output: the type of the inputs. Amounts that are negative, or not smaller
//! than the width, shift every bit out: what is left is the sign of a signed value shifted right, else 0.

use super::plain::{Plain, broadcast_shape, zip_broadcast};
use tract_onnx::tract_hir::internal::*;

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
