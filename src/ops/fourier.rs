//! `Fourier`: ONNX `DFT` (17 to 20): the discrete Fourier transform of signals along an axis, of any length, computed in float64.
//!
//! Input: f32 or f64; the last axis holds the real part, and the imaginary part where its size is 2. Output: its type; the last axis
//! holds both parts. Forwards and one-sided, the first half of the spectrum; backwards and one-sided, the real signal alone, of which
//! the input is the first half of the spectrum.

use super::plain::{Plain, around, elements, tensor_of};
use std::f64::consts::TAU;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fourier {
    /// The axis of the signals, from the front.
    pub axis: usize,
    /// From the spectrum to the signal.
    pub inverse: bool,
    /// Half of the spectrum stands for all of it.
    pub one_sided: bool,
}

/// Real and imaginary part.
pub type Complex = [f64; 2];

/// Transforms signals of one length.
pub struct Transform {
    /// The roots of unity.
    roots: Vec<Complex>,
}

impl Transform {
    /// Of signals of that length.
    pub fn new(length: usize, inverse: bool) -> Transform {
        let turn = if inverse { TAU } else { -TAU } / length.max(1) as f64;
        let root = |position: usize| {
            let (sine, cosine) = (turn * position as f64).sin_cos();
            [cosine, sine]
        };
        Transform { roots: (0..length).map(root).collect() }
    }

    /// The transform of a signal, without a factor.
    pub fn of(&self, signal: &[Complex]) -> Vec<Complex> {
        let mut spectrum = vec![[0.; 2]; self.roots.len()];
        if !spectrum.is_empty() {
            self.part(signal, 1, &mut spectrum);
        }
        spectrum
    }

    /// Transforms every `stride`-th value: as many parts as the smallest factor of their number, each by itself, then put together.
    fn part(&self, signal: &[Complex], stride: usize, spectrum: &mut [Complex]) {
        let count = spectrum.len();
        let Some(parts) = (2..=count).find(|factor| count.is_multiple_of(*factor)) else {
            spectrum[0] = signal[0];
            return;
        };
        let size = count / parts;
        for (first, part) in spectrum.chunks_exact_mut(size).enumerate() {
            self.part(&signal[first * stride..], stride * parts, part);
        }
        let mut sums = vec![[0.; 2]; parts];
        for position in 0..size {
            for (block, sum) in sums.iter_mut().enumerate() {
                let frequency = position + block * size;
                *sum = (0..parts).fold([0.; 2], |sum, part| {
                    let [a, b] = spectrum[part * size + position];
                    let [c, d] = self.roots[part * frequency % count * stride];
                    [sum[0] + a * c - b * d, sum[1] + a * d + b * c]
                });
            }
            for (block, sum) in sums.iter().enumerate() {
                spectrum[block * size + position] = *sum;
            }
        }
    }
}

/// The values at `place` for each of `count` positions, `parts` numbers each.
pub fn complex(values: &[f64], parts: usize, count: usize, place: impl Fn(usize) -> usize) -> Vec<Complex> {
    let at = |position: usize| {
        let first = place(position) * parts;
        [values[first], if parts == 2 { values[first + 1] } else { 0. }]
    };
    (0..count).map(at).collect()
}

impl Fourier {
    /// Length of the transform and of the result, for that many values.
    fn lengths(&self, values: usize) -> [usize; 2] {
        match (self.one_sided, self.inverse) {
            (false, _) => [values; 2],
            (true, false) => [values, values / 2 + 1],
            (true, true) => [2 * values.saturating_sub(1); 2],
        }
    }

    /// All of a spectrum whose first half is given.
    fn whole(half: &[Complex], length: usize) -> Vec<Complex> {
        let mirrored = (half.len()..length).map(|at| [half[length - at][0], -half[length - at][1]]);
        half.iter().copied().chain(mirrored).collect()
    }
}

impl Plain for Fourier {
    const NAME: &'static str = "Fourier";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        let mut shape = inputs[0].shape.to_tvec();
        let last = shape.len().saturating_sub(1);
        let parts = shape.last().and_then(|parts| parts.to_usize().ok());
        ensure!(datum_type.is_float() && self.axis < last, "signals {:?} along axis {}", inputs[0], self.axis);
        ensure!(matches!(parts, Some(1 | 2)), "the last axis of {:?} must hold one or two parts", inputs[0]);
        if self.one_sided {
            let size = shape[self.axis].clone();
            shape[self.axis] = if self.inverse { (size - 1) * 2 } else { size / 2 + 1 };
        }
        shape[last] = if self.inverse && self.one_sided { 1 } else { 2 }.to_dim();
        Ok(tvec!(datum_type.fact(shape)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = inputs[0].cast_to::<f64>()?;
        let (parts, mut shape) = (x.shape()[x.rank() - 1], TVec::<usize>::from(x.shape()));
        let [outer, size, inner] = around(&shape[..shape.len() - 1], self.axis);
        let [length, kept] = self.lengths(size);
        let real = self.inverse && self.one_sided;
        ensure!(!real || size > 1, "a spectrum of which {size} frequencies are half");
        let transform = Transform::new(length, self.inverse);
        let scale = if self.inverse { 1. / length as f64 } else { 1. };
        let results = if real { 1 } else { 2 };
        let mut output = vec![0.; outer * kept * inner * results];
        for (row, column) in (0..outer).flat_map(|row| (0..inner).map(move |column| (row, column))) {
            let signal = complex(elements::<f64>(&x)?, parts, size, |at| (row * size + at) * inner + column);
            let signal = if real { Fourier::whole(&signal, length) } else { signal };
            for (at, value) in transform.of(&signal).iter().take(kept).enumerate() {
                let first = ((row * kept + at) * inner + column) * results;
                output[first..][..results].iter_mut().zip(value).for_each(|(output, value)| *output = value * scale);
            }
        }
        shape[self.axis] = kept;
        shape[x.rank() - 1] = results;
        Ok(tvec!(tensor_of(&shape, &output)?.cast_to_dt(inputs[0].datum_type())?.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::*;

    #[test]
    fn spectra() {
        struct Case {
            inverse: bool,
            one_sided: bool,
            axis: usize,
            x: (&'static [usize], &'static [f32]),
            expected: (&'static [usize], &'static [f32]),
        }
        let case = |inverse, one_sided, axis, x, expected| Case { inverse, one_sided, axis, x, expected };
        // As numpy's fft, rfft, ifft and irfft have them.
        let cases = [
            case(false, false, 1, (&[1, 4, 1], &[0., 1., 2., 3.]), (&[1, 4, 2], &[6., 0., -2., 2., -2., 0., -2., -2.])),
            case(false, true, 1, (&[1, 4, 1], &[0., 1., 2., 3.]), (&[1, 3, 2], &[6., 0., -2., 2., -2., 0.])),
            case(true, true, 1, (&[1, 3, 2], &[6., 0., -2., 2., -2., 0.]), (&[1, 4, 1], &[0., 1., 2., 3.])),
            case(true, false, 0, (&[2, 1, 2], &[3., 1., -1., 1.]), (&[2, 1, 2], &[1., 1., 2., 0.])),
            case(
                false,
                false,
                0,
                (&[3, 2, 1], &[1., 1., 2., 0., 3., 0.]),
                (&[3, 2, 2], &[6., 0., 1., 0., -1.5, 0.866_025_4, 1., 0., -1.5, -0.866_025_4, 1., 0.]),
            ),
        ];
        for Case { inverse, one_sided, axis, x, expected } in cases {
            let operator = Fourier { axis, inverse, one_sided };
            let output = operator.compute(&[tensor(x.0, x.1).into_tvalue()]).unwrap().remove(0);
            assert_close(&format!("{operator:?}"), &output, expected.0, expected.1);
        }
    }

    #[test]
    fn lengths_with_several_factors() {
        for length in [1, 2, 5, 6, 12, 13, 30, 64, 400] {
            let signal: Vec<Complex> = (0..length).map(|at| [(at * at % 7) as f64, (at % 3) as f64]).collect();
            let spectrum = Transform::new(length, false).of(&signal);
            for (frequency, [real, imaginary]) in spectrum.iter().enumerate() {
                let [mut sum, mut other] = [0., 0.];
                for (at, [a, b]) in signal.iter().enumerate() {
                    let (sine, cosine) = (-TAU * (at * frequency % length) as f64 / length as f64).sin_cos();
                    sum += a * cosine - b * sine;
                    other += a * sine + b * cosine;
                }
                assert!((sum - real).abs() < 1e-9 && (other - imaginary).abs() < 1e-9, "{frequency} of {length}");
            }
            let back = Transform::new(length, true).of(&spectrum);
            let same = |(a, b): (&Complex, &Complex)| (a[0] / length as f64 - b[0]).abs() < 1e-9;
            assert!(back.iter().zip(&signal).all(same), "back from {length}");
        }
    }
}
