//! `Resize`: ONNX `Resize` (10 to 19) and `Upsample` (7 and 9) of any number of axes.
//!
//! Input: `x`, of any type where the nearest element is taken, else of a float type. Output: `x` with each axis resampled by
//! itself: an element of the result is a weighted sum of a few elements of the axis, its taps.

use super::elements::{Places, pick, places};
use tract_core::internal::*;

/// How an element is made of its neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interpolation {
    /// The nearest one.
    Nearest(Rounding),
    /// Two neighbours.
    Linear,
    /// Four neighbours, with the coefficient `a` of cubic convolution.
    Cubic(f32),
}

/// Which of two neighbours is nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// The nearer one, the lower one of two equally near.
    PreferFloor,
    /// The nearer one, the upper one of two equally near.
    PreferCeil,
    /// The lower one.
    Floor,
    /// The upper one.
    Ceil,
    /// As before opset 11: the upper one where the axis becomes shorter, else the lower one.
    Simple,
}

/// Where in the axis an element of the resized axis lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// Centres of elements match.
    HalfPixel,
    /// As `HalfPixel`, but 0 for a single element.
    PytorchHalfPixel,
    /// As `HalfPixel`, symmetric also where the size was rounded.
    HalfPixelSymmetric,
    /// As `HalfPixel`, half an element further.
    TfHalfPixelForNn,
    /// First and last elements match.
    AlignCorners,
    /// First elements match.
    Asymmetric,
    /// Within a region of interest; what lies outside the axis becomes the extrapolation value.
    TfCropAndResize,
}

/// Sizes of the result.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A factor for each of the resized axes. As in ONNX Runtime the region of interest does not change the size.
    Scales(Vec<f32>),
    /// A size for each of the resized axes.
    Sizes(Vec<TDim>, AspectRatio),
}

/// What sizes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AspectRatio {
    /// Sizes of the result.
    Stretch,
    /// All axes are scaled alike, and none becomes larger.
    NotLarger,
    /// All axes are scaled alike, and none becomes smaller.
    NotSmaller,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// How an element is made of its neighbours.
    pub interpolation: Interpolation,
    /// Where an element lies.
    pub coordinates: Coordinates,
    /// The axes that are resized, in the order of `target` and `region`.
    pub axes: Vec<usize>,
    /// Sizes of the result.
    pub target: Target,
    /// Start and end of the region of interest in each resized axis, as fractions of it.
    pub region: Vec<(f32, f32)>,
    /// What stands for elements outside the axis, for `TfCropAndResize`.
    pub extrapolation: f32,
    /// Neighbours beyond the ends do not count, instead of being the elements at the ends.
    pub exclude_outside: bool,
    /// Neighbours further away count where the axis becomes shorter.
    pub antialias: bool,
    /// Sizes of the result as far as they are known.
    pub output: TVec<TDim>,
}

impl Eq for Resize {}

/// An axis that is resampled.
#[derive(Debug, Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
    scale: f32,
    region: (f32, f32),
}

/// Weights of elements of the axis; `None` stands for the extrapolation value.
type Taps = Option<Vec<(usize, f32)>>;

impl Resize {
    /// The sizes that are given, with what symbols stand for.
    fn sizes(&self, symbols: &SymbolValues) -> TractResult<Vec<usize>> {
        match &self.target {
            Target::Scales(_) => Ok(vec![]),
            Target::Sizes(sizes, _) => sizes.iter().map(|size| Ok(size.eval(symbols).to_usize()?)).collect(),
        }
    }

    /// The resized axes of an input.
    fn resized(&self, shape: &[usize], sizes: &[usize]) -> Vec<Axis> {
        let from = self.axes.iter().map(|axis| shape[*axis]);
        match &self.target {
            Target::Scales(scales) => {
                let axis = |((from, scale), region): ((usize, &f32), &(f32, f32))| Axis {
                    from,
                    to: (from as f32 * scale).floor() as usize,
                    scale: *scale,
                    region: *region,
                };
                from.zip(scales).zip(&self.region).map(axis).collect()
            }
            Target::Sizes(_, policy) => {
                let ratios = from.clone().zip(sizes).map(|(from, to)| *to as f32 / from as f32);
                let common = match policy {
                    AspectRatio::Stretch => None,
                    AspectRatio::NotLarger => Some(ratios.fold(f32::INFINITY, f32::min)),
                    AspectRatio::NotSmaller => Some(ratios.fold(0., f32::max)),
                };
                let axis = |((from, to), region): ((usize, &usize), &(f32, f32))| match common {
                    Some(scale) => Axis { from, to: (scale * from as f32).round() as usize, scale, region: *region },
                    None => Axis { from, to: *to, scale: *to as f32 / from as f32, region: *region },
                };
                from.zip(sizes).zip(&self.region).map(axis).collect()
            }
        }
    }

    /// Where the element at `position` of the resized axis lies in the axis.
    fn coordinate(&self, axis: Axis, position: usize) -> f32 {
        let (x, from, to) = (position as f32, axis.from as f32, axis.to as f32);
        if axis.scale == 1. && axis.from == axis.to && self.coordinates != Coordinates::TfCropAndResize {
            return x;
        }
        match self.coordinates {
            Coordinates::HalfPixel => (x + 0.5) / axis.scale - 0.5,
            Coordinates::PytorchHalfPixel => {
                if axis.to > 1 {
                    (x + 0.5) / axis.scale - 0.5
                } else {
                    0.
                }
            }
            Coordinates::HalfPixelSymmetric => {
                let adjustment = to / (axis.scale * from);
                from / 2. * (1. - adjustment) + (x + 0.5) / axis.scale - 0.5
            }
            Coordinates::TfHalfPixelForNn => (x + 0.5) / axis.scale,
            Coordinates::AlignCorners => {
                if axis.to > 1 {
                    x * (from - 1.) / (to - 1.)
                } else {
                    0.
                }
            }
            Coordinates::Asymmetric => x / axis.scale,
            Coordinates::TfCropAndResize => {
                let (start, end) = axis.region;
                match axis.to > 1 {
                    true => start * (from - 1.) + x * (end - start) * (from - 1.) / (to - 1.),
                    false => 0.5 * (start + end) * (from - 1.),
                }
            }
        }
    }

    /// The taps of each element of the resized axis.
    fn taps(&self, axis: Axis) -> Vec<Taps> {
        let outside = |x: f32| x < 0. || x > (axis.from - 1) as f32;
        (0..axis.to)
            .map(|position| {
                let x = self.coordinate(axis, position);
                if self.coordinates == Coordinates::TfCropAndResize && outside(x) {
                    return None;
                }
                Some(match self.interpolation {
                    Interpolation::Nearest(rounding) => vec![(nearest(x, rounding, axis), 1.)],
                    _ if self.antialias && axis.scale < 1. => self.far(x, axis),
                    Interpolation::Linear => {
                        let x = x.clamp(0., (axis.from - 1) as f32);
                        let (below, above) = (x.floor(), x - x.floor());
                        vec![(below as usize, 1. - above), ((below as usize + 1).min(axis.from - 1), above)]
                    }
                    Interpolation::Cubic(_) => {
                        let first = x.floor() as i64 - 1;
                        let weight = |tap: i64| (tap, self.filter(tap as f32 - x));
                        self.within((first..first + 4).map(weight), axis)
                    }
                })
            })
            .collect()
    }

    /// The filter, stretched so that it covers all elements that the axis has for one of the resized axis.
    fn far(&self, x: f32, axis: Axis) -> Vec<(usize, f32)> {
        let radius = if self.interpolation == Interpolation::Linear { 1. } else { 2. };
        let (support, center) = (radius / axis.scale, x + 0.5);
        let first = (center - support + 0.5).floor() as i64;
        let end = (center + support + 0.5).floor() as i64;
        self.within((first..end).map(|tap| (tap, self.filter((tap as f32 - x) * axis.scale))), axis)
    }

    fn filter(&self, distance: f32) -> f32 {
        let x = distance.abs();
        match self.interpolation {
            Interpolation::Cubic(a) if x < 1. => ((a + 2.) * x - (a + 3.)) * x * x + 1.,
            Interpolation::Cubic(a) if x < 2. => ((a * x - 5. * a) * x + 8. * a) * x - 4. * a,
            Interpolation::Linear if x < 1. => 1. - x,
            _ => 0.,
        }
    }

    /// Taps within the axis, with weights that sum up to 1.
    fn within(&self, taps: impl Iterator<Item = (i64, f32)>, axis: Axis) -> Vec<(usize, f32)> {
        let end = axis.from as i64;
        let taps: Vec<(usize, f32)> = taps
            .filter(|(tap, _)| !self.exclude_outside || (0..end).contains(tap))
            .map(|(tap, weight)| (tap.clamp(0, end - 1) as usize, weight))
            .collect();
        let total: f32 = taps.iter().map(|(_, weight)| weight).sum();
        taps.into_iter().map(|(tap, weight)| (tap, weight / total)).collect()
    }

    /// The nearest elements, of any type.
    fn select(&self, x: &Tensor, axes: &[Axis]) -> TractResult<Tensor> {
        let mut positions: Vec<Places> = x.shape().iter().map(|size| (0..*size).map(Some).collect()).collect();
        for (axis, resized) in self.axes.iter().zip(axes) {
            positions[*axis] = self.taps(*resized).into_iter().map(|taps| Some(taps?[0].0)).collect();
        }
        let shape: Vec<usize> = positions.iter().map(|positions| positions.len()).collect();
        let fill = tensor0(self.extrapolation).cast_to_dt(x.datum_type())?.into_owned();
        pick(x, &fill, &shape, &places(x.shape(), &positions))
    }

    /// Weighted sums, one axis after the other.
    fn interpolate(&self, x: &Tensor, axes: &[Axis]) -> TractResult<Tensor> {
        let mut shape = x.shape().to_vec();
        let mut values = x.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        let mut outside = vec![false; values.len()];
        for (axis, resized) in self.axes.iter().zip(axes) {
            let inner: usize = shape[axis + 1..].iter().product();
            let outer: usize = shape[..*axis].iter().product();
            let taps = self.taps(*resized);
            let mut resampled = Vec::with_capacity(outer * resized.to * inner);
            let mut now_outside = Vec::with_capacity(resampled.capacity());
            for block in 0..outer {
                for taps in &taps {
                    for offset in 0..inner {
                        let place = |tap: usize| (block * resized.from + tap) * inner + offset;
                        let taps = taps.as_deref().filter(|taps| !taps.iter().any(|(tap, _)| outside[place(*tap)]));
                        now_outside.push(taps.is_none());
                        let sum =
                            |taps: &[(usize, f32)]| taps.iter().map(|(tap, weight)| values[place(*tap)] * weight).sum();
                        resampled.push(taps.map_or(self.extrapolation, sum));
                    }
                }
            }
            shape[*axis] = resized.to;
            (values, outside) = (resampled, now_outside);
        }
        Ok(Tensor::from_shape(&shape, &values)?.cast_to_dt(x.datum_type())?.into_owned())
    }
}

/// The nearest element of the axis.
fn nearest(x: f32, rounding: Rounding, axis: Axis) -> usize {
    let rounded = match rounding {
        Rounding::PreferFloor => (x - 0.5).ceil(),
        Rounding::PreferCeil => (x + 0.5).floor(),
        Rounding::Floor => x.floor(),
        Rounding::Ceil => x.ceil(),
        Rounding::Simple if axis.scale < 1. => x.ceil(),
        Rounding::Simple => x.floor(),
    };
    rounded.clamp(0., (axis.from - 1) as f32) as usize
}

impl Op for Resize {
    fn name(&self) -> StaticName {
        "Resize".into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    op_as_typed_op!();
}

impl EvalOp for Resize {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = &inputs[0];
        let axes = self.resized(x.shape(), &self.sizes(context.symbols)?);
        ensure!(axes.iter().all(|axis| axis.from > 0 || axis.to == 0), "an empty axis cannot be resized");
        let output = match self.interpolation {
            Interpolation::Nearest(_) => self.select(x, &axes)?,
            _ => self.interpolate(x, &axes)?,
        };
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for Resize {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() == self.output.len(), "Resize of rank {} takes {:?}", self.output.len(), inputs[0]);
        if let Some(shape) = inputs[0].shape.as_concrete()
            && let Ok(sizes) = self.sizes(&SymbolValues::default())
        {
            let mut output: TVec<usize> = shape.into();
            for (axis, resized) in self.axes.iter().zip(self.resized(shape, &sizes)) {
                output[*axis] = resized.to;
            }
            return Ok(tvec!(inputs[0].datum_type.fact(output)));
        }
        Ok(tvec!(inputs[0].datum_type.fact(self.output.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn one_axis() {
        struct Case {
            interpolation: Interpolation,
            coordinates: Coordinates,
            target: Target,
            antialias: bool,
            expected: &'static [f32],
        }
        let case = |interpolation, coordinates, scale, antialias, expected| {
            let target = Target::Scales(vec![scale]);
            Case { interpolation, coordinates, target, antialias, expected }
        };
        let nearest = |rounding| Interpolation::Nearest(rounding);
        // [1, 3, 7, 9], answers of ONNX Runtime 1.32.
        let cases = [
            case(nearest(Rounding::PreferFloor), Coordinates::HalfPixel, 0.5, false, &[1.0, 7.0]),
            case(nearest(Rounding::PreferCeil), Coordinates::HalfPixel, 0.5, false, &[3.0, 9.0]),
            case(nearest(Rounding::Floor), Coordinates::HalfPixel, 0.5, false, &[1.0, 7.0]),
            case(nearest(Rounding::Ceil), Coordinates::HalfPixel, 0.5, false, &[3.0, 9.0]),
            case(nearest(Rounding::PreferFloor), Coordinates::Asymmetric, 1.5, false, &[1.0, 3.0, 3.0, 7.0, 9.0, 9.0]),
            case(Interpolation::Linear, Coordinates::HalfPixel, 1.5, false, &[1.0, 2.0, 3.66667, 6.33333, 8.0, 9.0]),
            case(Interpolation::Linear, Coordinates::AlignCorners, 1.5, false, &[1.0, 2.2, 3.8, 6.2, 7.8, 9.0]),
            case(Interpolation::Linear, Coordinates::TfCropAndResize, 1.25, false, &[2.5, 5.0, 7.5, 9.0, -1.0]),
            case(Interpolation::Linear, Coordinates::HalfPixelSymmetric, 0.6, false, &[2.33333, 7.66667]),
            case(Interpolation::Linear, Coordinates::PytorchHalfPixel, 0.25, false, &[1.0]),
            case(
                Interpolation::Cubic(-0.75),
                Coordinates::HalfPixel,
                1.5,
                false,
                &[0.82639, 1.625, 3.71297, 6.28704, 8.375, 9.17361],
            ),
            case(Interpolation::Linear, Coordinates::HalfPixel, 0.5, true, &[2.5, 7.5]),
            case(Interpolation::Cubic(-0.75), Coordinates::HalfPixel, 0.5, true, &[2.10156, 7.89844]),
        ];
        for case in cases {
            let operator = Resize {
                interpolation: case.interpolation,
                coordinates: case.coordinates,
                axes: vec![0],
                target: case.target,
                region: vec![(0.25, 1.25)],
                extrapolation: -1.,
                exclude_outside: false,
                antialias: case.antialias,
                output: tvec!(case.expected.len().to_dim()),
            };
            let output = evaluate(&operator, &[tensor(&[4], &[1., 3., 7., 9.])]).unwrap();
            assert_close(&format!("{operator:?}"), &output, &[case.expected.len()], case.expected);
        }
    }
}
