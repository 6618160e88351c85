//! `ShortTimeFourier`: ONNX `STFT` (17): the Fourier transforms of overlapping frames of signals, computed in float64.
//!
//! Inputs: f32 or f64 `[batch, length, 1]`, or `[batch, length, 2]` with imaginary parts; optionally factors `[frame]`. Output: its type,
//! `[batch, frames, frequencies, 2]`.

use super::fourier::{Transform, complex};
use super::plain::{Plain, elements, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortTimeFourier {
    /// Length of a frame.
    pub frame: usize,
    /// From the start of one frame to that of the next.
    pub step: usize,
    /// The first half of each spectrum alone.
    pub one_sided: bool,
}

impl ShortTimeFourier {
    fn frequencies(&self) -> usize {
        if self.one_sided { self.frame / 2 + 1 } else { self.frame }
    }
}

impl Plain for ShortTimeFourier {
    const NAME: &'static str = "ShortTimeFourier";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let (datum_type, shape) = (inputs[0].datum_type, &inputs[0].shape);
        let parts = shape.get(2).and_then(|parts| parts.to_usize().ok());
        let fits = datum_type.is_float() && shape.rank() == 3 && matches!(parts, Some(1 | 2));
        ensure!(fits, "signals {:?} must be [batch, length, 1 or 2]", inputs[0]);
        let window = inputs.get(1).is_none_or(|window| window.shape.volume() == self.frame.to_dim());
        ensure!(window && self.frame > 0 && self.step > 0, "frames of {}, {} apart", self.frame, self.step);
        let frames = (shape[1].clone() - self.frame) / self.step + 1;
        Ok(tvec!(datum_type.fact([shape[0].clone(), frames, self.frequencies().to_dim(), 2.to_dim()])))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let signals = inputs[0].cast_to::<f64>()?;
        let &[batch, length, parts] = signals.shape() else { bail!("signals {signals:?}") };
        let window = inputs.get(1).map(|window| window.cast_to::<f64>()).transpose()?;
        let window = window.as_ref().map(|window| elements::<f64>(window)).transpose()?;
        let beyond = length.checked_sub(self.frame).with_context(|| format!("a signal of {length} is no frame"))?;
        let frames = beyond / self.step + 1;
        let transform = Transform::new(self.frame, false);
        let mut output: Vec<f64> = Vec::with_capacity(batch * frames * self.frequencies() * 2);
        for (signal, frame) in (0..batch).flat_map(|signal| (0..frames).map(move |frame| (signal, frame))) {
            let first = signal * length + frame * self.step;
            let mut values = complex(elements::<f64>(&signals)?, parts, self.frame, |at| first + at);
            for (value, factor) in values.iter_mut().zip(window.unwrap_or_default()) {
                *value = value.map(|part| part * factor);
            }
            output.extend(transform.of(&values).iter().take(self.frequencies()).flatten());
        }
        let output = tensor_of(&[batch, frames, self.frequencies(), 2], &output)?;
        Ok(tvec!(output.cast_to_dt(inputs[0].datum_type())?.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::*;

    #[test]
    fn frames() {
        // By arithmetic: frames 1 2 and 3 4 of 1 2 3 4 5, or 1 2 3 4 and 2 3 4 5, each times the window.
        let signal = || tensor(&[1, 5, 1], &[1., 2., 3., 4., 5.]).into_tvalue();
        let window = tensor(&[4], &[1., 0., 1., 0.]).into_tvalue();
        type Case<'a> = (ShortTimeFourier, Vec<TValue>, &'a [usize], &'a [f32]);
        let cases: [Case; 3] = [
            (
                ShortTimeFourier { frame: 2, step: 2, one_sided: true },
                vec![signal()],
                &[1, 2, 2, 2],
                &[3., 0., -1., 0., 7., 0., -1., 0.],
            ),
            (
                ShortTimeFourier { frame: 4, step: 1, one_sided: true },
                vec![signal(), window],
                &[1, 2, 3, 2],
                &[4., 0., -2., 0., 4., 0., 6., 0., -2., 0., 6., 0.],
            ),
            (
                ShortTimeFourier { frame: 4, step: 4, one_sided: false },
                vec![signal()],
                &[1, 1, 4, 2],
                &[10., 0., -2., 2., -2., 0., -2., -2.],
            ),
        ];
        for (operator, inputs, shape, expected) in cases {
            let output = operator.compute(&inputs).unwrap().remove(0);
            assert_close(&format!("{operator:?}"), &output, shape, expected);
        }
        let short = ShortTimeFourier { frame: 6, step: 1, one_sided: true };
        assert!(short.compute(&[signal()]).is_err());
    }
}
