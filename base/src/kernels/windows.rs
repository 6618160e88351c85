//! Windows that step over the axes of an image: which places they read. Places, windows and the taps of a window are counted
//! row-major over all axes.

use std::ops::Range;

/// An axis that windows step over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Places of the image.
    pub image: usize,
    /// Windows.
    pub windows: usize,
    /// Places that a window reads, at least 1.
    pub taps: usize,
    /// Places from one window to the next, at least 1.
    pub stride: usize,
    /// Places from one tap of a window to the next.
    pub dilation: usize,
    /// Places of padding before the image.
    pub before: usize,
}

impl Axis {
    /// An axis of that size with a window of one tap at each place.
    pub fn of_places(size: usize) -> Axis {
        Axis { image: size, windows: size, taps: 1, stride: 1, dilation: 1, before: 0 }
    }

    /// The windows whose tap reads inside the image.
    fn inside(&self, tap: usize) -> Range<usize> {
        let offset = tap * self.dilation;
        let windows_before = |places: usize| places.saturating_sub(offset).div_ceil(self.stride).min(self.windows);
        windows_before(self.before)..windows_before(self.before + self.image)
    }

    /// The place that a window's tap reads, if it lies in the image.
    fn place(&self, window: usize, tap: usize) -> Option<usize> {
        let from_padding = window * self.stride + tap * self.dilation;
        from_padding.checked_sub(self.before).filter(|place| *place < self.image)
    }
}

/// Places of an image of these axes.
pub fn places(axes: &[Axis]) -> usize {
    axes.iter().map(|axis| axis.image).product()
}

/// Windows over these axes.
pub fn windows(axes: &[Axis]) -> usize {
    axes.iter().map(|axis| axis.windows).product()
}

/// Taps of a window over these axes.
pub fn taps(axes: &[Axis]) -> usize {
    axes.iter().map(|axis| axis.taps).product()
}

/// The place that a window's tap reads, if it lies in the image.
pub fn place(axes: &[Axis], mut window: usize, mut tap: usize) -> Option<usize> {
    let (mut place, mut size) = (0, 1);
    for axis in axes.iter().rev() {
        place += axis.place(window % axis.windows, tap % axis.taps)? * size;
        size *= axis.image;
        window /= axis.windows;
        tap /= axis.taps;
    }
    Some(place)
}

/// Neighbouring windows along the last axis, and the places that one of their taps reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first window.
    pub window: usize,
    /// How many windows.
    pub count: usize,
    /// The place that the first one reads.
    pub place: usize,
    /// Places from what one window reads to what the next one does.
    pub stride: usize,
}

/// Visits those of `windows` whose tap reads inside the image, in order. There is at least one axis.
pub fn runs(axes: &[Axis], tap: usize, windows: Range<usize>, mut visit: impl FnMut(Run)) {
    let Some((last, outer)) = axes.split_last() else { return };
    let (outer_tap, last_tap) = (tap / last.taps, tap % last.taps);
    let inside = last.inside(last_tap);
    let mut window = windows.start;
    while window < windows.end {
        let (row, first) = (window / last.windows, window % last.windows);
        let end = last.windows.min(first + windows.end - window);
        let (from, to) = (first.max(inside.start), end.min(inside.end));
        if from < to
            && let Some(image_row) = place(outer, row, outer_tap)
            && let Some(column) = last.place(from, last_tap)
        {
            visit(Run {
                window: window + from - first,
                count: to - from,
                place: image_row * last.image + column,
                stride: last.stride,
            });
        }
        window += end - first;
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;

    /// Axes of several kinds: how windows are padded, step and skip.
    pub(in crate::kernels) const AXES: [Axis; 6] = [
        Axis { image: 7, windows: 7, taps: 1, stride: 1, dilation: 1, before: 0 },
        Axis { image: 9, windows: 9, taps: 3, stride: 1, dilation: 1, before: 1 },
        Axis { image: 5, windows: 3, taps: 2, stride: 2, dilation: 2, before: 1 },
        Axis { image: 2, windows: 6, taps: 3, stride: 1, dilation: 1, before: 3 },
        Axis { image: 11, windows: 3, taps: 2, stride: 4, dilation: 1, before: 0 },
        Axis { image: 4, windows: 0, taps: 5, stride: 1, dilation: 1, before: 0 },
    ];

    /// Runs are what the places of single windows say.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = Vec::new();
        for outer in AXES {
            for last in AXES {
                for axes in [&[outer, last][..], &[last]] {
                    failures.extend((0..taps(axes)).filter_map(|tap| failure(axes, tap)));
                }
            }
        }
        failures
    }

    fn failure(axes: &[Axis], tap: usize) -> Option<String> {
        let count = windows(axes);
        [0..count, count / 3..count - count / 4].into_iter().find_map(|range| {
            let mut found = vec![None; count];
            runs(axes, tap, range.clone(), |run| {
                for at in 0..run.count {
                    found[run.window + at] = Some(run.place + at * run.stride);
                }
            });
            let expected = |window: usize| place(axes, window, tap).filter(|_| range.contains(&window));
            let right = found.into_iter().enumerate().all(|(window, found)| found == expected(window));
            (!right).then(|| format!("windows {range:?} over {axes:?}, tap {tap}"))
        })
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }

    #[test]
    fn places_of_windows() {
        let axis = |stride, dilation, before, windows| Axis { image: 4, windows, taps: 2, stride, dilation, before };
        // Windows of two taps over four places, by hand.
        let cases: [(Axis, &[[Option<usize>; 2]]); 3] = [
            (axis(1, 1, 0, 3), &[[Some(0), Some(1)], [Some(1), Some(2)], [Some(2), Some(3)]]),
            (axis(2, 1, 1, 2), &[[None, Some(0)], [Some(1), Some(2)]]),
            (axis(3, 3, 0, 2), &[[Some(0), Some(3)], [Some(3), None]]),
        ];
        for (axis, expected) in cases {
            let places: Vec<_> =
                (0..axis.windows).map(|window| [0, 1].map(|tap| place(&[axis], window, tap))).collect();
            assert_eq!(places, expected, "{axis:?}");
        }
    }
}
