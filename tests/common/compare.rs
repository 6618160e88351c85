//! When an answer agrees with a recorded one.

use serde::Deserialize;
use sottovoce::tensor::{Tensor, TensorData};

/// How far a float may be off: `|actual - expected| <= atol + rtol * |expected|`. All else must be equal.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Tolerance {
    pub atol: f64,
    pub rtol: f64,
}

impl Tolerance {
    pub fn times(self, factor: f64) -> Tolerance {
        Tolerance { atol: self.atol * factor, rtol: self.rtol * factor }
    }

    fn holds(self, actual: f64, expected: f64) -> bool {
        let alike = actual == expected || (actual.is_nan() && expected.is_nan());
        alike || (actual - expected).abs() <= self.atol + self.rtol * expected.abs()
    }
}

/// What is wrong with a tensor, or `None`. Only the elements that `defined` admits are compared.
pub fn disagreement(
    actual: &Tensor,
    expected: &Tensor,
    tolerance: Tolerance,
    defined: impl Fn(usize) -> bool,
) -> Option<String> {
    if (actual.dtype(), actual.dims()) != (expected.dtype(), expected.dims()) {
        let layout = |tensor: &Tensor| format!("{} {:?}", tensor.dtype().name(), tensor.dims());
        return Some(format!("{} instead of {}", layout(actual), layout(expected)));
    }
    let Some((actual, expected)) = floats(actual).zip(floats(expected)) else {
        return (actual.data() != expected.data())
            .then(|| format!("{:?} instead of {:?}", actual.data(), expected.data()));
    };
    let off = |at: &usize| defined(*at) && !tolerance.holds(actual[*at], expected[*at]);
    let wrong: Vec<usize> = (0..expected.len()).filter(off).collect();
    let worst = wrong.iter().copied().max_by(|one, other| {
        let error = |at: usize| (actual[at] - expected[at]).abs();
        error(*one).total_cmp(&error(*other))
    })?;
    Some(format!(
        "{} of {} elements are off, at worst {} instead of {} at {worst} (allowed {:e} + {:e} * |expected|)",
        wrong.len(),
        expected.len(),
        actual[worst],
        expected[worst],
        tolerance.atol,
        tolerance.rtol
    ))
}

/// The elements of a tensor of floats.
pub fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.data() {
        TensorData::Float32(data) => Some(data.iter().map(|element| f64::from(*element)).collect()),
        TensorData::Float64(data) => Some(data.clone()),
        TensorData::Float16(data) => Some(data.iter().map(|element| element.to_f64()).collect()),
        TensorData::BFloat16(data) => Some(data.iter().map(|element| element.to_f64()).collect()),
        _ => None,
    }
}
