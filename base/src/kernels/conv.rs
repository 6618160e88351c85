//! Convolutions of f32, and transposed ones.
//!
//! What the windows of a block of the output read goes into panels, in the order in which the kernel's rows are, and is
//! multiplied by these: the kernel is read where it lies, and the product is written where it belongs. Where a group has so few
//! outputs that filling panels would take longer than multiplying, each tap adds its share to whole rows of the output.
#![allow(unsafe_code)]

use super::panel::{LeftRows, PANEL, PanelRow, Target, multiply_panel};
use super::parallel::{SharedOutput, for_each};
use super::pool;
use super::windows::{Axis, Run, place, places, runs, taps, windows};
use std::ops::Range;

/// Windows of one task: a multiple of [`PANEL`].
const WINDOW_BLOCK: usize = 16 * PANEL;

/// Elements of a window that are multiplied at a time: with [`WINDOW_BLOCK`] they take 256 KiB.
const DEPTH_BLOCK: usize = 512;

/// Outputs that go through all panels together: 256 KiB of a [`DEPTH_BLOCK`].
const OUTPUT_BLOCK: usize = 128;

/// Rows between panels, beside their own, so that the panels' rows do not all fall into one set of a cache.
const ROWS_BETWEEN: usize = 2;

/// Outputs of a group that are so few that they are computed without panels.
const FEW_OUTPUTS: usize = 3;

/// Windows of one task without panels: rows of the output that stay in the first-level cache.
const DIRECT_BLOCK: usize = 2048;

/// Elements of the products that a transposed convolution adds up at a time, unless one tap has more: 4 MiB.
const TRANSPOSED_BLOCK: usize = 1 << 20;

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a> {
    /// Images.
    pub batch: usize,
    /// Parts into which channels and outputs are divided.
    pub groups: usize,
    /// Channels of a group.
    pub channels: usize,
    /// Outputs of a group.
    pub outputs: usize,
    /// Axes of an image, at least one.
    pub axes: &'a [Axis],
}

impl Convolution<'_> {
    /// Elements that a window reads.
    fn depth(&self) -> usize {
        self.channels * taps(self.axes)
    }

    fn check(&self, image: usize, image_side: usize, kernel: usize, bias: Option<usize>, out: usize, out_side: usize) {
        let volume = |sizes: [usize; 4]| sizes.into_iter().try_fold(1, usize::checked_mul);
        let Convolution { batch, groups, channels, outputs, .. } = *self;
        assert_eq!(Some(image), volume([batch, groups, channels, image_side]), "x is [batch, groups * channels, ...]");
        assert_eq!(Some(out), volume([batch, groups, outputs, out_side]), "out is [batch, groups * outputs, ...]");
        assert_eq!(Some(kernel), volume([groups, outputs, channels, taps(self.axes)]), "a kernel for each output");
        assert!(bias.is_none_or(|bias| bias == groups * outputs), "bias is [groups * outputs]");
    }
}

/// `out[b, g, o, window] = Σ_c Σ_tap x[b, g, c, place(window, tap)] · w[g, o, c, tap] + bias[g, o]`, with `x`
/// `[batch, groups * channels, places]`, `w` `[groups * outputs, channels, taps]`, `bias` `[groups * outputs]` and `out`
/// `[batch, groups * outputs, windows]`. What lies outside the image is 0.
///
/// # Panics
/// When a length does not fit.
pub fn convolve(x: &[f32], w: &[f32], bias: Option<&[f32]>, convolution: Convolution<'_>, out: &mut [f32]) {
    let (image, count) = (places(convolution.axes), windows(convolution.axes));
    convolution.check(x.len(), image, w.len(), bias.map(<[f32]>::len), out.len(), count);
    let merged;
    let axes = match convolution.axes.iter().all(|axis| *axis == Axis::of_places(axis.image)) {
        true => {
            merged = [Axis::of_places(image)];
            &merged[..]
        }
        false => convolution.axes,
    };
    let convolution = Convolution { axes, ..convolution };
    let operands = Operands { x, w, bias, convolution, image, windows: count };
    if convolution.outputs <= FEW_OUTPUTS { operands.directly(out) } else { operands.by_panels(out) }
}

#[derive(Clone, Copy)]
struct Operands<'a> {
    x: &'a [f32],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    convolution: Convolution<'a>,
    image: usize,
    windows: usize,
}

/// What a task computes.
struct Part {
    /// The image, and the group of it.
    plane: usize,
    /// Outputs of the group.
    outputs: Range<usize>,
    windows: Range<usize>,
}

/// A thread's own memory.
struct Scratch {
    panels: Vec<PanelRow>,
    /// What one tap of the windows reads of a channel.
    line: [f32; WINDOW_BLOCK],
    runs: Vec<Run>,
}

impl Operands<'_> {
    fn work(&self) -> usize {
        let Convolution { batch, groups, outputs, .. } = self.convolution;
        [groups, outputs, self.windows, self.convolution.depth()].into_iter().fold(batch, usize::saturating_mul)
    }

    fn bias(&self, plane: usize, output: usize) -> f32 {
        let Convolution { groups, outputs, .. } = self.convolution;
        self.bias.map_or(0.0, |bias| bias[plane % groups * outputs + output])
    }

    /// The channels of a plane.
    fn channels(&self, plane: usize) -> &[f32] {
        let len = self.convolution.channels * self.image;
        &self.x[plane * len..][..len]
    }

    /// The kernels of a plane's outputs.
    fn kernels(&self, plane: usize) -> &[f32] {
        let Convolution { groups, outputs, .. } = self.convolution;
        let len = outputs * self.convolution.depth();
        &self.w[plane % groups * len..][..len]
    }

    fn by_panels(&self, out: &mut [f32]) {
        let Convolution { batch, groups, outputs, .. } = self.convolution;
        let window_blocks = self.windows.div_ceil(WINDOW_BLOCK);
        let parts = batch * groups * window_blocks;
        let outputs_of_a_task = if parts < 2 * pool::threads() { OUTPUT_BLOCK.min(outputs) } else { outputs };
        let output_blocks = outputs.div_ceil(outputs_of_a_task);
        let rows = DEPTH_BLOCK.min(self.convolution.depth()) + ROWS_BETWEEN;
        let panels = WINDOW_BLOCK.min(self.windows).div_ceil(PANEL);
        let out = SharedOutput::new(out);
        for_each(
            parts * output_blocks,
            self.work(),
            || Scratch { panels: vec![[0.0; PANEL]; panels * rows], line: [0.0; WINDOW_BLOCK], runs: Vec::new() },
            |scratch, task| {
                let (part, output_block) = (task / output_blocks, task % output_blocks);
                let (plane, window_block) = (part / window_blocks, part % window_blocks);
                let block = |number: usize, size: usize, all: usize| number * size..all.min((number + 1) * size);
                let part = Part {
                    plane,
                    outputs: block(output_block, outputs_of_a_task, outputs),
                    windows: block(window_block, WINDOW_BLOCK, self.windows),
                };
                // SAFETY: every task has its own windows of its own outputs.
                unsafe { self.multiply(&part, &out, scratch) }
            },
        );
    }

    /// Computes a part through panels.
    ///
    /// # Safety
    /// As long as this runs, no one else may use the part of `out`.
    unsafe fn multiply(&self, part: &Part, out: &SharedOutput<'_>, scratch: &mut Scratch) {
        let (depth, kernels) = (self.convolution.depth(), self.kernels(part.plane));
        let start =
            |output: usize| (part.plane * self.convolution.outputs + output) * self.windows + part.windows.start;
        for output in part.outputs.clone() {
            // SAFETY: a row of the part, which the caller keeps for this call.
            unsafe { out.slice(start(output), part.windows.len()) }.fill(self.bias(part.plane, output));
        }
        for first in (0..depth).step_by(DEPTH_BLOCK) {
            let rows = DEPTH_BLOCK.min(depth - first);
            self.fill_panels(part, first..first + rows, scratch);
            for output in part.outputs.clone().step_by(OUTPUT_BLOCK) {
                let outputs = OUTPUT_BLOCK.min(part.outputs.end - output);
                let left = LeftRows { values: &kernels[output * depth + first..], rows: outputs, stride: depth };
                let panels = scratch.panels.chunks(rows + ROWS_BETWEEN);
                for (panel, column) in panels.zip((0..part.windows.len()).step_by(PANEL)) {
                    let target = Target {
                        buffer: out,
                        start: start(output) + column,
                        stride: self.windows,
                        columns: PANEL.min(part.windows.len() - column),
                        accumulate: true,
                        finish: None,
                    };
                    // SAFETY: the target is in the part, which the caller keeps for this call.
                    unsafe { multiply_panel(left, &panel[..rows], target) };
                }
            }
        }
    }

    /// Fills the panels with elements `depth` of the part's windows.
    fn fill_panels(&self, part: &Part, depth: Range<usize>, scratch: &mut Scratch) {
        let Convolution { axes, .. } = self.convolution;
        let (taps, channels) = (taps(axes), self.channels(part.plane));
        let rows = depth.len() + ROWS_BETWEEN;
        for tap in 0..taps {
            let channels_before = |element: usize| element.saturating_sub(tap).div_ceil(taps);
            scratch.runs.clear();
            runs(axes, tap, part.windows.clone(), |run| scratch.runs.push(run));
            scratch.line.fill(0.0);
            for channel in channels_before(depth.start)..channels_before(depth.end) {
                let image = &channels[channel * self.image..][..self.image];
                for run in &scratch.runs {
                    gather(image, *run, &mut scratch.line[run.window - part.windows.start..][..run.count]);
                }
                let row = channel * taps + tap - depth.start;
                let panels = scratch.panels[row..].iter_mut().step_by(rows);
                panels.zip(scratch.line.as_chunks().0).for_each(|(row, elements)| *row = *elements);
            }
        }
    }

    fn directly(&self, out: &mut [f32]) {
        let Convolution { batch, groups, outputs, .. } = self.convolution;
        let blocks = self.windows.div_ceil(DIRECT_BLOCK);
        let out = SharedOutput::new(out);
        for_each(
            batch * groups * outputs * blocks,
            self.work(),
            || (),
            |(), task| {
                let (row, first) = (task / blocks, task % blocks * DIRECT_BLOCK);
                let windows = first..self.windows.min(first + DIRECT_BLOCK);
                // SAFETY: every task has its own windows of its own output.
                let sums = unsafe { out.slice(row * self.windows + first, windows.len()) };
                self.add_up(row / outputs, row % outputs, windows, sums);
            },
        );
    }

    /// The sums of an output's windows.
    fn add_up(&self, plane: usize, output: usize, windows: Range<usize>, sums: &mut [f32]) {
        let (depth, taps) = (self.convolution.depth(), taps(self.convolution.axes));
        let kernel = &self.kernels(plane)[output * depth..][..depth];
        sums.fill(self.bias(plane, output));
        for tap in 0..taps {
            runs(self.convolution.axes, tap, windows.clone(), |run| {
                let sums = &mut sums[run.window - windows.start..][..run.count];
                for channel in 0..self.convolution.channels {
                    let image = &self.channels(plane)[channel * self.image..][..self.image];
                    add_scaled(image, run, kernel[channel * taps + tap], sums);
                }
            });
        }
    }
}

/// What the windows of a run read.
fn gather(image: &[f32], run: Run, line: &mut [f32]) {
    if run.stride == 1 {
        return line.copy_from_slice(&image[run.place..][..run.count]);
    }
    line.iter_mut().zip(image[run.place..].iter().step_by(run.stride)).for_each(|(to, from)| *to = *from);
}

/// Adds what the windows of a run read, times a factor.
fn add_scaled(image: &[f32], run: Run, factor: f32, sums: &mut [f32]) {
    if run.stride == 1 {
        let places = &image[run.place..][..run.count];
        return sums.iter_mut().zip(places).for_each(|(sum, element)| *sum += element * factor);
    }
    let places = image[run.place..].iter().step_by(run.stride);
    sums.iter_mut().zip(places).for_each(|(sum, element)| *sum += element * factor);
}

/// The opposite way: `out[b, g, o, place(window, tap)] += Σ_c x[b, g, c, window] · w[g, o, tap, c]`, beginning with
/// `bias[g, o]`, with `x` `[batch, groups * channels, windows]`, `w` `[groups * outputs, taps, channels]` and `out`
/// `[batch, groups * outputs, places]`.
///
/// # Panics
/// When a length does not fit.
pub fn convolve_transposed(x: &[f32], w: &[f32], bias: Option<&[f32]>, convolution: Convolution<'_>, out: &mut [f32]) {
    let Convolution { groups, channels, outputs, axes, .. } = convolution;
    let (image, count, taps) = (places(axes), windows(axes), taps(axes));
    convolution.check(x.len(), count, w.len(), bias.map(<[f32]>::len), out.len(), image);
    fill(bias, image, out);
    if count == 0 || image == 0 {
        return;
    }
    let rows = outputs * taps;
    let at_once = (TRANSPOSED_BLOCK / count).clamp(1, rows.max(1));
    let mut products = vec![0.0; at_once * count];
    let product_axes = [Axis::of_places(count)];
    for (plane, out) in out.chunks_mut((outputs * image).max(1)).enumerate() {
        let x = &x[plane * channels * count..][..channels * count];
        let kernels = &w[plane % groups * rows * channels..][..rows * channels];
        for first in (0..rows).step_by(at_once) {
            let outputs = at_once.min(rows - first);
            let (kernels, products) =
                (&kernels[first * channels..][..outputs * channels], &mut products[..outputs * count]);
            let product = Convolution { batch: 1, groups: 1, channels, outputs, axes: &product_axes };
            convolve(x, kernels, None, product, products);
            for (row, products) in (first..).zip(products.chunks(count)) {
                scatter(products, axes, row % taps, &mut out[row / taps * image..][..image]);
            }
        }
    }
}

/// Begins each output with its bias.
fn fill(bias: Option<&[f32]>, image: usize, out: &mut [f32]) {
    let Some(bias) = bias else { return out.fill(0.0) };
    out.chunks_mut(image.max(1)).zip(bias.iter().cycle()).for_each(|(out, bias)| out.fill(*bias));
}

/// Adds the products of all windows where their tap lies.
fn scatter(products: &[f32], axes: &[Axis], tap: usize, out: &mut [f32]) {
    runs(axes, tap, 0..products.len(), |run| {
        let products = &products[run.window..][..run.count];
        let places = out[run.place..].iter_mut().step_by(run.stride);
        places.zip(products).for_each(|(sum, product)| *sum += product);
    });
}

/// [`convolve`] by its definition, in f64.
///
/// # Panics
/// When a length does not fit.
pub fn convolve_reference(x: &[f64], w: &[f64], bias: Option<&[f64]>, convolution: Convolution<'_>, out: &mut [f64]) {
    let Convolution { groups, channels, outputs, axes, .. } = convolution;
    let (image, count, taps) = (places(axes), windows(axes), taps(axes));
    convolution.check(x.len(), image, w.len(), bias.map(<[f64]>::len), out.len(), count);
    for (at, sum) in out.iter_mut().enumerate() {
        let (window, output, plane) = (at % count, at / count % outputs, at / count / outputs);
        let output_of_all = plane % groups * outputs + output;
        *sum = bias.map_or(0.0, |bias| bias[output_of_all]);
        for element in 0..channels * taps {
            if let Some(place) = place(axes, window, element % taps) {
                let channel = plane * channels + element / taps;
                *sum += x[channel * image + place] * w[output_of_all * channels * taps + element];
            }
        }
    }
}

/// [`convolve_transposed`] by its definition, in f64.
///
/// # Panics
/// When a length does not fit.
pub fn convolve_transposed_reference(
    x: &[f64],
    w: &[f64],
    bias: Option<&[f64]>,
    convolution: Convolution<'_>,
    out: &mut [f64],
) {
    let Convolution { groups, channels, outputs, axes, .. } = convolution;
    let (image, count, taps) = (places(axes), windows(axes), taps(axes));
    convolution.check(x.len(), count, w.len(), bias.map(<[f64]>::len), out.len(), image);
    for (row, out) in out.chunks_mut(image.max(1)).enumerate() {
        let (plane, output_of_all) = (row / outputs, row % (groups * outputs));
        out.fill(bias.map_or(0.0, |bias| bias[output_of_all]));
        for (window, tap) in (0..count).flat_map(|window| (0..taps).map(move |tap| (window, tap))) {
            let Some(place) = place(axes, window, tap) else { continue };
            for channel in 0..channels {
                let element = x[(plane * channels + channel) * count + window];
                out[place] += element * w[(output_of_all * taps + tap) * channels + channel];
            }
        }
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::super::windows::cases::AXES;
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds both kernels against their twins at many sizes.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = Vec::new();
        // Batch, groups, channels and outputs of a group.
        let sizes =
            [[1, 1, 1, 1], [2, 1, 3, 5], [1, 3, 1, 2], [1, 2, 130, 9], [0, 1, 2, 4], [1, 1, 0, 4], [1, 1, 3, 0]];
        for [batch, groups, channels, outputs] in sizes {
            for outer in AXES {
                for last in AXES {
                    for axes in [&[outer, last][..], &[last]] {
                        let convolution = Convolution { batch, groups, channels, outputs, axes };
                        failures.extend(failure(convolution, false));
                        failures.extend(failure(convolution, true));
                    }
                }
            }
        }
        let long = [Axis { image: 4500, windows: 4500, taps: 5, stride: 1, dilation: 2, before: 4 }];
        let wide = [Axis::of_places(20), Axis { image: 41, windows: 20, taps: 3, stride: 2, dilation: 1, before: 0 }];
        for (channels, outputs, axes) in [(2, 2, &long[..]), (7, 5, &long), (220, 300, &wide)] {
            let convolution = Convolution { batch: 1, groups: 1, channels, outputs, axes };
            failures.extend(failure(convolution, false));
            failures.extend(failure(convolution, true));
        }
        failures
    }

    fn failure(convolution: Convolution<'_>, transposed: bool) -> Option<String> {
        type Kernel<T> = fn(&[T], &[T], Option<&[T]>, Convolution<'_>, &mut [T]);
        let kernels: [(Kernel<f32>, Kernel<f64>); 2] =
            [(convolve, convolve_reference), (convolve_transposed, convolve_transposed_reference)];
        let (kernel, twin) = kernels[usize::from(transposed)];
        let Convolution { batch, groups, channels, outputs, axes } = convolution;
        let mut sides = [places(axes), windows(axes)];
        if transposed {
            sides.reverse();
        }
        let x = numbers(batch * groups * channels * sides[0], 1);
        let w = numbers(groups * outputs * convolution.depth(), 2);
        let bias = (channels != 3).then(|| numbers(groups * outputs, 3));
        let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        let mut got = vec![f32::NAN; batch * groups * outputs * sides[1]];
        let mut expected = vec![f64::NAN; got.len()];
        kernel(&x, &w, bias.as_deref(), convolution, &mut got);
        twin(&wide(&x), &wide(&w), bias.as_deref().map(wide).as_deref(), convolution, &mut expected);
        let expected: Vec<f32> = expected.into_iter().map(|value| value as f32).collect();
        // Sums of so many products below 1, in f32.
        let tolerance = 1e-6 * (convolution.depth() as f32 / 16.0).max(1.0);
        difference(format!("{convolution:?}, transposed: {transposed}"), &got, &expected, tolerance)
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
