//! `Lookup`: a function of integers of 8 or 16 bits, by a table of its values. It is what is left of an activation between
//! roundings.
//!
//! Input: int8, uint8, int16 or uint16 of any shape. Output: of the table's type, of the same shape.

use super::Shared;
use super::plain::{Plain, elements, tensor_of};
use super::quantization::QuantizedType;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// The function's values for each integer of the input's type, from the least to the greatest: f32, or integers of 8 or
    /// 16 bits.
    pub table: Shared<Tensor>,
}

impl Plain for Lookup {
    const NAME: &'static str = "Lookup";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        let integers = QuantizedType::of(datum_type).context("Lookup takes integers of 8 or 16 bits")?;
        let values = 1 << integers.bits;
        ensure!(self.table.volume() == values, "a table of {values} values is needed for {datum_type:?}");
        Ok(tvec!(self.table.datum_type().fact(inputs[0].shape.clone())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let places = places(&inputs[0])?;
        ensure!(places.iter().all(|place| *place < self.table.volume()), "the table is too short");
        macro_rules! values {
            ($($variant:ident $type:ty),*) => {
                match self.table.datum_type() {
                    $(DatumType::$variant => {
                        let table = elements::<$type>(&self.table)?;
                        tensor_of(inputs[0].shape(), &places.iter().map(|place| table[*place]).collect::<Vec<_>>())?
                    })*
                    other => bail!("a table of {other:?} is not supported"),
                }
            };
        }
        Ok(tvec!(values!(F32 f32, I8 i8, U8 u8, I16 i16, U16 u16)))
    }
}

/// Where the value of each integer stands.
fn places(integers: &Tensor) -> TractResult<Vec<usize>> {
    Ok(match integers.datum_type() {
        DatumType::U8 => elements::<u8>(integers)?.iter().map(|integer| usize::from(*integer)).collect(),
        DatumType::I8 => elements::<i8>(integers)?.iter().map(|integer| usize::from(*integer as u8 ^ 0x80)).collect(),
        DatumType::U16 => elements::<u16>(integers)?.iter().map(|integer| usize::from(*integer)).collect(),
        DatumType::I16 => {
            elements::<i16>(integers)?.iter().map(|integer| usize::from(*integer as u16 ^ 0x8000)).collect()
        }
        other => bail!("Lookup takes integers of 8 or 16 bits, not {other:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type() {
        struct Case {
            input: Tensor,
            table: Tensor,
            expected: Option<Tensor>,
        }
        let squares: Vec<f32> = (0..256).map(|x| (x * x) as f32).collect();
        let case = |input, table: &Tensor, expected| Case { input, table: table.clone(), expected };
        // The values are those of the place: x², x + 1 and x + 2.
        let floats = tensor1(&squares);
        let bytes = tensor1(&(0..256).map(|x| (x + 1) as u8).collect::<Vec<_>>());
        let words = tensor1(&(0..65536).map(|x| (x + 2) as u16).collect::<Vec<_>>());
        let cases = [
            case(tensor1(&[0u8, 3, 255]), &floats, Some(tensor1(&[0f32, 9.0, 65025.0]))),
            case(tensor1(&[-128i8, -125, 127]), &floats, Some(tensor1(&[0f32, 9.0, 65025.0]))),
            case(tensor1(&[4u8, 255]), &bytes, Some(tensor1(&[5u8, 0]))),
            case(tensor1(&[4u16, 65535]), &words, Some(tensor1(&[6u16, 1]))),
            case(tensor1(&[i16::MIN, i16::MAX]), &words, Some(tensor1(&[2u16, 1]))),
            case(tensor1(&[256u16]), &floats, None),
            case(tensor1(&[1i32]), &floats, None),
        ];
        for case in cases {
            let input = case.input.into_tvalue();
            let operator = Lookup { table: Shared::new(case.table) };
            let output = operator.compute(std::slice::from_ref(&input)).ok().map(|mut outputs| outputs.remove(0));
            assert_eq!(output, case.expected, "{input:?}");
        }
    }
}
