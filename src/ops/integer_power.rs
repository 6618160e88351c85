//! `IntegerPower`: ONNX `Pow` (12 to 15) of integers.
//!
//! Inputs: `x` int32 or int64; `y` any number type; their shapes are broadcast. Output: `x`'s type, the power computed in float64 and cut
//! off after the point, as in ONNX Runtime. One that does not fit is an error.

use super::plain::{Plain, elements, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IntegerPower;

impl Plain for IntegerPower {
    const NAME: &'static str = "IntegerPower";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        ensure!(matches!(datum_type, DatumType::I32 | DatumType::I64), "a power of {datum_type:?}");
        ensure!(inputs[1].datum_type.is_number(), "a power with exponents {:?}", inputs[1].datum_type);
        let shape = tract_core::broadcast::multi_broadcast(&[inputs[0].shape.to_tvec(), inputs[1].shape.to_tvec()])?;
        Ok(tvec!(datum_type.fact(shape)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let shapes = [inputs[0].shape(), inputs[1].shape()];
        let shape = tract_core::broadcast::multi_broadcast(&shapes)?;
        let operand = |input: &TValue| input.cast_to::<f64>()?.broadcast_to_shape(&shape);
        let (x, y) = (operand(&inputs[0])?, operand(&inputs[1])?);
        let powers = elements::<f64>(&x)?.iter().zip(elements::<f64>(&y)?).map(|(x, y)| x.powf(*y).trunc());
        let (least, beyond) = match inputs[0].datum_type() {
            DatumType::I32 => (i32::MIN as f64, i32::MAX as f64 + 1.),
            _ => (i64::MIN as f64, i64::MAX as f64),
        };
        let powers: Vec<f64> = powers.collect();
        ensure!(powers.iter().all(|power| (least..beyond).contains(power)), "an integer overflow");
        let powers: Vec<i64> = powers.iter().map(|power| *power as i64).collect();
        Ok(tvec!(tensor_of(&shape, &powers)?.cast_to_dt(inputs[0].datum_type())?.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents() {
        let cases = [
            (tensor1(&[2i32, -3]), tensor0(3i64), Some(tensor1(&[8i32, -27]))),
            (tensor1(&[4i32, 1]), tensor0(0.5f32), Some(tensor1(&[2i32, 1]))),
            (tensor1(&[2i64, 1, -1]), tensor0(-1i64), Some(tensor1(&[0i64, 1, -1]))),
            (tensor1(&[100000i32]), tensor0(2i32), None),
            (tensor1(&[0i64]), tensor0(-1i64), None),
        ];
        for (x, y, expected) in cases {
            let output = IntegerPower.compute(&[x.into_tvalue(), y.into_tvalue()]);
            assert_eq!(output.ok().map(|mut output| output.remove(0)), expected);
        }
    }
}
