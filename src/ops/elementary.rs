//! `Elementary`: a function of each element of a floating-point tensor, computed in float64.
//!
//! Input: f32 or f64. Output: its type and shape.

use super::plain::{Plain, elements, tensor_of};
use tract_core::internal::*;

/// The function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Elementary {
    /// The angle with that cosine.
    Acos,
    /// The inverse of the hyperbolic cosine.
    Acosh,
    /// The angle with that sine.
    Asin,
    /// The inverse of the hyperbolic sine.
    Asinh,
    /// The angle with that tangent.
    Atan,
    /// The inverse of the hyperbolic tangent.
    Atanh,
    /// The hyperbolic cosine.
    Cosh,
    /// `x`, and `alpha · (e^x - 1)` where it is negative.
    Elu {
        /// Factor of the exponential.
        alpha: f32,
    },
    /// `x`, times `x / 6 + 0.5` between 0 and 1.
    HardSwish,
    /// `x · tanh(ln(1 + e^x))`.
    Mish,
    /// The nearest integer, the even one of two.
    Round,
    /// `gamma · x`, and `gamma · alpha · (e^x - 1)` where it is not positive.
    Selu {
        /// Factor of the exponential.
        alpha: f32,
        /// Factor of everything.
        gamma: f32,
    },
    /// `x` nearer to 0 by `bias`, and 0 where it is no further from it than `lambda`.
    Shrink {
        /// How much nearer.
        bias: f32,
        /// What becomes 0.
        lambda: f32,
    },
    /// The hyperbolic sine.
    Sinh,
    /// `x / (1 + |x|)`.
    Softsign,
    /// The tangent.
    Tan,
    /// `x` above `alpha`, else 0.
    ThresholdedRelu {
        /// The threshold.
        alpha: f32,
    },
}

impl Elementary {
    fn of(self, x: f64) -> f64 {
        let wide = f64::from;
        match self {
            Elementary::Acos => x.acos(),
            Elementary::Acosh => x.acosh(),
            Elementary::Asin => x.asin(),
            Elementary::Asinh => x.asinh(),
            Elementary::Atan => x.atan(),
            Elementary::Atanh => x.atanh(),
            Elementary::Cosh => x.cosh(),
            Elementary::Elu { alpha } => {
                if x < 0. {
                    wide(alpha) * x.exp_m1()
                } else {
                    x
                }
            }
            Elementary::HardSwish => x * (x / 6. + 0.5).clamp(0., 1.),
            Elementary::Mish => x * x.exp().ln_1p().tanh(),
            Elementary::Round => x.round_ties_even(),
            Elementary::Selu { alpha, gamma } => wide(gamma) * if x > 0. { x } else { wide(alpha) * x.exp_m1() },
            Elementary::Shrink { bias, lambda } if x < -wide(lambda) => x + wide(bias),
            Elementary::Shrink { bias, lambda } if x > wide(lambda) => x - wide(bias),
            Elementary::Shrink { .. } => 0.,
            Elementary::Sinh => x.sinh(),
            Elementary::Softsign => x / (1. + x.abs()),
            Elementary::Tan => x.tan(),
            Elementary::ThresholdedRelu { alpha } => {
                if x > wide(alpha) {
                    x
                } else {
                    0.
                }
            }
        }
    }
}

impl Plain for Elementary {
    const NAME: &'static str = "Elementary";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        ensure!([f32::datum_type(), f64::datum_type()].contains(&datum_type), "{self:?} of {datum_type:?}");
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = &inputs[0];
        Ok(tvec!(if x.datum_type() == f64::datum_type() {
            let results: Vec<f64> = elements::<f64>(x)?.iter().map(|x| self.of(*x)).collect();
            tensor_of(x.shape(), &results)?
        } else {
            let results: Vec<f32> = elements::<f32>(x)?.iter().map(|x| self.of(f64::from(*x)) as f32).collect();
            tensor_of(x.shape(), &results)?
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::*;
    use std::f32::consts::{FRAC_PI_2, FRAC_PI_3, FRAC_PI_6};

    #[test]
    fn functions() {
        // By arithmetic, at -2, -0.5, 0, 0.5 and 2.
        const NAN: f32 = f32::NAN;
        let cases: &[(Elementary, [f32; 5])] = &[
            (Elementary::Acos, [NAN, 2. * FRAC_PI_3, FRAC_PI_2, FRAC_PI_3, NAN]),
            (Elementary::Acosh, [NAN, NAN, NAN, NAN, 1.316_958]),
            (Elementary::Asin, [NAN, -FRAC_PI_6, 0., FRAC_PI_6, NAN]),
            (Elementary::Asinh, [-1.443_635, -0.481_212, 0., 0.481_212, 1.443_635]),
            (Elementary::Atan, [-1.107_149, -0.463_648, 0., 0.463_648, 1.107_149]),
            (Elementary::Atanh, [NAN, -0.549_306, 0., 0.549_306, NAN]),
            (Elementary::Cosh, [3.762_196, 1.127_626, 1., 1.127_626, 3.762_196]),
            (Elementary::Elu { alpha: 2. }, [-1.729_329, -0.786_939, 0., 0.5, 2.]),
            (Elementary::HardSwish, [-0.333_333, -0.208_333, 0., 0.291_667, 1.666_667]),
            (Elementary::Mish, [-0.252_501, -0.220_742, 0., 0.375_245, 1.943_959]),
            (Elementary::Round, [-2., 0., 0., 0., 2.]),
            (Elementary::Selu { alpha: 2., gamma: 3. }, [-5.187_988, -2.360_816, 0., 1.5, 6.]),
            (Elementary::Shrink { bias: 1., lambda: 0.5 }, [-1., 0., 0., 0., 1.]),
            (Elementary::Sinh, [-3.626_86, -0.521_095, 0., 0.521_095, 3.626_86]),
            (Elementary::Softsign, [-0.666_667, -0.333_333, 0., 0.333_333, 0.666_667]),
            (Elementary::Tan, [2.185_04, -0.546_302, 0., 0.546_302, -2.185_04]),
            (Elementary::ThresholdedRelu { alpha: 0.5 }, [0., 0., 0., 0., 2.]),
        ];
        let x = tensor(&[5], &[-2., -0.5, 0., 0.5, 2.]).into_tvalue();
        for (function, expected) in cases {
            let output = function.compute(std::slice::from_ref(&x)).unwrap().remove(0);
            let missing = |values: &[f32]| values.iter().map(|value| value.is_nan()).collect::<Vec<_>>();
            assert_eq!(missing(elements::<f32>(&output).unwrap()), missing(expected), "{function:?}");
            let numbers: Vec<f32> =
                elements::<f32>(&output).unwrap().iter().map(|x| if x.is_nan() { 0. } else { *x }).collect();
            let expected = expected.map(|x| if x.is_nan() { 0. } else { x });
            assert_close(&format!("{function:?}"), &tensor(&[5], &numbers), &[5], &expected);
        }
    }

    #[test]
    fn extremes() {
        let x = tensor(&[3], &[-1000., 1000., f32::NAN]).into_tvalue();
        let cases = [
            (Elementary::Mish, [0., 1000.]),
            (Elementary::HardSwish, [0., 1000.]),
            (Elementary::Round, [-1000., 1000.]),
        ];
        for (function, expected) in cases {
            let output = function.compute(std::slice::from_ref(&x)).unwrap().remove(0);
            let output = elements::<f32>(&output).unwrap();
            assert!(output[..2] == expected && output[2].is_nan(), "{function:?}: {output:?}");
        }
    }
}
