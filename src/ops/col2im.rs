//! `Col2Im`: ONNX `Col2Im` (18): the sum of windows at their places in an image.
//!
//! Input: f32 `[batch, channels * places of a window, windows]`. Output: f32 `[batch, channels, sizes...]`.

use super::plain::Plain;
use super::windows::{Windows, coordinates};
use super::{f32_slice, f32_tensor};
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Col2Im {
    /// Sizes of the image.
    pub image: TVec<usize>,
    /// What the windows read of it.
    pub windows: Windows,
}

impl Plain for Col2Im {
    const NAME: &'static str = "Col2Im";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let columns = inputs[0];
        ensure!(columns.datum_type == f32::datum_type() && columns.rank() == 3, "windows as {columns:?}");
        let parts: usize = self.windows.kernel.iter().product();
        let channels = columns.shape[1].clone() / parts;
        let sizes = self.image.iter().map(|size| size.to_dim());
        Ok(tvec!(f32::fact([columns.shape[0].clone(), channels].into_iter().chain(sizes).collect::<TVec<TDim>>())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let shape = inputs[0].shape();
        let counts = self.windows.counts(&self.image)?;
        let (parts, windows) = (self.windows.kernel.iter().product::<usize>(), counts.iter().product::<usize>());
        let fits = shape.len() == 3 && parts > 0 && shape[1].is_multiple_of(parts) && shape[2] == windows;
        ensure!(fits, "{shape:?} for {windows} windows of {parts} places");
        let places: Vec<Option<usize>> = (0..parts * windows)
            .map(|column| {
                let part = coordinates(column / windows, &self.windows.kernel);
                self.windows.place(&self.image, &coordinates(column % windows, &counts), &part)
            })
            .collect();
        let pixels: usize = self.image.iter().product();
        let sizes: TVec<usize> = [shape[0], shape[1] / parts].into_iter().chain(self.image.iter().copied()).collect();
        let columns = f32_slice(&inputs[0])?;
        let image = f32_tensor(&sizes, |image| {
            if pixels == 0 || windows == 0 {
                return Ok(());
            }
            for (image, columns) in image.chunks_exact_mut(pixels).zip(columns.chunks_exact(parts * windows)) {
                for (value, place) in columns.iter().zip(&places) {
                    if let Some(place) = place {
                        image[*place] += value;
                    }
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
    use super::*;

    #[test]
    fn sums_of_windows() {
        struct Case {
            stride: usize,
            padding: (usize, usize),
            columns: &'static [f32],
            expected: &'static [f32],
        }
        // Windows of two places over an axis of four, one row of columns for each place; by hand.
        let cases = [
            Case { stride: 1, padding: (0, 0), columns: &[1., 2., 3., 10., 20., 30.], expected: &[1., 12., 23., 30.] },
            Case { stride: 2, padding: (0, 0), columns: &[1., 2., 10., 20.], expected: &[1., 10., 2., 20.] },
            Case { stride: 2, padding: (1, 1), columns: &[1., 2., 3., 10., 20., 30.], expected: &[10., 2., 20., 3.] },
        ];
        for Case { stride, padding, columns, expected } in cases {
            let windows =
                Windows { kernel: tvec!(2), strides: tvec!(stride), dilations: tvec!(1), padding: tvec!(padding) };
            let operator = Col2Im { image: tvec!(4), windows };
            let columns = tensor(&[1, 2, columns.len() / 2], columns).into_tvalue();
            let image = operator.compute(&[columns]).unwrap().remove(0);
            assert_close(&format!("{operator:?}"), &image, &[1, 1, 4], expected);
        }
        let windows = Windows { kernel: tvec!(2), strides: tvec!(1), dilations: tvec!(1), padding: tvec!((0, 0)) };
        let operator = Col2Im { image: tvec!(4), windows };
        assert!(operator.compute(&[tensor(&[1, 2, 2], &[0.; 4]).into_tvalue()]).is_err());
    }
}
