//! Windows that step over the spatial axes of an image.

use tract_onnx::tract_hir::internal::*;

/// Windows over an image; each list has an entry for each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// Places that a window reads.
    pub kernel: TVec<usize>,
    /// Places from one window to the next.
    pub strides: TVec<usize>,
    /// Places from one that a window reads to the next.
    pub dilations: TVec<usize>,
    /// Places of padding before and after the image.
    pub padding: TVec<(usize, usize)>,
}

impl Windows {
    /// How many windows there are along each axis of an image of these sizes.
    ///
    /// # Errors
    /// Where the image has another number of axes.
    pub fn counts(&self, image: &[usize]) -> TractResult<TVec<usize>> {
        let axes = self.kernel.len();
        let fits = [image.len(), self.strides.len(), self.dilations.len(), self.padding.len()] == [axes; 4];
        ensure!(fits && !self.strides.contains(&0), "{self:?} over an image of sizes {image:?}");
        let count = |axis: usize| {
            let (before, after) = self.padding[axis];
            let reach = (self.kernel[axis].max(1) - 1) * self.dilations[axis] + 1;
            (before + image[axis] + after).checked_sub(reach).map_or(0, |rest| rest / self.strides[axis] + 1)
        };
        Ok((0..axes).map(count).collect())
    }

    /// The place in an image of these sizes, row-major, that a window reads with a part of it; `None` in the padding.
    pub fn place(&self, image: &[usize], window: &[usize], part: &[usize]) -> Option<usize> {
        let mut place = 0;
        for (axis, size) in image.iter().enumerate() {
            let from_padding = window[axis] * self.strides[axis] + part[axis] * self.dilations[axis];
            place = place * size + from_padding.checked_sub(self.padding[axis].0).filter(|at| at < size)?;
        }
        Some(place)
    }
}

/// The coordinates of a row-major position.
pub fn coordinates(mut position: usize, sizes: &[usize]) -> TVec<usize> {
    let mut coordinates = tvec!(0; sizes.len());
    for (coordinate, size) in coordinates.iter_mut().zip(sizes).rev() {
        *coordinate = position % size;
        position /= size;
    }
    coordinates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_windows() {
        struct Case {
            stride: usize,
            dilation: usize,
            padding: (usize, usize),
            expected: &'static [[Option<usize>; 2]],
        }
        // Windows of two places over an axis of four.
        let cases = [
            Case {
                stride: 1,
                dilation: 1,
                padding: (0, 0),
                expected: &[[Some(0), Some(1)], [Some(1), Some(2)], [Some(2), Some(3)]],
            },
            Case { stride: 2, dilation: 1, padding: (1, 0), expected: &[[None, Some(0)], [Some(1), Some(2)]] },
            Case { stride: 3, dilation: 3, padding: (0, 3), expected: &[[Some(0), Some(3)], [Some(3), None]] },
            Case { stride: 1, dilation: 5, padding: (0, 0), expected: &[] },
        ];
        for Case { stride, dilation, padding, expected } in cases {
            let windows = Windows {
                kernel: tvec!(2),
                strides: tvec!(stride),
                dilations: tvec!(dilation),
                padding: tvec!(padding),
            };
            let count = windows.counts(&[4]).unwrap()[0];
            let places: Vec<_> =
                (0..count).map(|window| [0, 1].map(|part| windows.place(&[4], &[window], &[part]))).collect();
            assert_eq!(places, expected, "{windows:?}");
        }
    }
}
