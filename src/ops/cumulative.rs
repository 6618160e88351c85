//! `Cumulative`: ONNX `CumSum` (11 to 14) and `CumProd` (26).
//!
//! Inputs: numbers; the axis, an i64 scalar, negative from the end. Output: the type and shape of the numbers. Integers wrap.

use super::plain::{Plain, around, elements, tensor_of, wrapped};
use crate::error::Error;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cumulative {
    /// `CumProd`.
    pub product: bool,
    /// Each element is left out of its own result.
    pub exclusive: bool,
    /// From the end of the axis.
    pub reverse: bool,
}

impl Plain for Cumulative {
    const NAME: &'static str = "Cumulative";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let number = [DatumType::F32, DatumType::F64, DatumType::I32, DatumType::I64, DatumType::U32, DatumType::U64];
        ensure!(number.contains(&inputs[0].datum_type), "{:?} is not supported", inputs[0].datum_type);
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let axis = *elements::<i64>(&inputs[1])?.first().context("the axis is empty")?;
        let rank = inputs[0].rank();
        let axis = wrapped(axis, rank)
            .ok_or_else(|| Error::invalid_input(format!("axis {axis} of a tensor of rank {rank}")))?;
        macro_rules! accumulate {
            ($type:ty, $one:expr, $add:expr, $multiply:expr) => {
                if self.product {
                    self.along::<$type>(&inputs[0], axis, $one, $multiply)?
                } else {
                    self.along::<$type>(&inputs[0], axis, $one - $one, $add)?
                }
            };
        }
        macro_rules! integers {
            ($type:ty) => {
                accumulate!($type, 1, <$type>::wrapping_add, <$type>::wrapping_mul)
            };
        }
        Ok(tvec!(match inputs[0].datum_type() {
            DatumType::F32 => accumulate!(f32, 1.0, |a, b| a + b, |a, b| a * b),
            DatumType::F64 => accumulate!(f64, 1.0, |a, b| a + b, |a, b| a * b),
            DatumType::I32 => integers!(i32),
            DatumType::U32 => integers!(u32),
            DatumType::U64 => integers!(u64),
            _ => integers!(i64),
        }))
    }
}

impl Cumulative {
    fn along<T: Datum + Copy>(
        &self,
        input: &Tensor,
        axis: usize,
        neutral: T,
        combine: impl Fn(T, T) -> T,
    ) -> TractResult<Tensor> {
        let values = elements::<T>(input)?;
        let mut results = values.to_vec();
        let [outer, size, inner] = around(input.shape(), axis);
        for row in 0..outer {
            for column in 0..inner {
                let mut sum = neutral;
                for step in 0..size {
                    let position = if self.reverse { size - 1 - step } else { step };
                    let at = (row * size + position) * inner + column;
                    let next = combine(sum, values[at]);
                    results[at] = if self.exclusive { sum } else { next };
                    sum = next;
                }
            }
        }
        tensor_of(input.shape(), &results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_products() {
        let input = tensor1(&[2i64, 3, 4]).into_tvalue();
        let axis = tensor0(-1i64).into_tvalue();
        let cases = [
            ((false, false, false), [2, 5, 9]),
            ((false, true, false), [0, 2, 5]),
            ((false, true, true), [7, 4, 0]),
            ((true, false, false), [2, 6, 24]),
            ((true, true, true), [12, 4, 1]),
        ];
        for ((product, exclusive, reverse), expected) in cases {
            let operator = Cumulative { product, exclusive, reverse };
            let output = operator.compute(&[input.clone(), axis.clone()]).unwrap();
            assert_eq!(elements::<i64>(&output[0]).unwrap(), expected, "{operator:?}");
        }
    }
}
