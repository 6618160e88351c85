//! `Extremum`: the greater or the lesser of two floating-point tensors, which broadcast; NaN where either is NaN, as ONNX
//! Runtime's `Max`, `Min` and `Clip` have it.
//!
//! Inputs: two of one floating-point type. Output: that type.

use super::plain::{Plain, broadcast_shape, zip_broadcast};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Extremum {
    /// The greater one.
    pub greatest: bool,
}

impl Plain for Extremum {
    const NAME: &'static str = "Extremum";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        let fits = [f32::datum_type(), f64::datum_type()].contains(&datum_type) && datum_type == inputs[1].datum_type;
        ensure!(fits, "two of one floating-point type are needed");
        Ok(tvec!(datum_type.fact(broadcast_shape(inputs)?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let [a, b] = [&inputs[0], &inputs[1]];
        let greatest = self.greatest;
        Ok(tvec!(match a.datum_type() {
            DatumType::F64 => zip_broadcast(a, b, |a: f64, b: f64| {
                if a.is_nan() || (if greatest { a > b } else { a < b }) { a } else { b }
            })?,
            _ => zip_broadcast(a, b, |a: f32, b: f32| {
                if a.is_nan() || (if greatest { a > b } else { a < b }) { a } else { b }
            })?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain::PlainOperator;
    use super::super::tests::{evaluate, tensor};
    use super::*;
    use crate::ops::f32_slice;

    #[test]
    fn nan_wins_on_either_side() {
        let nan = f32::NAN;
        let (a, b) = (tensor(&[4], &[nan, 1., 2., -1.]), tensor(&[4], &[1., nan, 3., -2.]));
        for (greatest, expected) in [(true, [nan, nan, 3., -1.]), (false, [nan, nan, 2., -2.])] {
            let output = evaluate(&PlainOperator(Extremum { greatest }), &[a.clone(), b.clone()]).unwrap();
            let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
            assert!(f32_slice(&output).unwrap().iter().zip(&expected).all(same), "{greatest}: {output:?}");
        }
    }
}
