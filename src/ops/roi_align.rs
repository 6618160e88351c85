//! `RoiAlign`: ONNX `RoiAlign` (10 to 22): regions of images, resampled to one size.
//!
//! Inputs: images f32 `[batch, channels, height, width]`; regions f32 `[regions, 4]`, as left, top, right and bottom;
//! int64 `[regions]`, the image of each. Output: f32 `[regions, channels, output height, output width]`.
//!
//! Each pixel of the output is the mean of points that are interpolated between pixels of the image, or, as in ONNX Runtime, the
//! greatest of what the pixels around all those points contribute to them.

use super::plain::Plain;
use super::{f32_slice, f32_tensor, i64_slice};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct RoiAlign {
    /// The greatest contribution, instead of the mean.
    pub greatest: bool,
    /// Coordinates are those of the pixels' middles.
    pub half_pixel: bool,
    /// Height and width of the output.
    pub output: [usize; 2],
    /// Points along each side of an output's pixel; 0 for as many as it covers pixels.
    pub sampling_ratio: usize,
    /// From the regions' coordinates to the image's.
    pub spatial_scale: f32,
}

/// Pixels of an image with their weights: what a point is interpolated from.
type Point = [(usize, f32); 4];

impl RoiAlign {
    /// The points of each pixel of the output, for a region of an image of these sizes.
    fn points(&self, region: &[f32], image: [usize; 2]) -> Vec<Vec<Point>> {
        let offset = if self.half_pixel { 0.5 } else { 0.0 };
        let along = |axis: usize| {
            let [start, end] = [region[1 - axis], region[3 - axis]].map(|edge| edge * self.spatial_scale - offset);
            let length = if self.half_pixel { end - start } else { (end - start).max(1.0) };
            let bin = length / self.output[axis] as f32;
            let samples = if self.sampling_ratio > 0 { self.sampling_ratio } else { bin.ceil().max(0.0) as usize };
            let sample = move |pixel: usize, sample: usize| {
                start + pixel as f32 * bin + (sample as f32 + 0.5) * bin / samples as f32
            };
            (0..self.output[axis]).map(|pixel| (0..samples).map(|at| sample(pixel, at)).collect()).collect()
        };
        let [rows, columns]: [Vec<Vec<f32>>; 2] = [along(0), along(1)];
        let pixels = rows.iter().flat_map(|rows| columns.iter().map(move |columns| (rows, columns)));
        let points = pixels.map(|(rows, columns)| {
            rows.iter().flat_map(|y| columns.iter().map(|x| interpolation(*y, *x, image))).collect()
        });
        points.collect()
    }

    fn combine(&self, image: &[f32], points: &[Point]) -> f32 {
        let parts = points.iter().flatten().map(|(pixel, weight)| weight * image[*pixel]);
        match self.greatest {
            _ if points.is_empty() => 0.0,
            true => parts.fold(f32::NEG_INFINITY, f32::max),
            false => parts.sum::<f32>() / points.len() as f32,
        }
    }
}

fn interpolation(y: f32, x: f32, [height, width]: [usize; 2]) -> Point {
    if y < -1.0 || y > height as f32 || x < -1.0 || x > width as f32 {
        return [(0, 0.0); 4];
    }
    let along = |at: f32, size: usize| {
        let at = at.max(0.0);
        let low = (at as usize).min(size - 1);
        let part = if low + 1 < size { at - low as f32 } else { 0.0 };
        [(low, 1.0 - part), ((low + 1).min(size - 1), part)]
    };
    let ([top, bottom], [left, right]) = (along(y, height), along(x, width));
    [(top, left), (top, right), (bottom, left), (bottom, right)]
        .map(|((row, by_row), (column, by_column))| (row * width + column, by_row * by_column))
}

impl Plain for RoiAlign {
    const NAME: &'static str = "RoiAlign";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let &[images, regions, which] = inputs else { bail!("RoiAlign takes 3 inputs") };
        let types = [images.datum_type, regions.datum_type, which.datum_type];
        ensure!(types == [DatumType::F32, DatumType::F32, DatumType::I64], "operands of types {types:?}");
        ensure!([images.rank(), regions.rank(), which.rank()] == [4, 2, 1], "operands of shapes {inputs:?}");
        let [height, width] = self.output.map(|size| size.to_dim());
        Ok(tvec!(f32::fact([regions.shape[0].clone(), images.shape[1].clone(), height, width])))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let &[batch, channels, height, width] = inputs[0].shape() else { bail!("images have rank 4") };
        let (regions, which) = (inputs[1].shape(), i64_slice(&inputs[2])?);
        ensure!(regions == [which.len(), 4], "regions of shape {regions:?} of {} images", which.len());
        ensure!(height > 0 && width > 0, "regions of images of {height} by {width} pixels");
        let (images, pixels) = (f32_slice(&inputs[0])?, height * width);
        let shape = [which.len(), channels, self.output[0], self.output[1]];
        let aligned = f32_tensor(&shape, |aligned| {
            let mut aligned = aligned.iter_mut();
            for (region, image) in f32_slice(&inputs[1])?.chunks_exact(4).zip(which) {
                let image = usize::try_from(*image).ok().filter(|image| *image < batch);
                let image =
                    image.with_context(|| format!("a region of one of {batch} images, which it lies outside of"))?;
                let points = self.points(region, [height, width]);
                for channel in images[image * channels * pixels..][..channels * pixels].chunks_exact(pixels) {
                    for (points, value) in points.iter().zip(&mut aligned) {
                        *value = self.combine(channel, points);
                    }
                }
            }
            Ok(())
        })?;
        Ok(tvec!(aligned))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::*;

    #[test]
    fn regions_of_images() {
        struct Case {
            operator: RoiAlign,
            regions: &'static [f32],
            images: &'static [i64],
            expected: Option<&'static [f32]>,
        }
        let mean =
            |output| RoiAlign { greatest: false, half_pixel: true, output, sampling_ratio: 0, spatial_scale: 1.0 };
        // Answers of ONNX Runtime 1.32.
        let cases = [
            Case {
                operator: mean([2, 2]),
                regions: &[0., 0., 2., 2.],
                images: &[0],
                expected: Some(&[0., 1., 3., 5.]),
            },
            Case {
                operator: RoiAlign { half_pixel: false, ..mean([2, 2]) },
                regions: &[0., 0., 2., 2.],
                images: &[0],
                expected: Some(&[2.25, 3., 5.5, 5.5]),
            },
            Case {
                operator: RoiAlign { sampling_ratio: 2, ..mean([1, 2]) },
                regions: &[0.5, 0., 3., 2.5, -3., -3., 1., 1.],
                images: &[1, 0],
                expected: Some(&[0.0546875, 0.15625, 0., 0.]),
            },
            Case {
                operator: RoiAlign { greatest: true, spatial_scale: 0.5, ..mean([2, 1]) },
                regions: &[0., 0., 4., 6.],
                images: &[1],
                expected: Some(&[1.25, 5.]),
            },
            Case {
                operator: RoiAlign { half_pixel: false, ..mean([1, 1]) },
                regions: &[1., 1., 1., 1.],
                images: &[0],
                expected: Some(&[5.5]),
            },
            Case { operator: mean([1, 1]), regions: &[2., 2., 1., 1.], images: &[0], expected: Some(&[0.]) },
            Case { operator: mean([1, 1]), regions: &[0., 0., 1., 1.], images: &[2], expected: None },
            Case { operator: mean([1, 1]), regions: &[0., 0., 1., 1.], images: &[-1], expected: None },
        ];
        let pixels = [0., 1., 2., 3., 5., 4., 8., 6., 7., 1., -1., 0., 2., -3., 4., 0., 5., -6.];
        for Case { operator, regions, images, expected } in cases {
            let [height, width] = operator.output;
            let shape = [images.len(), 1, height, width];
            let inputs = [tensor(&[2, 1, 3, 3], &pixels), tensor(&[images.len(), 4], regions), tensor1(images)];
            let result = operator.compute(&inputs.map(IntoTValue::into_tvalue));
            match expected {
                Some(expected) => assert_close(&format!("{operator:?}"), &result.unwrap()[0], &shape, expected),
                None => assert!(result.is_err(), "{operator:?} of {images:?}"),
            }
        }
    }
}
