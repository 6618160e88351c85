//! `BitCast`: ONNX `BitCast` (26): the same bytes as elements of another type of the same width.
//!
//! Input and output: numbers and booleans of 8 to 64 bits.

use super::plain::Plain;
use crate::error::Error;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct BitCast {
    /// The type to read the bytes as.
    pub to: DatumType,
}

impl Plain for BitCast {
    const NAME: &'static str = "BitCast";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let from = inputs[0].datum_type;
        ensure!(from.size_of() == self.to.size_of(), "{from:?} and {:?} differ in width", self.to);
        Ok(tvec!(self.to.fact(inputs[0].shape.to_tvec())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let bytes = inputs[0].try_as_plain_ram()?.as_bytes();
        if self.to == bool::datum_type() && bytes.iter().any(|byte| *byte > 1) {
            return Err(Error::invalid_input("a byte other than 0 and 1 is no boolean").op("BitCast").into());
        }
        let mut output = Tensor::zero_dt(self.to, inputs[0].shape())?;
        output.try_as_plain_ram_mut()?.as_bytes_mut().copy_from_slice(bytes);
        Ok(tvec!(output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay() {
        let cases = [
            (tensor1(&[1.0f32, -0.0]), tensor1(&[0x3f80_0000u32, 0x8000_0000])),
            (tensor1(&[0x7ff0_0000_0000_0000i64]), tensor1(&[f64::INFINITY])),
            (tensor1(&[-1i8, 0]), tensor1(&[255u8, 0])),
            (tensor1(&[1u8, 0]), tensor1(&[true, false])),
        ];
        for (input, expected) in cases {
            let output = BitCast { to: expected.datum_type() }.compute(&[input.clone().into_tvalue()]).unwrap();
            assert_eq!(output[0], expected, "{input:?}");
        }
    }

    #[test]
    fn refused() {
        let narrow = BitCast { to: u8::datum_type() };
        assert!(narrow.facts(&[&f32::fact([2])]).is_err(), "another width");
        let boolean = BitCast { to: bool::datum_type() };
        assert!(boolean.compute(&[tensor1(&[0u8, 2]).into_tvalue()]).is_err(), "no boolean");
    }
}
