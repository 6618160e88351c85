//! `Pool`: the greatest, the sum or the mean of what windows read, over any number of spatial axes: ONNX `MaxPool` (1 to 22) and
//! `AveragePool` (1 to 22), and what `LpPool` is made of.
//!
//! Input: `[batch, channels, ...]`, f32; for the greatest also f64, int8 or uint8. Outputs, `[batch, channels, ...]`: one of the
//! input's type, and, where they are asked for, int64 places. What is padded is no element, but a mean may count it.

use super::plain::{Plain, elements, tensor_of};
use super::windows::{Padding, WindowSteps};
use super::{f32_slice, f32_tensor};
use crate::kernels::windows::{Axis, places, runs, taps, windows};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pool {
    /// What is made of the elements.
    pub pooling: Pooling,
    /// Sizes of a window.
    pub kernel: Vec<usize>,
    /// How the windows step over the input.
    pub steps: WindowSteps,
    /// Whether a last window counts that reaches beyond the padding.
    pub round_up: bool,
}

/// What is made of the elements that a window reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Pooling {
    /// The greatest one, NaN passed over, and the place of the first such one among all elements of the input, or -1.
    Greatest {
        /// How places are counted, if they are asked for.
        places: Option<PlaceOrder>,
    },
    /// Their sum.
    Sum,
    /// Their mean.
    Mean {
        /// Whether what is padded counts, as 0.
        counts_padding: bool,
    },
}

/// How the places of an image are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PlaceOrder {
    /// The last axis runs first.
    RowMajor,
    /// The first spatial axis runs first.
    ColumnMajor,
}

/// Elements of which there is a greatest one.
trait Ordered: Datum + Copy + PartialOrd {
    const LOWEST: Self;
}

macro_rules! ordered {
    ($($type:ident $lowest:ident),*) => {
        $(impl Ordered for $type {
            const LOWEST: Self = $type::$lowest;
        })*
    };
}

ordered!(f32 NEG_INFINITY, f64 NEG_INFINITY, i8 MIN, u8 MIN);

impl Pool {
    fn output_shape<D: DimLike>(&self, x: &[D]) -> TractResult<TVec<D>> {
        ensure!(x.len() > 2, "a pool over {x:?}");
        let counts = self.steps.counts(&x[2..], &self.kernel, self.round_up)?;
        Ok(x[..2].iter().cloned().chain(counts).collect())
    }

    /// The axes of an image and the padding: all of what windows read in it counts.
    fn padded(&self, axes: &[Axis]) -> Vec<Axis> {
        let padded = |(at, axis): (usize, &Axis)| {
            let after = match &self.steps.padding {
                Padding::Explicit(pads) => pads[at + axes.len()],
                _ => axis.taps * axis.dilation,
            };
            Axis { image: axis.before + axis.image + after, before: 0, ..*axis }
        };
        axes.iter().enumerate().map(padded).collect()
    }
}

/// The greatest elements.
fn greatest<T: Ordered>(x: &Tensor, axes: &[Axis], shape: &[usize]) -> TractResult<Tensor> {
    let count = windows(axes);
    let mut all = vec![T::LOWEST; shape.iter().product()];
    for (x, greatest) in elements::<T>(x)?.chunks(places(axes).max(1)).zip(all.chunks_mut(count.max(1))) {
        for tap in 0..taps(axes) {
            runs(axes, tap, 0..count, |run| {
                let read = x[run.place..].iter().step_by(run.stride);
                let greatest = &mut greatest[run.window..][..run.count];
                greatest.iter_mut().zip(read).for_each(|(most, x)| *most = if *x > *most { *x } else { *most });
            });
        }
    }
    tensor_of(shape, &all)
}

/// The row-major places of the greatest elements, each counted over all images; -1 where there is none.
fn places_of_greatest<T: Ordered>(x: &Tensor, axes: &[Axis], shape: &[usize]) -> TractResult<Vec<i64>> {
    let (image, count) = (places(axes).max(1), windows(axes));
    let mut all = vec![-1; shape.iter().product()];
    for (number, (x, found)) in elements::<T>(x)?.chunks(image).zip(all.chunks_mut(count.max(1))).enumerate() {
        for tap in 0..taps(axes) {
            runs(axes, tap, 0..count, |run| {
                for (at, found) in found[run.window..][..run.count].iter_mut().enumerate() {
                    let place = run.place + at * run.stride;
                    let before = usize::try_from(*found).ok().map(|before| x[before - number * image]);
                    if before.map_or(x[place] >= T::LOWEST, |before| x[place] > before) {
                        *found = (number * image + place) as i64;
                    }
                }
            });
        }
    }
    Ok(all)
}

/// The same place where the first axis of an image runs first.
fn column_major(place: i64, sizes: &[usize]) -> i64 {
    let Ok(mut rest) = usize::try_from(place) else { return place };
    let mut stride = sizes.iter().product::<usize>();
    let mut moved = rest / stride * stride;
    for size in sizes.iter().rev() {
        stride /= size;
        moved += rest % size * stride;
        rest /= size;
    }
    moved as i64
}

fn sums(x: &[f32], axes: &[Axis], sums: &mut [f32]) {
    let count = windows(axes);
    for (x, sums) in x.chunks(places(axes).max(1)).zip(sums.chunks_mut(count.max(1))) {
        for tap in 0..taps(axes) {
            runs(axes, tap, 0..count, |run| {
                let read = x[run.place..].iter().step_by(run.stride);
                sums[run.window..][..run.count].iter_mut().zip(read).for_each(|(sum, x)| *sum += x);
            });
        }
    }
}

/// How many elements each window reads.
fn counts(axes: &[Axis]) -> Vec<f32> {
    let mut counts = vec![0.0; windows(axes)];
    for tap in 0..taps(axes) {
        runs(axes, tap, 0..windows(axes), |run| {
            counts[run.window..][..run.count].iter_mut().for_each(|count| *count += 1.0);
        });
    }
    counts
}

impl Pool {
    fn greatest<T: Ordered>(
        &self,
        x: &Tensor,
        order: Option<PlaceOrder>,
        axes: &[Axis],
        shape: &[usize],
    ) -> TractResult<TVec<Tensor>> {
        let mut outputs = tvec!(greatest::<T>(x, axes, shape)?);
        if let Some(order) = order {
            let mut places = places_of_greatest::<T>(x, axes, shape)?;
            if order == PlaceOrder::ColumnMajor {
                places.iter_mut().for_each(|place| *place = column_major(*place, &x.shape()[2..]));
            }
            outputs.push(tensor_of(shape, &places)?);
        }
        Ok(outputs)
    }

    fn sums(&self, x: &Tensor, axes: &[Axis], shape: &[usize]) -> TractResult<Tensor> {
        let x = f32_slice(x)?;
        let counts = match self.pooling {
            Pooling::Mean { counts_padding: true } => counts(&self.padded(axes)),
            Pooling::Mean { counts_padding: false } => counts(axes),
            _ => vec![],
        };
        f32_tensor(shape, |out| {
            sums(x, axes, out);
            if !counts.is_empty() {
                out.iter_mut().zip(counts.iter().cycle()).for_each(|(sum, count)| *sum /= count);
            }
            Ok(())
        })
    }
}

impl Plain for Pool {
    const NAME: &'static str = "Pool";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        use DatumType::{F32, F64, I8, U8};
        let datum_type = inputs[0].datum_type;
        let shape = self.output_shape(&inputs[0].shape)?;
        let (types, places): (&[DatumType], _) = match self.pooling {
            Pooling::Greatest { places } => (&[F32, F64, I8, U8], places),
            _ => (&[F32], None),
        };
        ensure!(types.contains(&datum_type), "a pool of {datum_type:?}");
        Ok([datum_type.fact(&*shape)].into_iter().chain(places.map(|_| i64::fact(&*shape))).collect())
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (x, image) = (&inputs[0], &inputs[0].shape()[2..]);
        let shape = self.output_shape(x.shape())?;
        let axes = self.steps.axes(image, &self.kernel, &shape[2..])?;
        let Pooling::Greatest { places } = self.pooling else { return Ok(tvec!(self.sums(x, &axes, &shape)?)) };
        match x.datum_type() {
            DatumType::F32 => self.greatest::<f32>(x, places, &axes, &shape),
            DatumType::F64 => self.greatest::<f64>(x, places, &axes, &shape),
            DatumType::I8 => self.greatest::<i8>(x, places, &axes, &shape),
            DatumType::U8 => self.greatest::<u8>(x, places, &axes, &shape),
            other => bail!("a pool of {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::*;

    fn pool(pooling: Pooling, kernel: &[usize], strides: &[usize], pads: &[usize]) -> Pool {
        let dilations = vec![1; kernel.len()];
        let steps = WindowSteps { strides: strides.to_vec(), dilations, padding: Padding::Explicit(pads.to_vec()) };
        Pool { pooling, kernel: kernel.to_vec(), steps, round_up: false }
    }

    fn same(pool: Pool, padding: Padding) -> Pool {
        Pool { steps: WindowSteps { padding, ..pool.steps }, ..pool }
    }

    #[test]
    fn pools() {
        let greatest = Pooling::Greatest { places: None };
        let mean = |counts_padding| Pooling::Mean { counts_padding };
        let line = |pooling, kernel, stride, pads: [usize; 2]| pool(pooling, &[kernel], &[stride], &pads);
        let up = |pool: Pool| Pool { round_up: true, ..pool };
        let dilated = |pool: Pool| Pool { steps: WindowSteps { dilations: vec![2], ..pool.steps }, ..pool };
        type Case = (Pool, &'static [usize], Option<(&'static [usize], &'static [f32])>);
        // Of 1, 2, 3, …; answers of ONNX Runtime 1.32, sums by hand.
        let cases: [Case; 20] = [
            (line(greatest, 2, 1, [0, 0]), &[1, 1, 4], Some((&[1, 1, 3], &[2., 3., 4.]))),
            (line(greatest, 2, 2, [0, 0]), &[1, 1, 5], Some((&[1, 1, 2], &[2., 4.]))),
            (up(line(greatest, 2, 2, [0, 0])), &[1, 1, 5], Some((&[1, 1, 3], &[2., 4., 5.]))),
            (up(line(greatest, 2, 3, [1, 1])), &[1, 1, 5], Some((&[1, 1, 2], &[1., 4.]))),
            (dilated(line(greatest, 2, 1, [1, 0])), &[1, 1, 4], Some((&[1, 1, 3], &[2., 3., 4.]))),
            (pool(greatest, &[2, 2], &[1, 1], &[0; 4]), &[2, 1, 2, 3], Some((&[2, 1, 1, 2], &[5., 6., 11., 12.]))),
            (line(Pooling::Sum, 3, 1, [1, 1]), &[1, 2, 3], Some((&[1, 2, 3], &[3., 6., 5., 9., 15., 11.]))),
            (line(mean(false), 4, 3, [0, 0]), &[1, 1, 5], Some((&[1, 1, 1], &[2.5]))),
            (same(line(mean(false), 4, 3, [0, 0]), Padding::SameUpper), &[1, 1, 5], Some((&[1, 1, 2], &[2., 4.]))),
            (same(line(mean(true), 4, 3, [0, 0]), Padding::SameUpper), &[1, 1, 5], Some((&[1, 1, 2], &[1.5, 3.]))),
            (same(line(mean(true), 4, 3, [0, 0]), Padding::SameLower), &[1, 1, 5], Some((&[1, 1, 2], &[1.5, 3.]))),
            (line(mean(true), 3, 2, [1, 0]), &[1, 1, 6], Some((&[1, 1, 3], &[1., 3., 5.]))),
            (up(line(mean(false), 3, 3, [1, 1])), &[1, 1, 7], Some((&[1, 1, 3], &[1.5, 4., 6.5]))),
            (up(line(mean(true), 3, 3, [1, 1])), &[1, 1, 7], Some((&[1, 1, 3], &[1., 4., 13. / 3.]))),
            (line(greatest, 2, 1, [0, 0]), &[0, 3, 4], Some((&[0, 3, 3], &[]))),
            (line(mean(false), 2, 1, [0, 0]), &[2, 0, 4], Some((&[2, 0, 3], &[]))),
            (same(line(greatest, 2, 1, [0, 0]), Padding::SameUpper), &[1, 1, 0], Some((&[1, 1, 0], &[]))),
            (line(greatest, 5, 1, [0, 0]), &[1, 1, 3], None),
            (line(greatest, 2, 1, [0, 0]), &[1, 1, 3, 3], None),
            (line(greatest, 2, 1, [0, 0]), &[1, 1], None),
        ];
        for (operator, shape, expected) in cases {
            let values: Vec<f32> = (1..=shape.iter().product()).map(|value| value as f32).collect();
            let result = operator.compute(&[tensor(shape, &values).into_tvalue()]);
            match (result, expected) {
                (Ok(outputs), Some((shape, values))) => {
                    assert_close(&format!("{operator:?}"), &outputs[0], shape, values)
                }
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{operator:?} of {shape:?}"),
            }
        }
    }

    #[test]
    fn greatest_of_other_types_and_their_places() {
        let operator = |places, pads: usize| pool(Pooling::Greatest { places }, &[1, 2], &[1, 1], &[0, pads, 0, pads]);
        let (row_major, column_major) = (Some(PlaceOrder::RowMajor), Some(PlaceOrder::ColumnMajor));
        let shape = [2, 1, 2, 2];
        let signed = Tensor::from_shape(&shape, &[-3i8, -4, 5, 6, -7, -7, 0, 0]).unwrap();
        let nan = Tensor::from_shape(&[1, 1, 1, 3], &[f64::NAN, f64::NAN, 1.0]).unwrap();
        // By hand.
        type Case = (Pool, Tensor, Tensor, Option<Tensor>);
        let cases: [Case; 4] = [
            (
                operator(row_major, 0),
                signed.clone(),
                Tensor::from_shape(&[2, 1, 2, 1], &[-3i8, 6, -7, 0]).unwrap(),
                Some(Tensor::from_shape(&[2, 1, 2, 1], &[0i64, 3, 4, 6]).unwrap()),
            ),
            (
                operator(column_major, 0),
                signed,
                Tensor::from_shape(&[2, 1, 2, 1], &[-3i8, 6, -7, 0]).unwrap(),
                Some(Tensor::from_shape(&[2, 1, 2, 1], &[0i64, 3, 4, 5]).unwrap()),
            ),
            (
                operator(None, 1),
                Tensor::from_shape(&[1, 1, 1, 2], &[9u8, 200]).unwrap(),
                Tensor::from_shape(&[1, 1, 1, 3], &[9u8, 200, 200]).unwrap(),
                None,
            ),
            (
                operator(row_major, 0),
                nan,
                Tensor::from_shape(&[1, 1, 1, 2], &[f64::NEG_INFINITY, 1.0]).unwrap(),
                Some(Tensor::from_shape(&[1, 1, 1, 2], &[-1i64, 2]).unwrap()),
            ),
        ];
        for (operator, x, values, places) in cases {
            let outputs = operator.compute(&[x.into_tvalue()]).unwrap();
            let expected: TVec<Tensor> = [values].into_iter().chain(places).collect();
            assert_eq!(outputs, expected, "{operator:?}");
        }
    }

    #[test]
    fn facts() {
        let symbols = SymbolScope::default();
        let size = symbols.sym("n").to_dim();
        let places = Pooling::Greatest { places: Some(PlaceOrder::RowMajor) };
        let up = Pool { round_up: true, ..pool(Pooling::Sum, &[2], &[2], &[0, 0]) };
        let cases = [
            (pool(places, &[2], &[1], &[0, 0]), u8::fact([size.clone(), 3.to_dim(), size.clone()]), 2),
            (pool(Pooling::Sum, &[2], &[1], &[0, 0]), f32::fact([size.clone(), 3.to_dim(), size.clone()]), 1),
            (pool(places, &[2], &[1], &[0, 0]), i64::fact([1, 3, 4]), 0),
            (pool(Pooling::Sum, &[2], &[1], &[0, 0]), f64::fact([1, 3, 4]), 0),
            (up.clone(), f32::fact([1.to_dim(), 3.to_dim(), size.clone()]), 0),
            (up, f32::fact([size.clone(), 3.to_dim(), 4.to_dim()]), 1),
        ];
        for (operator, x, outputs) in cases {
            let facts = operator.facts(&[&x]);
            assert_eq!(facts.map_or(0, |facts| facts.len()), outputs, "{operator:?} of {x:?}");
        }
    }
}
