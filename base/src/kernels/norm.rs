//! Layer and root-mean-square normalisation of rows.
#![allow(unsafe_code)]

use super::parallel::{SharedOutput, for_each};
use super::simd::{F32x4, sum_of, zip_in_place, zip_into};
use super::steps::Step;

/// Multiply-adds that take as long as to normalise an element.
const NORMALISING_WORK: usize = 16;

/// Rows of a task.
const TASK_ROWS: usize = 8;

/// Normalises rows of `width` elements: `out = (x - mean) / sqrt(variance + epsilon) * gamma + beta` with the biased
/// variance (ONNX `LayerNormalization`, opset 17, over the last axis).
///
/// # Panics
/// When a length does not fit.
pub fn layer_norm(x: &[f32], width: usize, gamma: &[f32], beta: Option<&[f32]>, epsilon: f32, out: &mut [f32]) {
    check_lengths(x, width, gamma, beta, out);
    for_each_row(x, width, out, |row, out| normalise(row, gamma, beta, epsilon, out));
}

/// [`layer_norm`] by its definition, in f64.
///
/// # Panics
/// When a length does not fit.
pub fn layer_norm_reference(
    x: &[f32],
    width: usize,
    gamma: &[f32],
    beta: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
) {
    check_lengths(x, width, gamma, beta, out);
    for (row, out) in x.chunks_exact(width.max(1)).zip(rows(out, width)) {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
        for n in 0..width {
            let normal = (f64::from(row[n]) - mean) / (variance + f64::from(epsilon)).sqrt();
            let shift = beta.map_or(0.0, |beta| f64::from(beta[n]));
            out[n] = (normal * f64::from(gamma[n]) + shift) as f32;
        }
    }
}

/// Scales rows of `width` elements: `out = x / sqrt(mean(x²) + epsilon) * gamma` (ONNX `RMSNormalization`, opset 23, over
/// the last axis).
///
/// # Panics
/// When a length does not fit.
pub fn rms_norm(x: &[f32], width: usize, gamma: &[f32], epsilon: f32, out: &mut [f32]) {
    check_lengths(x, width, gamma, None, out);
    for_each_row(x, width, out, |row, out| {
        let mean_square = sum_of(row, |x| x * x) / width as f32;
        let factor = F32x4::splat(1.0 / (mean_square + epsilon).sqrt());
        zip_into(out, row, gamma, |x, gamma| x * factor * gamma);
    });
}

/// [`rms_norm`] by its definition, in f64.
///
/// # Panics
/// When a length does not fit.
pub fn rms_norm_reference(x: &[f32], width: usize, gamma: &[f32], epsilon: f32, out: &mut [f32]) {
    check_lengths(x, width, gamma, None, out);
    for (row, out) in x.chunks_exact(width.max(1)).zip(rows(out, width)) {
        let mean_square = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / width as f64;
        for n in 0..width {
            let normal = f64::from(row[n]) / (mean_square + f64::from(epsilon)).sqrt();
            out[n] = (normal * f64::from(gamma[n])) as f32;
        }
    }
}

/// What is done between the parts of a norm whose every result is rounded.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NormSteps {
    /// From the sum of a row to its mean, where that is subtracted.
    pub mean: Option<Vec<Step>>,
    /// On the deviations from the mean.
    pub deviations: Vec<Step>,
    /// On their squares.
    pub squares: Vec<Step>,
    /// From the sum of the squares to the root, or to one divided by it.
    pub root: Vec<Step>,
    /// Whether deviations are multiplied by that, not divided.
    pub multiplies: bool,
}

/// Normalises rows of `width` elements: `out = v / root(sum(squares(v²)))`, or `v · root(…)`, with
/// `v = deviations(x - mean(sum(x)))`.
///
/// # Panics
/// When a length does not fit.
pub fn norm_by_steps(x: &[f32], width: usize, steps: &NormSteps, out: &mut [f32]) {
    assert!(x.is_empty() || width > 0 && x.len().is_multiple_of(width), "x is [rows, width]");
    assert_eq!(out.len(), x.len(), "out is [rows, width]");
    out.copy_from_slice(x);
    let mut squares = vec![0.0; width];
    for row in rows(out, width) {
        if let Some(mean) = &steps.mean {
            let mean = Step::of_number(mean, sum_of(row, |x| x));
            row.iter_mut().for_each(|x| *x -= mean);
        }
        steps.deviations.iter().for_each(|step| step.apply(row));
        squares.iter_mut().zip(&*row).for_each(|(square, x)| *square = x * x);
        steps.squares.iter().for_each(|step| step.apply(&mut squares));
        let root = Step::of_number(&steps.root, sum_of(&squares, |square| square));
        if steps.multiplies {
            row.iter_mut().for_each(|x| *x *= root);
        } else {
            row.iter_mut().for_each(|x| *x /= root);
        }
    }
}

fn check_lengths(x: &[f32], width: usize, gamma: &[f32], beta: Option<&[f32]>, out: &[f32]) {
    assert!(x.is_empty() || width > 0 && x.len().is_multiple_of(width), "x is [rows, width]");
    assert_eq!(out.len(), x.len(), "out is [rows, width]");
    assert_eq!(gamma.len(), width, "gamma is [width]");
    assert!(beta.is_none_or(|beta| beta.len() == width), "beta is [width]");
}

/// Calls `normalise` with every row and its place in `out`.
fn for_each_row(x: &[f32], width: usize, out: &mut [f32], normalise: impl Fn(&[f32], &mut [f32]) + Sync) {
    let task_len = TASK_ROWS * width;
    let (work, tasks) = (x.len().saturating_mul(NORMALISING_WORK), x.len().div_ceil(task_len.max(1)));
    let out = SharedOutput::new(out);
    for_each(
        tasks,
        work,
        || (),
        |(), task| {
            let first = task * task_len;
            let x = &x[first..x.len().min(first + task_len)];
            // SAFETY: every task has its own rows.
            let out = unsafe { out.slice(first, x.len()) };
            x.chunks_exact(width).zip(rows(out, width)).for_each(|(row, out)| normalise(row, out));
        },
    );
}

/// The rows; none where they have no elements.
fn rows(out: &mut [f32], width: usize) -> impl Iterator<Item = &mut [f32]> {
    out.chunks_exact_mut(width.max(1))
}

/// Normalises one row. The variance is a mean of squared distances from the mean, since a difference of two large means
/// would lose the small one.
fn normalise(row: &[f32], gamma: &[f32], beta: Option<&[f32]>, epsilon: f32, out: &mut [f32]) {
    let width = row.len() as f32;
    let mean = F32x4::splat(sum_of(row, |x| x) / width);
    let square = |x: F32x4| (x - mean) * (x - mean);
    let variance = sum_of(row, square) / width;
    let factor = F32x4::splat(1.0 / (variance + epsilon).sqrt());
    zip_into(out, row, gamma, |x, gamma| (x - mean) * factor * gamma);
    if let Some(beta) = beta {
        zip_in_place(out, beta, |x, beta| x + beta);
    }
}

#[cfg(any(test, feature = "selftest"))]
#[allow(clippy::excessive_precision, reason = "recorded values stand as they were printed")]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds the kernels, and their twins, against recorded results, and the kernels against their twins at many sizes.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = failures_of_recorded();
        for rows in [0, 1, 3, 17] {
            for width in [1, 2, 5, 8, 35, 384] {
                failures.extend(failures_of_size(rows, width));
            }
        }
        // Rows that threads share, not all tasks whole.
        failures.extend(failures_of_size(5 * TASK_ROWS + 3, 384));
        failures
    }

    fn failures_of_size(rows: usize, width: usize) -> Vec<String> {
        let cases = [Norm::Layer { beta: None }, Norm::Layer { beta: Some(numbers(width, 3)) }, Norm::RootMeanSquare];
        let cases = cases.map(|norm| Case {
            what: format!("{rows} rows of {width}, {norm:?}"),
            norm,
            x: numbers(rows * width, 1),
            gamma: numbers(width, 2),
            epsilon: 1e-5,
        });
        // Two elements close to each other: their distance from the mean has lost digits.
        let tolerance = 2e-5;
        let failures = cases.iter().map(|case| difference(case.what.clone(), &case.run(), &case.twin(), tolerance));
        failures.flatten().collect()
    }

    #[derive(Debug)]
    enum Norm {
        Layer { beta: Option<Vec<f32>> },
        RootMeanSquare,
    }

    struct Case {
        what: String,
        norm: Norm,
        x: Vec<f32>,
        gamma: Vec<f32>,
        epsilon: f32,
    }

    impl Case {
        fn run(&self) -> Vec<f32> {
            let Case { norm, x, gamma, epsilon, .. } = self;
            let mut out = vec![f32::NAN; x.len()];
            match norm {
                Norm::Layer { beta } => layer_norm(x, gamma.len(), gamma, beta.as_deref(), *epsilon, &mut out),
                Norm::RootMeanSquare => rms_norm(x, gamma.len(), gamma, *epsilon, &mut out),
            }
            out
        }

        fn twin(&self) -> Vec<f32> {
            let Case { norm, x, gamma, epsilon, .. } = self;
            let mut out = vec![f32::NAN; x.len()];
            match norm {
                Norm::Layer { beta } => {
                    layer_norm_reference(x, gamma.len(), gamma, beta.as_deref(), *epsilon, &mut out);
                }
                Norm::RootMeanSquare => rms_norm_reference(x, gamma.len(), gamma, *epsilon, &mut out),
            }
            out
        }
    }

    /// From ONNX Runtime 1.32: `LayerNormalization`, `com.microsoft.SkipLayerNormalization`, `RMSNormalization`.
    fn failures_of_recorded() -> Vec<String> {
        let case = |what: &str, x: Vec<f32>, norm, epsilon| Case {
            what: what.to_owned(),
            norm,
            x,
            gamma: numbers(7, 2),
            epsilon,
        };
        let layer = |beta| Norm::Layer { beta };
        let sum = numbers(14, 1).iter().zip(numbers(14, 4)).map(|(left, right)| left + right).collect();
        let far_from_zero = numbers(14, 1).iter().map(|x| x * 100.0 + 1000.0).collect();
        let cases = [
            (
                case("LayerNormalization", numbers(14, 1), layer(Some(numbers(7, 3))), 1e-5),
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
                case("LayerNormalization far from zero", far_from_zero, layer(None), 1e-5),
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
                case("SkipLayerNormalization", sum, layer(Some(numbers(7, 3))), 1e-12),
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
            (
                case("RMSNormalization", numbers(14, 1), Norm::RootMeanSquare, 1e-5),
                [
                    0.04143375, 0.5493416, 1.3114268, 0.10728382, 0.41282368, 0.6458337, 0.19802897, 0.16431224,
                    0.04197399, 0.14143969, -0.8206996, 0.04866627, 0.70774555, 0.16893828,
                ],
            ),
        ];
        let failures = cases.iter().flat_map(|(case, expected)| {
            [
                difference(case.what.clone(), &case.run(), expected, 2e-6),
                difference(format!("twin, {}", case.what), &case.twin(), expected, 2e-6),
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
        let x = [1.0, f32::NAN, 1.0, 3.0];
        let (mut layer, mut root_mean_square) = ([0.0; 4], [0.0; 4]);
        layer_norm(&x, 2, &[1.0; 2], None, 0.0, &mut layer);
        rms_norm(&x, 2, &[1.0; 2], 0.0, &mut root_mean_square);
        for out in [layer, root_mean_square] {
            assert_eq!(out.map(f32::is_nan), [true, true, false, false]);
        }
    }

    #[test]
    fn lengths_that_do_not_fit_panic() {
        // Width, and lengths of x, gamma, beta and out.
        let cases = [
            ([3, 6, 3, 3, 6], true),
            ([3, 0, 3, 3, 0], true),
            ([0, 0, 0, 0, 0], true),
            ([3, 5, 3, 3, 5], false),
            ([3, 6, 2, 3, 6], false),
            ([3, 6, 3, 4, 6], false),
            ([3, 6, 3, 3, 9], false),
        ];
        for ([width, lengths @ ..], fits) in cases {
            let [x, gamma, beta, mut out] = lengths.map(|length| vec![0.0; length]);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                layer_norm(&x, width, &gamma, Some(&beta), 0.0, &mut out);
            }));
            assert_eq!(result.is_ok(), fits, "{width}, {lengths:?}");
        }
    }
}
