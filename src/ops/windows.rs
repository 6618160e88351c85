//! Windows that step over the spatial axes of an image: how many there are, and what they read.

use crate::kernels::windows::Axis;
use tract_core::internal::*;

/// How windows step over an image; each list has an entry for each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WindowSteps {
    /// Places from one window to the next.
    pub strides: Vec<usize>,
    /// Places from one that a window reads to the next.
    pub dilations: Vec<usize>,
    /// What surrounds the image.
    pub padding: Padding,
}

/// What surrounds the spatial axes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Padding {
    /// Before each axis, then after each axis.
    Explicit(Vec<usize>),
    /// As much as makes the output `input / stride` long, rounded up; what is odd goes to the end.
    SameUpper,
    /// As [`Padding::SameUpper`], what is odd goes to the start.
    SameLower,
}

impl WindowSteps {
    /// How far a window of so many places reaches along a spatial axis.
    ///
    /// # Errors
    /// Where it reaches nowhere, or farther than any image.
    pub fn reach(&self, axis: usize, kernel: usize) -> TractResult<usize> {
        let gaps = kernel.checked_sub(1).context("a window is empty")?;
        let reach = gaps.checked_mul(self.dilations[axis]).filter(|reach| *reach < isize::MAX as usize / 2);
        Ok(reach.context("a window is too long")? + 1)
    }

    /// How many windows there are along each axis of an image of these sizes. With `round_up` a last one counts that reaches
    /// beyond the padding, if it begins before what is behind the image.
    ///
    /// # Errors
    /// Where a list has another number of axes, a window does not fit, or an image's size is not known and `round_up` asks for
    /// it.
    pub fn counts<D: DimLike>(&self, image: &[D], kernel: &[usize], round_up: bool) -> TractResult<TVec<D>> {
        let axes = kernel.len();
        let pads = if let Padding::Explicit(pads) = &self.padding { pads.len() } else { 2 * axes };
        let fits = [image.len(), self.strides.len(), self.dilations.len(), pads] == [axes, axes, axes, 2 * axes];
        ensure!(fits && axes > 0 && !self.strides.contains(&0), "{self:?} over an image of sizes {image:?}");
        (0..axes).map(|axis| self.count(axis, &image[axis], kernel[axis], round_up)).collect()
    }

    fn count<D: DimLike>(&self, axis: usize, image: &D, kernel: usize, round_up: bool) -> TractResult<D> {
        let (stride, reach) = (self.strides[axis], self.reach(axis, kernel)?);
        let Padding::Explicit(pads) = &self.padding else { return Ok((image.clone() + (stride - 1)) / stride) };
        let (before, after) = (pads[axis], pads[axis + pads.len() / 2]);
        let padded = image.clone() + (before + after);
        if let Ok(padded) = padded.to_usize() {
            ensure!(padded >= reach, "the kernel is longer than the padded axis {axis}");
        }
        if !round_up || stride == 1 {
            return Ok((padded - reach) / stride + 1);
        }
        let known = "the size of an image is not known";
        let (padded, image) = (padded.to_usize().context(known)?, image.to_usize().context(known)?);
        let count = (padded - reach).div_ceil(stride) + 1;
        Ok(D::from(if (count - 1) * stride >= before + image { count - 1 } else { count }))
    }

    /// The axes of an image of these sizes, with so many windows over each.
    ///
    /// # Errors
    /// Those of [`WindowSteps::reach`].
    pub fn axes(&self, image: &[usize], kernel: &[usize], counts: &[usize]) -> TractResult<Vec<Axis>> {
        let axis = |axis: usize| {
            let (windows, stride) = (counts[axis], self.strides[axis]);
            let reach = self.reach(axis, kernel[axis])?;
            let all = (windows.saturating_sub(1) * stride + reach).saturating_sub(image[axis]);
            let before = match &self.padding {
                Padding::Explicit(pads) => pads[axis],
                Padding::SameUpper => all / 2,
                Padding::SameLower => all.div_ceil(2),
            };
            let dilation = self.dilations[axis];
            Ok(Axis { image: image[axis], windows, taps: kernel[axis], stride, dilation, before })
        };
        (0..image.len()).map(axis).collect()
    }

    /// The shape of a convolution of `x` `[batch, channels, ...]` with a kernel `[outputs, channels / groups, ...]`:
    /// `[batch, outputs, ...]`.
    ///
    /// # Errors
    /// Where they do not fit.
    pub fn convolved<D: DimLike>(&self, groups: usize, x: &[D], w: &[usize]) -> TractResult<TVec<D>> {
        ensure!(x.len() == w.len() && w.len() > 2, "{x:?} and {w:?}: other ranks");
        ensure!(groups > 0 && w[0].is_multiple_of(groups), "{} outputs in {groups} groups", w[0]);
        let channels = w[1].checked_mul(groups).context("too many channels")?;
        ensure!(x[1].compatible_with(&channels.into()), "{x:?} and {w:?}: other channels");
        let counts = self.counts(&x[2..], &w[2..], false)?;
        Ok([x[0].clone(), w[0].into()].into_iter().chain(counts).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_padding() {
        use Padding::{Explicit, SameLower, SameUpper};
        struct Case {
            image: usize,
            kernel: usize,
            stride: usize,
            dilation: usize,
            padding: Padding,
            round_up: bool,
            /// Windows, and places of padding before the image.
            expected: Option<(usize, usize)>,
        }
        let plain =
            Case { image: 5, kernel: 3, stride: 1, dilation: 1, padding: SameUpper, round_up: false, expected: None };
        let explicit = |before: usize, after: usize| Explicit(vec![before, after]);
        // By the definition of ONNX's `Conv` and `MaxPool`.
        let cases = [
            Case { padding: explicit(0, 0), expected: Some((3, 0)), ..plain },
            Case { padding: explicit(1, 2), stride: 2, expected: Some((3, 1)), ..plain },
            Case { padding: explicit(1, 0), dilation: 2, expected: Some((2, 1)), ..plain },
            Case { padding: explicit(0, 0), kernel: 6, expected: None, ..plain },
            Case { padding: explicit(0, 0), kernel: 0, expected: None, ..plain },
            Case { padding: explicit(0, 0), kernel: usize::MAX, dilation: 2, expected: None, ..plain },
            Case { padding: Explicit(vec![0]), expected: None, ..plain },
            Case { padding: explicit(0, 0), stride: 0, expected: None, ..plain },
            Case { padding: SameUpper, kernel: 4, expected: Some((5, 1)), ..plain },
            Case { padding: SameLower, kernel: 4, expected: Some((5, 2)), ..plain },
            Case { padding: SameUpper, stride: 3, expected: Some((2, 0)), ..plain },
            Case { padding: SameUpper, kernel: 1, stride: 2, expected: Some((3, 0)), ..plain },
            Case { padding: SameUpper, image: 0, expected: Some((0, 1)), ..plain },
            Case { padding: explicit(0, 0), kernel: 2, stride: 2, round_up: true, expected: Some((3, 0)), ..plain },
            Case { padding: explicit(1, 1), kernel: 1, stride: 3, round_up: true, expected: Some((2, 1)), ..plain },
            Case {
                padding: explicit(0, 1),
                image: 4,
                kernel: 2,
                stride: 4,
                round_up: true,
                expected: Some((1, 0)),
                ..plain
            },
        ];
        for case in cases {
            let Case { image, kernel, stride, dilation, padding, round_up, expected } = case;
            let steps = WindowSteps { strides: vec![stride], dilations: vec![dilation], padding };
            let counts = steps.counts(&[image], &[kernel], round_up);
            let found = counts.ok().map(|counts| {
                let axes = steps.axes(&[image], &[kernel], &counts).unwrap();
                (counts[0], axes[0].before)
            });
            assert_eq!(found, expected, "{steps:?} over {image}, kernel {kernel}");
        }
    }

    #[test]
    fn counts_of_symbols() {
        let symbols = SymbolScope::default();
        let image = [symbols.sym("n").to_dim()];
        let cases = [
            (Padding::Explicit(vec![1, 1]), 2, false, Some("(n + 1)/2")),
            (Padding::SameLower, 2, true, Some("(n + 1)/2")),
            (Padding::Explicit(vec![1, 1]), 1, true, Some("n")),
            (Padding::Explicit(vec![1, 1]), 2, true, None),
        ];
        for (padding, stride, round_up, expected) in cases {
            let steps = WindowSteps { strides: vec![stride], dilations: vec![1], padding };
            let counts = steps.counts(&image, &[3], round_up).ok();
            let expected = expected.map(|expected| parse_tdim(&symbols, expected).unwrap().simplify());
            assert_eq!(counts.map(|counts| counts[0].clone().simplify()), expected, "{steps:?}");
        }
    }

    #[test]
    fn shapes_of_convolutions() {
        let steps = WindowSteps { strides: vec![1], dilations: vec![1], padding: Padding::SameUpper };
        type Case = (usize, &'static [usize], &'static [usize], Option<&'static [usize]>);
        let cases: [Case; 7] = [
            (1, &[2, 3, 5], &[4, 3, 2], Some(&[2, 4, 5])),
            (2, &[0, 4, 5], &[6, 2, 2], Some(&[0, 6, 5])),
            (2, &[1, 4, 5], &[3, 2, 2], None),
            (0, &[1, 4, 5], &[4, 4, 2], None),
            (1, &[1, 4, 5], &[4, 3, 2], None),
            (1, &[1, 4], &[4, 4], None),
            (1, &[1, 4, 5], &[4, 4, 2, 2], None),
        ];
        for (groups, x, w, expected) in cases {
            let shape = steps.convolved(groups, x, w).ok();
            assert_eq!(shape.as_deref(), expected, "{groups} groups, {x:?}, {w:?}");
        }
    }
}
