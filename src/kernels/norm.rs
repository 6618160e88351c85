//! Layer normalisation, with the residual addition before it.

use super::simd::{F32x4, sum_of, zip_in_place};

/// Normalises rows of `width` elements: `out = (x' - mean) / sqrt(variance + epsilon) * gamma + beta`, where
/// `x' = x + residual`, and the variance is the biased one (ONNX `LayerNormalization`, opset 17, over the last axis; with
/// a residual, `com.microsoft.SkipLayerNormalization`). `sum`, if given, receives x'.
///
/// # Panics
/// When a length does not fit.
#[allow(clippy::too_many_arguments)]
pub fn layer_norm(
    x: &[f32],
    residual: Option<&[f32]>,
    width: usize,
    gamma: &[f32],
    beta: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
    sum: Option<&mut [f32]>,
) {
    check_lengths(x, residual, width, gamma, beta, out, sum.as_deref());
    out.copy_from_slice(x);
    if let Some(residual) = residual {
        zip_in_place(out, residual, |x, residual| x + residual);
    }
    if let Some(sum) = sum {
        sum.copy_from_slice(out);
    }
    for row in out.chunks_exact_mut(width) {
        normalise(row, gamma, beta, epsilon);
    }
}

/// [`layer_norm`] by its definition, with means in f64.
///
/// # Panics
/// When a length does not fit.
#[allow(clippy::too_many_arguments)]
pub fn layer_norm_reference(
    x: &[f32],
    residual: Option<&[f32]>,
    width: usize,
    gamma: &[f32],
    beta: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
    mut sum: Option<&mut [f32]>,
) {
    check_lengths(x, residual, width, gamma, beta, out, sum.as_deref());
    for start in (0..x.len()).step_by(width) {
        let element = |n: usize| x[start + n] + residual.map_or(0.0, |residual| residual[start + n]);
        let mean = (0..width).map(|n| f64::from(element(n))).sum::<f64>() / width as f64;
        let variance = (0..width).map(|n| (f64::from(element(n)) - mean).powi(2)).sum::<f64>() / width as f64;
        for n in 0..width {
            let normal = (f64::from(element(n)) - mean) / (variance + f64::from(epsilon)).sqrt();
            let shift = beta.map_or(0.0, |beta| f64::from(beta[n]));
            out[start + n] = (normal * f64::from(gamma[n]) + shift) as f32;
            if let Some(sum) = &mut sum {
                sum[start + n] = element(n);
            }
        }
    }
}

fn check_lengths(
    x: &[f32],
    residual: Option<&[f32]>,
    width: usize,
    gamma: &[f32],
    beta: Option<&[f32]>,
    out: &[f32],
    sum: Option<&[f32]>,
) {
    assert!(width > 0 && x.len().is_multiple_of(width), "x is [rows, width]");
    assert_eq!(out.len(), x.len(), "out is [rows, width]");
    assert_eq!(gamma.len(), width, "gamma is [width]");
    assert!(beta.is_none_or(|beta| beta.len() == width), "beta is [width]");
    assert!(residual.is_none_or(|residual| residual.len() == x.len()), "residual is [rows, width]");
    assert!(sum.is_none_or(|sum| sum.len() == x.len()), "sum is [rows, width]");
}

/// Normalises one row. The variance is a mean of squared distances from the mean, since a difference of two large means
/// would lose the small one.
fn normalise(row: &mut [f32], gamma: &[f32], beta: Option<&[f32]>, epsilon: f32) {
    let width = row.len() as f32;
    let mean = F32x4::splat(sum_of(row, |x| x) / width);
    let square = |x: F32x4| (x - mean) * (x - mean);
    let variance = sum_of(row, square) / width;
    let factor = F32x4::splat(1.0 / (variance + epsilon).sqrt());
    zip_in_place(row, gamma, |x, gamma| (x - mean) * factor * gamma);
    if let Some(beta) = beta {
        zip_in_place(row, beta, |x, beta| x + beta);
    }
}

#[cfg(any(test, feature = "selftest"))]
#[allow(clippy::excessive_precision, reason = "recorded values stand as they were printed")]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds the kernel, and its twin, against recorded results, and the kernel against its twin at many sizes.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = failures_of_recorded();
        for rows in [0, 1, 3, 17] {
            for width in [1, 2, 5, 8, 35, 384] {
                for (residual, beta) in [(false, false), (false, true), (true, false), (true, true)] {
                    failures.extend(failures_of_size(rows, width, residual, beta));
                }
            }
        }
        failures
    }

    fn failures_of_size(rows: usize, width: usize, residual: bool, beta: bool) -> Vec<String> {
        let residual = residual.then(|| numbers(rows * width, 4));
        let beta = beta.then(|| numbers(width, 3));
        let case = Case {
            what: format!("{rows} rows of {width}, {} residual, {} beta", residual.is_some(), beta.is_some()),
            x: numbers(rows * width, 1),
            residual,
            gamma: numbers(width, 2),
            beta,
            epsilon: 1e-5,
        };
        let ((got, got_sum), (expected, expected_sum)) = (case.run(layer_norm), case.run(layer_norm_reference));
        // Two elements close to each other: their distance from the mean has lost digits.
        let tolerance = 2e-5;
        let normal = difference(case.what.clone(), &got, &expected, tolerance);
        normal.into_iter().chain(difference(format!("sum, {}", case.what), &got_sum, &expected_sum, 0.0)).collect()
    }

    struct Case {
        what: String,
        x: Vec<f32>,
        residual: Option<Vec<f32>>,
        gamma: Vec<f32>,
        beta: Option<Vec<f32>>,
        epsilon: f32,
    }

    type LayerNorm = fn(&[f32], Option<&[f32]>, usize, &[f32], Option<&[f32]>, f32, &mut [f32], Option<&mut [f32]>);

    impl Case {
        fn run(&self, layer_norm: LayerNorm) -> (Vec<f32>, Vec<f32>) {
            let (residual, beta, width) = (self.residual.as_deref(), self.beta.as_deref(), self.gamma.len());
            let mut out = vec![f32::NAN; self.x.len()];
            let mut sum = out.clone();
            layer_norm(&self.x, residual, width, &self.gamma, beta, self.epsilon, &mut out, Some(&mut sum));
            let mut again = vec![f32::NAN; self.x.len()];
            layer_norm(&self.x, residual, width, &self.gamma, beta, self.epsilon, &mut again, None);
            assert_eq!(out, again, "asking for the sum changes nothing");
            (out, sum)
        }
    }

    /// From ONNX Runtime 1.32: `LayerNormalization` and `com.microsoft.SkipLayerNormalization`.
    fn failures_of_recorded() -> Vec<String> {
        let case = |what: &str, x: Vec<f32>, residual, beta, epsilon| Case {
            what: what.to_owned(),
            x,
            residual,
            gamma: numbers(7, 2),
            beta,
            epsilon,
        };
        let far_from_zero = numbers(14, 1).iter().map(|x| x * 100.0 + 1000.0).collect();
        let cases = [
            (
                case("LayerNormalization", numbers(14, 1), None, Some(numbers(7, 3)), 1e-5),
                [
                    0.1481959,
                    0.635689,
                    2.8570085,
                    0.7231442,
                    -0.45109665,
                    0.8233287,
                    -0.108461395,
                    0.31201908,
                    0.17464155,
                    1.2919827,
                    -0.11958921,
                    -0.6347148,
                    0.95765233,
                    -0.11248256,
                ],
            ),
            (
                case("LayerNormalization far from zero", far_from_zero, None, None, 1e-5),
                [
                    -0.03442221,
                    0.39253452,
                    1.9429946,
                    -0.12744513,
                    0.006910969,
                    0.4678713,
                    0.13470595,
                    0.12940404,
                    -0.068523504,
                    0.377926,
                    -0.9701909,
                    -0.17670959,
                    0.6021936,
                    0.13068368,
                ],
            ),
            (
                case("SkipLayerNormalization", numbers(14, 1), Some(numbers(14, 4)), Some(numbers(7, 3)), 1e-12),
                [
                    0.22044334,
                    0.6604811,
                    1.3280752,
                    -0.05003208,
                    -0.07571608,
                    1.0199513,
                    -0.3494453,
                    0.36765116,
                    -0.008031338,
                    0.13779843,
                    0.18062294,
                    -1.2481939,
                    0.99470013,
                    -0.3200878,
                ],
            ),
        ];
        let failures = cases.iter().flat_map(|(case, expected)| {
            [
                difference(case.what.clone(), &case.run(layer_norm).0, expected, 2e-6),
                difference(format!("twin, {}", case.what), &case.run(layer_norm_reference).0, expected, 2e-6),
            ]
        });
        failures.flatten().collect()
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }

    #[test]
    fn nan_reaches_its_row_and_no_other() {
        let mut out = [0.0; 4];
        layer_norm(&[1.0, f32::NAN, 1.0, 3.0], None, 2, &[1.0; 2], None, 0.0, &mut out, None);
        assert!(out[0].is_nan() && out[1].is_nan());
        assert_eq!(out[2..], [-1.0, 1.0]);
    }

    #[test]
    fn lengths_that_do_not_fit_panic() {
        // Lengths of x, residual, gamma, beta, out and sum for 2 rows of 3.
        let cases = [
            ([6, 6, 3, 3, 6, 6], true),
            ([5, 6, 3, 3, 6, 6], false),
            ([6, 5, 3, 3, 6, 6], false),
            ([6, 6, 2, 3, 6, 6], false),
            ([6, 6, 3, 4, 6, 6], false),
            ([6, 6, 3, 3, 9, 6], false),
            ([6, 6, 3, 3, 6, 3], false),
        ];
        for (lengths, fits) in cases {
            let [x, residual, gamma, beta, mut out, mut sum] = lengths.map(|length| vec![0.0; length]);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                layer_norm(&x, Some(&residual), 3, &gamma, Some(&beta), 0.0, &mut out, Some(&mut sum));
            }));
            assert_eq!(result.is_ok(), fits, "{lengths:?}");
        }
    }
}
