//! Element-wise activation functions.

use super::simd::{
    Constants, Exp, F32x4, MapVectors, in_all_lanes, map_in_place, map_pairs_in_place, rounded_polynomials,
};
use std::array::from_fn;

/// A function applied to every element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Activation {
    /// x
    Identity,
    /// max(x, 0), ONNX `Relu`
    Relu,
    /// x/2 · (1 + erf(x/√2)), ONNX `Gelu` with `approximate = "none"`
    Gelu,
    /// x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), ONNX `Gelu` with `approximate = "tanh"`
    GeluTanh,
    /// tanh(x), ONNX `Tanh`
    Tanh,
    /// 1 / (1 + e^-x), ONNX `Sigmoid`
    Sigmoid,
    /// x / (1 + e^-x), ONNX `Swish` with `alpha = 1`
    Silu,
    /// x / (1 + e^(-1.702 x)), `com.microsoft.QuickGelu` with `alpha = 1.702`
    QuickGelu,
}

/// √(2/π)
const SQRT_2_OVER_PI: f32 = 0.797_884_6;

const QUICK_GELU_ALPHA: f32 = 1.702;

impl Activation {
    /// Replaces every element by the function's value, within 1e-6 · max(1, |x|). NaN stays NaN.
    pub fn apply_in_place(self, values: &mut [f32]) {
        match self {
            Activation::Identity => {}
            Activation::Relu => map_in_place(values, |x| x.max(F32x4::splat(0.0))),
            Activation::Gelu => map_pairs_in_place(values, Gelu(ErfLanes::new())),
            Activation::GeluTanh => {
                let tanh = TanhLanes::new();
                map_in_place(values, |x| gelu_tanh(x, tanh));
            }
            Activation::Tanh => {
                let tanh = TanhLanes::new();
                map_in_place(values, |x| tanh.of(x));
            }
            Activation::Sigmoid => {
                let exp = Exp::new();
                map_in_place(values, |x| exp.one() / (exp.one() + exp.of(F32x4::splat(0.0) - x)));
            }
            Activation::Silu => {
                let exp = Exp::new();
                map_in_place(values, |x| x / (exp.one() + exp.of(F32x4::splat(0.0) - x)));
            }
            Activation::QuickGelu => {
                let exp = Exp::new();
                map_in_place(values, |x| x / (exp.one() + exp.of(x * F32x4::splat(-QUICK_GELU_ALPHA))));
            }
        }
    }

    /// The function's value at one point, in f64 from its definition.
    pub fn reference(self, x: f64) -> f64 {
        match self {
            Activation::Identity => x,
            Activation::Relu if x < 0.0 => 0.0,
            Activation::Relu => x,
            Activation::Gelu => x / 2.0 * (1.0 + erf_reference(x * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::GeluTanh => {
                let inner = std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044715 * x * x * x);
                x / 2.0 * (1.0 + inner.tanh())
            }
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::QuickGelu => x / (1.0 + (-f64::from(QUICK_GELU_ALPHA) * x).exp()),
        }
    }

    /// A short name for listings.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Identity => "identity",
            Activation::Relu => "relu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::Silu => "silu",
            Activation::QuickGelu => "quick_gelu",
        }
    }
}

/// The error function, within 1e-6; ±1 for ±infinity, NaN for NaN.
pub fn erf(x: f32) -> f32 {
    if x.is_nan() { x } else { ErfLanes::new().of([F32x4::splat(x)])[0].to_array()[0] }
}

/// The error function in f64, from the series of positive terms 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1))
/// (Abramowitz and Stegun, 7.1.6).
fn erf_reference(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut sum, mut term, mut divisor) = (0.0, x, 1.0);
    while term.abs() > f64::EPSILON / 4.0 * f64::abs(sum) {
        sum += term;
        divisor += 2.0;
        term *= 2.0 * x * x / divisor;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// The error function: x · P(x²) / Q(x²), a minimax fit of relative error 1.9e-8 for |x| ≤ 3.92; beyond, ±1 is the nearest
/// f32, which the quotient is exactly at [`ERF_IS_ONE`]. Every step is rounded, as ONNX Runtime's is: what follows may round to
/// integers of 8 bits, where a last bit tells.
#[derive(Clone, Copy)]
struct ErfLanes(Constants<16>);

impl ErfLanes {
    /// To be called outside the loop.
    #[inline(always)]
    fn new() -> ErfLanes {
        ErfLanes(Constants::new(
            const {
                &in_all_lanes([
                    std::f32::consts::FRAC_2_SQRT_PI,
                    0.190_406_44,
                    0.052_748_717,
                    0.003_765_615_9,
                    0.000_284_882_67,
                    2.050_087e-6,
                    1.0,
                    0.502_076_1,
                    0.114_109_1,
                    0.014_969_214,
                    0.001_162_535_3,
                    3.809_170_8e-5,
                    std::f32::consts::FRAC_1_SQRT_2,
                    0.5,
                    ERF_IS_ONE,
                    -ERF_IS_ONE,
                ])
            },
        ))
    }

    /// Anything for NaN.
    #[inline(always)]
    fn of<const VECTORS: usize>(self, x: [F32x4; VECTORS]) -> [F32x4; VECTORS] {
        let (greatest, least) = (self.0.splat(14), self.0.splat(15));
        let x = x.map(|x| x.min_number(greatest).max_number(least));
        let squares = x.map(|x| x * x);
        let numerators = rounded_polynomials(squares, self.0.splat_from::<6>(0));
        let dividends: [F32x4; VECTORS] = from_fn(|vector| x[vector] * numerators[vector]);
        let denominators = rounded_polynomials(squares, self.0.splat_from::<6>(6));
        from_fn(|vector| dividends[vector] / denominators[vector])
    }
}

/// The least f32 above 3.92.
const ERF_IS_ONE: f32 = 3.920_000_3;

/// The hyperbolic tangent: x · P(x²) / Q(x²), a minimax fit of relative error 6.1e-8 for |x| ≤ 9.02; beyond, ±1 is the
/// nearest f32.
#[derive(Clone, Copy)]
pub(super) struct TanhLanes(Constants<13>);

impl TanhLanes {
    /// To be called outside the loop.
    #[inline(always)]
    pub(super) fn new() -> TanhLanes {
        TanhLanes(Constants::new(
            const {
                &in_all_lanes([
                    0.999_999_94,
                    0.129_179_72,
                    0.002_919_410_8,
                    9.255_127e-6,
                    -1.274_382e-8,
                    1.816_247_2e-11,
                    1.0,
                    0.462_512_52,
                    0.023_757_635,
                    0.000_227_913_65,
                    9.02,
                    0.044_715 * SQRT_2_OVER_PI,
                    SQRT_2_OVER_PI,
                ])
            },
        ))
    }

    #[inline(always)]
    pub(super) fn of(self, x: F32x4) -> F32x4 {
        let square = x * x;
        let numerator = square.polynomial(self.0.splat_from::<6>(0));
        let denominator = square.polynomial(self.0.splat_from::<4>(6));
        let one = self.0.splat(6).copysign(x);
        x.abs().select_at_least(self.0.splat(10), one, x * numerator / denominator)
    }
}

struct Gelu(ErfLanes);

impl MapVectors for Gelu {
    #[inline(always)]
    fn map<const VECTORS: usize>(&self, x: [F32x4; VECTORS]) -> [F32x4; VECTORS] {
        let (half, factor) = (self.0.0.splat(13), self.0.0.splat(12));
        // NaN stays NaN in the half.
        let halves = x.map(|x| x * half);
        let erf = self.0.of(x.map(|x| x * factor));
        from_fn(|vector| halves[vector] * erf[vector] + halves[vector])
    }
}

#[inline(always)]
fn gelu_tanh(x: F32x4, tanh: TanhLanes) -> F32x4 {
    let half = x * F32x4::splat(0.5);
    let scale = (x * x).mul_add(tanh.0.splat(11), tanh.0.splat(12));
    half.mul_add(tanh.of(x * scale), half)
}

#[cfg(any(test, feature = "selftest"))]
#[allow(clippy::excessive_precision, reason = "recorded values stand as they were printed")]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::difference;

    const ALL: [Activation; 8] = [
        Activation::Identity,
        Activation::Relu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::QuickGelu,
    ];

    const POINTS: [f32; 20] = [
        0.0, -0.0, 1e-6, -1e-3, 0.1, -0.5, 1.0, -1.0, 1.7, -2.5, 3.0, -4.0, 5.0, -5.6, 8.0, -10.0, 20.0, -90.0, 100.0,
        -30000.0,
    ];

    /// From ONNX Runtime 1.32's `Gelu`.
    const GELU: [f32; 20] = [
        0.0,
        -0.0,
        5.000004e-07,
        -0.00049960107,
        0.053982783,
        -0.15426877,
        0.8413447,
        -0.15865526,
        1.6242388,
        -0.015524104,
        2.9959502,
        -0.00012671947,
        4.9999986,
        -0.0,
        8.0,
        -0.0,
        20.0,
        -0.0,
        100.0,
        -0.0,
    ];

    /// From ONNX Runtime 1.32's `Gelu` with `approximate = "tanh"`.
    const GELU_TANH: [f32; 20] = [
        0.0,
        -0.0,
        5.000004e-07,
        -0.00049960107,
        0.053982753,
        -0.154286,
        0.841192,
        -0.15880796,
        1.6241059,
        -0.015084296,
        2.9963627,
        -7.009506e-05,
        4.9999995,
        -0.0,
        8.0,
        -0.0,
        20.0,
        -0.0,
        100.0,
        -0.0,
    ];

    /// From Python's `math.tanh`.
    const TANH: [f32; 20] = [
        0.0,
        -0.0,
        1e-06,
        -0.0009999997,
        0.099667996,
        -0.46211717,
        0.76159416,
        -0.76159416,
        0.93540907,
        -0.9866143,
        0.9950548,
        -0.9993293,
        0.9999092,
        -0.99997264,
        0.9999998,
        -1.0,
        1.0,
        -1.0,
        1.0,
        -1.0,
    ];

    /// From Python's `1 / (1 + math.exp(-x))`.
    const SIGMOID: [f32; 20] = [
        0.5,
        0.5,
        0.50000024,
        0.49975,
        0.5249792,
        0.37754068,
        0.7310586,
        0.26894143,
        0.84553474,
        0.07585818,
        0.95257413,
        0.01798621,
        0.9933072,
        0.0036842402,
        0.99966466,
        4.539787e-05,
        1.0,
        8.19401e-40,
        1.0,
        0.0,
    ];

    /// From Python's `x / (1 + math.exp(-x))`.
    const SILU: [f32; 20] = [
        0.0,
        -0.0,
        5.0000025e-07,
        -0.00049975,
        0.05249792,
        -0.18877033,
        0.7310586,
        -0.26894143,
        1.4374091,
        -0.18964545,
        2.8577224,
        -0.07194484,
        4.9665356,
        -0.020631745,
        7.9973173,
        -0.00045397869,
        20.0,
        0.0,
        100.0,
        0.0,
    ];

    /// From Python's `x / (1 + math.exp(-1.702 * x))`.
    const QUICK_GELU: [f32; 20] = [
        0.0,
        -0.0,
        5.000004e-07,
        -0.0004995745,
        0.05424476,
        -0.14961156,
        0.84579575,
        -0.15420423,
        1.6107827,
        -0.034986164,
        2.9819286,
        -0.004414724,
        4.998993,
        -0.00040626462,
        7.9999905,
        -4.0579613e-07,
        20.0,
        -0.0,
        100.0,
        -0.0,
    ];

    /// From Python's `math.erf`.
    const ERF: [f32; 20] = [
        0.0,
        -0.0,
        1.1283792e-06,
        -0.0011283788,
        0.11246292,
        -0.5204999,
        0.8427008,
        -0.8427008,
        0.98379046,
        -0.99959305,
        0.9999779,
        -1.0,
        1.0,
        -1.0,
        1.0,
        -1.0,
        1.0,
        -1.0,
        1.0,
        -1.0,
    ];

    /// Holds the functions against recorded values, against their twins on a fine grid, and at the ends of f32.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let recorded = [
            (Activation::Gelu, GELU),
            (Activation::GeluTanh, GELU_TANH),
            (Activation::Tanh, TANH),
            (Activation::Sigmoid, SIGMOID),
            (Activation::Silu, SILU),
            (Activation::QuickGelu, QUICK_GELU),
        ];
        let mut failures: Vec<String> = recorded
            .into_iter()
            .flat_map(|(activation, expected)| {
                let twin = POINTS.map(|x| activation.reference(f64::from(x)) as f32);
                let name = activation.name();
                [
                    difference(format!("recorded {name}"), &applied(activation, &POINTS), &expected, 1e-6),
                    difference(format!("twin of recorded {name}"), &twin, &expected, 1e-6),
                ]
            })
            .flatten()
            .collect();
        failures.extend(difference("erf", &POINTS.map(erf), &ERF, 1e-6));
        failures.extend(difference("twin of erf", &POINTS.map(|x| erf_reference(f64::from(x)) as f32), &ERF, 1e-7));
        // 4099 points: no multiple of a vector's length.
        let grid: Vec<f32> = (-2049..2050).map(|index| index as f32 / 160.0).collect();
        let twin_of_erf: Vec<f32> = grid.iter().map(|x| erf_reference(f64::from(*x)) as f32).collect();
        failures.extend(difference(
            "erf on the grid",
            &grid.iter().map(|x| erf(*x)).collect::<Vec<_>>(),
            &twin_of_erf,
            1e-6,
        ));
        for activation in ALL {
            let twin: Vec<f32> = grid.iter().map(|x| activation.reference(f64::from(*x)) as f32).collect();
            failures.extend(difference(activation.name(), &applied(activation, &grid), &twin, 1e-6));
            let ends = applied(activation, &[f32::NAN, f32::INFINITY, f32::MAX]);
            let top = match activation {
                Activation::Tanh | Activation::Sigmoid => [1.0, 1.0],
                _ => [f32::INFINITY, f32::MAX],
            };
            let expected = [f32::NAN, top[0], top[1]];
            failures.extend(difference(format!("ends of {}", activation.name()), &ends, &expected, 0.0));
        }
        failures.extend(difference(
            "ends of erf",
            &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(erf),
            &[f32::NAN, 1.0, -1.0],
            0.0,
        ));
        failures
    }

    fn applied(activation: Activation, points: &[f32]) -> Vec<f32> {
        let mut values = points.to_vec();
        activation.apply_in_place(&mut values);
        values
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }

    #[test]
    fn relative_error_of_small_values() {
        for exponent in 1..38 {
            let x = 0.7 * 10f32.powi(-exponent);
            for (name, got, expected) in [
                ("erf", erf(x), erf_reference(f64::from(x))),
                ("tanh", applied(Activation::Tanh, &[x])[0], f64::from(x).tanh()),
            ] {
                assert!((f64::from(got) / expected - 1.0).abs() < 1e-6, "{name}({x}) = {got}");
            }
        }
    }
}
