//! `Col2Im`: ONNX `Col2Im` (18): the sum of windows at their places in an image.
//!
//! Input: f32 `[batch, channels * places of a window, windows]`. Output: f32 `[batch, channels, sizes...]`.

use super::plain::Plain;
use super::windows::WindowSteps;
use super::{f32_slice, f32_tensor};
use crate::kernels::windows::{runs, windows};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Col2Im {
    /// Sizes of the image.
    pub image: Vec<usize>,
    /// Sizes of a window.
    pub kernel: Vec<usize>,
    /// How the windows step over the image.
    pub steps: WindowSteps,
}

impl Plain for Col2Im {
    const NAME: &'static str = "Col2Im";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let columns = inputs[0];
        ensure!(columns.datum_type == f32::datum_type() && columns.rank() == 3, "windows as {columns:?}");
        let parts: usize = self.kernel.iter().product();
        let channels = columns.shape[1].clone() / parts;
        let sizes = self.image.iter().map(|size| size.to_dim());
        Ok(tvec!(f32::fact([columns.shape[0].clone(), channels].into_iter().chain(sizes).collect::<TVec<TDim>>())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let shape = inputs[0].shape();
        let counts = self.steps.counts(&self.image, &self.kernel, false)?;
        let axes = self.steps.axes(&self.image, &self.kernel, &counts)?;
        let (parts, count) = (self.kernel.iter().product::<usize>(), windows(&axes));
        let fits = shape.len() == 3 && shape[1].is_multiple_of(parts) && shape[2] == count;
        ensure!(fits, "{shape:?} for {count} windows of {parts} places");
        let pixels: usize = self.image.iter().product();
        let sizes: TVec<usize> = [shape[0], shape[1] / parts].into_iter().chain(self.image.iter().copied()).collect();
        let columns = f32_slice(&inputs[0])?;
        let image = f32_tensor(&sizes, |image| {
            if pixels == 0 || count == 0 {
                return Ok(());
            }
            for (image, columns) in image.chunks_exact_mut(pixels).zip(columns.chunks_exact(parts * count)) {
                for (tap, column) in columns.chunks_exact(count).enumerate() {
                    runs(&axes, tap, 0..count, |run| {
                        let places = image[run.place..].iter_mut().step_by(run.stride);
                        places.zip(&column[run.window..][..run.count]).for_each(|(sum, value)| *sum += value);
                    });
                }
            }
            Ok(())
        })?;
        Ok(tvec!(image))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::super::windows::Padding;
    use super::*;

    #[test]
    fn sums_of_windows() {
        struct Case {
            stride: usize,
            padding: [usize; 2],
            columns: &'static [f32],
            expected: &'static [f32],
        }
        let operator = |stride, padding: [usize; 2]| Col2Im {
            image: vec![4],
            kernel: vec![2],
            steps: WindowSteps {
                strides: vec![stride],
                dilations: vec![1],
                padding: Padding::Explicit(padding.to_vec()),
            },
        };
        // Windows of two places over an axis of four, one row of columns for each place; by hand.
        let cases = [
            Case { stride: 1, padding: [0, 0], columns: &[1., 2., 3., 10., 20., 30.], expected: &[1., 12., 23., 30.] },
            Case { stride: 2, padding: [0, 0], columns: &[1., 2., 10., 20.], expected: &[1., 10., 2., 20.] },
            Case { stride: 2, padding: [1, 1], columns: &[1., 2., 3., 10., 20., 30.], expected: &[10., 2., 20., 3.] },
        ];
        for Case { stride, padding, columns, expected } in cases {
            let operator = operator(stride, padding);
            let columns = tensor(&[1, 2, columns.len() / 2], columns).into_tvalue();
            let image = operator.compute(&[columns]).unwrap().remove(0);
            assert_close(&format!("{operator:?}"), &image, &[1, 1, 4], expected);
        }
        let operator = operator(1, [0, 0]);
        assert!(operator.compute(&[tensor(&[1, 2, 2], &[0.; 4]).into_tvalue()]).is_err());
    }
}
