//! `Softplus`: ONNX `Softplus` (1 to 22) of float32 and float64, `ln(1 + exp(x))`, without overflow.

use super::plain::{Plain, elements, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Softplus;

impl Plain for Softplus {
    const NAME: &'static str = "Softplus";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        ensure!(matches!(datum_type, DatumType::F32 | DatumType::F64), "Softplus of {datum_type:?}");
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = &inputs[0];
        let wide = x.cast_to::<f64>()?;
        let values = elements::<f64>(&wide)?.iter();
        let values: Vec<f64> = values.map(|x| if *x > 0. { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }).collect();
        Ok(tvec!(tensor_of(x.shape(), &values)?.cast_to_dt(x.datum_type())?.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large() {
        // Answers of ONNX Runtime 1.32.
        let cases =
            [(0., std::f32::consts::LN_2), (100., 100.), (-100., 0.), (1., 1.3132616), (f32::INFINITY, f32::INFINITY)];
        for (x, expected) in cases {
            let output = Softplus.compute(&[tensor0::<f32>(x).into_tvalue()]).unwrap().remove(0);
            let value = elements::<f32>(&output).unwrap()[0];
            assert!(value == expected || (value - expected).abs() <= 1e-6, "{x}: {value} instead of {expected}");
        }
        assert!(
            Softplus
                .compute(&[tensor0(f32::NAN).into_tvalue()])
                .is_ok_and(|output| { elements::<f32>(&output[0]).unwrap()[0].is_nan() })
        );
    }
}
