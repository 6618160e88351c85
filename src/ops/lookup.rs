//! `Lookup`: a function of integers of 8 or 16 bits, by a table of its values. It is what is left of an activation between
//! roundings.
//!
//! Input: int8, uint8, int16 or uint16 of any shape. Output: of the table's type, of the same shape.

use super::Shared;
use super::plain::{Plain, elements, tensor_of};
use super::quantization::QuantizedType;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// The function's values for each integer of the input's type, from the least to the greatest: f32, or integers of 8 or
    /// 16 bits.
    pub table: Shared<Tensor>,
}

impl Lookup {
    /// Checks that the table has a value for each integer of that type.
    fn check(&self, datum_type: DatumType) -> TractResult<()> {
        let integers = QuantizedType::of(datum_type);
        let integers =
            integers.with_context(|| format!("Lookup takes integers of 8 or 16 bits, not {datum_type:?}"))?;
        let values = 1 << integers.bits;
        ensure!(self.table.volume() == values, "a table of {values} values is needed for {datum_type:?}");
        Ok(())
    }
}

impl Plain for Lookup {
    const NAME: &'static str = "Lookup";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.check(inputs[0].datum_type)?;
        Ok(tvec!(self.table.datum_type().fact(inputs[0].shape.clone())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let integers: &Tensor = &inputs[0];
        self.check(integers.datum_type())?;
        Ok(tvec!(match self.table.datum_type() {
            DatumType::F32 => looked_up::<f32>(integers, &self.table)?,
            DatumType::I8 => looked_up::<i8>(integers, &self.table)?,
            DatumType::U8 => looked_up::<u8>(integers, &self.table)?,
            DatumType::I16 => looked_up::<i16>(integers, &self.table)?,
            DatumType::U16 => looked_up::<u16>(integers, &self.table)?,
            other => bail!("a table of {other:?} is not supported"),
        }))
    }
}

/// The values of integers, from a table that has one for each of their type.
fn looked_up<T: Datum + Copy>(integers: &Tensor, table: &Tensor) -> TractResult<Tensor> {
    let table = elements::<T>(table)?;
    let signed_byte = |integer: &i8| table[usize::from(*integer as u8 ^ 0x80)];
    let signed_word = |integer: &i16| table[usize::from(*integer as u16 ^ 0x8000)];
    let values: Vec<T> = match integers.datum_type() {
        DatumType::U8 => elements::<u8>(integers)?.iter().map(|integer| table[usize::from(*integer)]).collect(),
        DatumType::I8 => elements::<i8>(integers)?.iter().map(signed_byte).collect(),
        DatumType::U16 => elements::<u16>(integers)?.iter().map(|integer| table[usize::from(*integer)]).collect(),
        DatumType::I16 => elements::<i16>(integers)?.iter().map(signed_word).collect(),
        other => bail!("Lookup takes integers of 8 or 16 bits, not {other:?}"),
    };
    tensor_of(integers.shape(), &values)
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
            case(tensor1(&[1u8]), &words, None),
            case(tensor1(&[1u16]), &bytes, None),
        ];
        for case in cases {
            let input = case.input.into_tvalue();
            let operator = Lookup { table: Shared::new(case.table) };
            let output = operator.compute(std::slice::from_ref(&input)).ok().map(|mut outputs| outputs.remove(0));
            assert_eq!(output, case.expected, "{input:?}");
        }
    }
}
