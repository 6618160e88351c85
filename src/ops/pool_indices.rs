//! `PoolIndices`: the positions that ONNX `MaxPool` (8 to 22) gives.
//!
//! Inputs: int64 `[batch, channels, ...windows]`, a position in the image of a channel, row-major; the images `[batch, channels, ...sizes]`.
//! Output: int64, the positions in all images.

use super::plain::{Plain, elements, tensor_of};
use super::windows::coordinates;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolIndices {
    /// Within an image, the first axis is the one that runs fastest.
    pub column_major: bool,
}

impl Plain for PoolIndices {
    const NAME: &'static str = "PoolIndices";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() > 2 && inputs[0].rank() == inputs[1].rank(), "windows of {inputs:?}");
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let sizes = &inputs[1].shape()[2..];
        let windows: usize = inputs[0].shape()[2..].iter().product();
        let image: usize = sizes.iter().product();
        let within = |position: usize| {
            let at = coordinates(position, sizes);
            at.iter().zip(sizes).rev().fold(0, |position, (at, size)| position * size + at)
        };
        let place = |(number, position): (usize, &i64)| {
            let position = *position as usize;
            let position = if self.column_major { within(position) } else { position };
            (number / windows * image + position) as i64
        };
        let places: Vec<i64> = elements::<i64>(&inputs[0])?.iter().enumerate().map(place).collect();
        Ok(tvec!(tensor_of(inputs[0].shape(), &places)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_images() {
        // Images of 2 × 3: row 1, column 2 is row-major 5, column-major 5; row 0, column 1 is 1 and 2.
        let indices = Tensor::from_shape(&[1, 2, 1, 2], &[5i64, 1, 1, 3]).unwrap().into_tvalue();
        let images = Tensor::zero::<f32>(&[1, 2, 2, 3]).unwrap().into_tvalue();
        for (column_major, expected) in [(false, [5i64, 1, 7, 9]), (true, [5, 2, 8, 7])] {
            let output = PoolIndices { column_major }.compute(&[indices.clone(), images.clone()]).unwrap();
            assert_eq!(elements::<i64>(&output[0]).unwrap(), expected, "column-major: {column_major}");
        }
    }
}
