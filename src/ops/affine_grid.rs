//! `AffineGrid`: ONNX `AffineGrid` (20): where each pixel of an image stands after an affine map.
//!
//! Input: f32 maps `[batch, axes, axes + 1]`. Output: f32 `[batch, sizes..., axes]`, coordinates from -1 to 1 with those
//! along the last axis first.

use super::f32_slice;
use super::plain::{Plain, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineGrid {
    /// Images, as many as there are maps.
    pub batch: usize,
    /// Sizes of an image, the last axis last.
    pub sizes: TVec<usize>,
    /// -1 and 1 are the middles of the outer pixels, instead of their outer edges.
    pub align_corners: bool,
}

impl AffineGrid {
    /// The coordinate of a pixel along an axis of that size.
    fn coordinate(&self, pixel: usize, size: usize) -> f32 {
        match (self.align_corners, size) {
            (true, 1) => 1.0,
            (true, _) => 2.0 * pixel as f32 / (size - 1) as f32 - 1.0,
            (false, _) => (2 * pixel + 1) as f32 / size as f32 - 1.0,
        }
    }

    /// The coordinates of each pixel, those along the last axis first, then 1.
    fn pixels(&self) -> Vec<Vec<f32>> {
        let mut pixels = vec![vec![1.0]];
        for size in &self.sizes {
            let along = |pixel: &Vec<f32>, place| [&[self.coordinate(place, *size)][..], pixel].concat();
            pixels = pixels.iter().flat_map(|pixel| (0..*size).map(move |place| along(pixel, place))).collect();
        }
        pixels
    }
}

impl Plain for AffineGrid {
    const NAME: &'static str = "AffineGrid";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let axes = self.sizes.len();
        let maps = inputs[0].shape.to_tvec();
        let fits = maps.len() == 3 && maps[1..] == [axes.to_dim(), (axes + 1).to_dim()];
        ensure!(fits && inputs[0].datum_type == f32::datum_type(), "{:?} for {axes} axes", inputs[0]);
        let sizes = std::iter::once(&self.batch).chain(&self.sizes).chain([&axes]);
        Ok(tvec!(f32::fact(sizes.map(|size| size.to_dim()).collect::<TVec<TDim>>())))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let axes = self.sizes.len();
        ensure!(inputs[0].shape() == [self.batch, axes, axes + 1], "maps of shape {:?}", inputs[0].shape());
        let pixels = self.pixels();
        let mut grid = Vec::with_capacity(self.batch * pixels.len() * axes);
        for map in f32_slice(&inputs[0])?.chunks_exact(axes * (axes + 1)) {
            for pixel in &pixels {
                let rows = map.chunks_exact(axes + 1);
                grid.extend(rows.map(|row| row.iter().zip(pixel).map(|(factor, place)| factor * place).sum::<f32>()));
            }
        }
        let shape: TVec<usize> = std::iter::once(self.batch).chain(self.sizes.iter().copied()).chain([axes]).collect();
        Ok(tvec!(tensor_of(&shape, &grid)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_of_the_identity() {
        struct Case {
            sizes: [usize; 2],
            align_corners: bool,
            expected: &'static [f32],
        }
        // Answers of ONNX Runtime 1.32.
        let cases = [
            Case { sizes: [1, 3], align_corners: true, expected: &[-1.0, 1.0, 0.0, 1.0, 1.0, 1.0] },
            Case { sizes: [1, 1], align_corners: false, expected: &[0.0, 0.0] },
            Case { sizes: [1, 2], align_corners: false, expected: &[-0.5, 0.0, 0.5, 0.0] },
        ];
        let identity = tensor_of(&[1, 2, 3], &[1f32, 0.0, 0.0, 0.0, 1.0, 0.0]).unwrap().into_tvalue();
        for Case { sizes, align_corners, expected } in cases {
            let operator = AffineGrid { batch: 1, sizes: sizes.into_iter().collect(), align_corners };
            let grid = operator.compute(std::slice::from_ref(&identity)).unwrap().remove(0);
            super::super::tests::assert_close(&format!("{operator:?}"), &grid, &[1, sizes[0], sizes[1], 2], expected);
        }
    }
}
