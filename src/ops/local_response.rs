//! `LocalResponse`: ONNX `LRN` (1 to 13): `x / (bias + alpha / size · Σ x²)^beta`, where the squares are those of `size` neighbouring
//! channels.
//!
//! Input: f32 or f64 `[batch, channels, ...]`. Output: its type and shape.

use super::plain::{Plain, around, elements, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalResponse {
    /// Factor of the mean of the squares.
    pub alpha: f32,
    /// The exponent.
    pub beta: f32,
    /// Added to the mean.
    pub bias: f32,
    /// Channels whose squares are summed.
    pub size: usize,
}

impl Plain for LocalResponse {
    const NAME: &'static str = "LocalResponse";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type.is_float() && inputs[0].rank() >= 2, "the local response of {:?}", inputs[0]);
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let x = inputs[0].cast_to::<f64>()?;
        let [batch, channels, inner] = around(x.shape(), 1);
        let values = elements::<f64>(&x)?;
        let (alpha, beta, bias) = (f64::from(self.alpha), f64::from(self.beta), f64::from(self.bias));
        let mut responses = Vec::with_capacity(values.len());
        for (image, channel) in (0..batch).flat_map(|image| (0..channels).map(move |channel| (image, channel))) {
            let first = channel.saturating_sub((self.size - 1) / 2);
            let beyond = channel.saturating_add(self.size / 2 + 1).min(channels);
            for place in 0..inner {
                let at = |channel: usize| values[(image * channels + channel) * inner + place];
                let squares: f64 = (first..beyond).map(|channel| at(channel) * at(channel)).sum();
                responses.push(at(channel) / (bias + alpha / self.size as f64 * squares).powf(beta));
            }
        }
        Ok(tvec!(tensor_of(x.shape(), &responses)?.cast_to_dt(inputs[0].datum_type())?.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::*;

    #[test]
    fn neighbours() {
        // By arithmetic: channels 1, 2, 3, 4 of one place.
        let x = tensor(&[1, 4, 1], &[1., 2., 3., 4.]).into_tvalue();
        let cases = [
            (1, [1. / 2., 2. / 5., 3. / 10., 4. / 17.]),
            (2, [1. / 3.5, 2. / 7.5, 3. / 13.5, 4. / 9.]),
            (3, [3. / 8., 6. / 17., 9. / 32., 12. / 28.]),
        ];
        for (size, expected) in cases {
            let operator = LocalResponse { alpha: 1., beta: 1., bias: 1., size };
            let output = operator.compute(std::slice::from_ref(&x)).unwrap().remove(0);
            assert_close(&format!("{size} channels"), &output, &[1, 4, 1], &expected);
        }
    }
}
