//! `CastToInteger`: floating-point numbers to integers, as ONNX Runtime casts them: towards zero. ONNX leaves open what
//! becomes of numbers out of range; they become what ONNX Runtime gives on x86-64.
//!
//! Input: f32 or f64. Output: `to`.

use super::plain::{Plain, elements, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct CastToInteger {
    /// An integer type.
    pub to: DatumType,
}

impl Plain for CastToInteger {
    const NAME: &'static str = "CastToInteger";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(self.to.is_integer(), "{:?} is no integer type", self.to);
        Ok(tvec!(self.to.fact(inputs[0].shape.to_tvec())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let numbers = inputs[0].cast_to::<f64>()?;
        let (shape, numbers) = (numbers.shape(), elements::<f64>(&numbers)?);
        macro_rules! cast {
            ($type:ty, $convert:expr) => {
                tensor_of(shape, &numbers.iter().map(|number| $convert(*number) as $type).collect::<Vec<$type>>())?
            };
        }
        Ok(tvec!(match self.to {
            DatumType::I8 => cast!(i8, to_i32),
            DatumType::U8 => cast!(u8, to_i32),
            DatumType::I16 => cast!(i16, to_i32),
            DatumType::U16 => cast!(u16, to_i32),
            DatumType::I32 => cast!(i32, to_i32),
            DatumType::U32 => cast!(u32, to_i64),
            DatumType::I64 => cast!(i64, to_i64),
            DatumType::U64 => cast!(u64, to_u64),
            other => bail!("{other:?} is no integer type"),
        }))
    }
}

fn to_i32(number: f64) -> i32 {
    let number = number.trunc();
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) { number as i32 } else { i32::MIN }
}

fn to_i64(number: f64) -> i64 {
    if (-TWO_TO_63..TWO_TO_63).contains(&number) { number as i64 } else { i64::MIN }
}

fn to_u64(number: f64) -> u64 {
    if number >= TWO_TO_63 { number as u64 } else { to_i64(number) as u64 }
}

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn towards_zero_and_out_of_range() {
        // As ONNX Runtime 1.32 gives them.
        let cases: [(DatumType, &[f32], &[i64]); 5] = [
            (DatumType::I32, &[1.9, -1.9, f32::NAN, 3e9], &[1, -1, -2147483648, -2147483648]),
            (DatumType::I64, &[3e9, -3e9, f32::INFINITY], &[3000000000, -3000000000, i64::MIN]),
            (DatumType::I8, &[300., -300., -1.], &[44, -44, -1]),
            (DatumType::U8, &[300., -1., -129.], &[44, 255, 127]),
            (DatumType::U32, &[4e9, 2.5], &[4000000000, 2]),
        ];
        for (to, numbers, expected) in cases {
            let output = CastToInteger { to }.compute(&[tensor1(numbers).into_tvalue()]).unwrap();
            assert_eq!(elements::<i64>(&output[0].cast_to::<i64>().unwrap()).unwrap(), expected, "{to:?}");
        }
    }
}
