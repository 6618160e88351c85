//! `ConvInteger`: ONNX `ConvInteger` (10), over any number of spatial axes.
//!
//! Inputs: `x` int8 or uint8 `[batch, channels, ...]`; `w` int8 or uint8 `[outputs, channels / groups, ...]`; the zero point
//! of `x`, an integer; those of `w`, one or one for each output. Output: int32 `[batch, outputs, ...]`. What is padded has
//! the value of the zero point.

use super::mat_mul_integer::{bytes, row_zero_points, signed_operand};
use super::plain::Plain;
use super::windows::{Windows, coordinates};
use crate::kernels::integer_linear::{IntegerRows, IntegerWeights, integer_linear};
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConvInteger {
    /// Parts into which the channels are divided.
    pub groups: usize,
    /// One for each spatial axis.
    pub strides: Vec<usize>,
    /// One for each spatial axis.
    pub dilations: Vec<usize>,
    /// What surrounds `x`.
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

impl ConvInteger {
    /// How far a kernel of that length reaches along a spatial axis.
    fn reach(&self, axis: usize, kernel: usize) -> usize {
        (kernel - 1) * self.dilations[axis] + 1
    }

    fn output_len<D: DimLike>(&self, axis: usize, input: &D, kernel: usize) -> TractResult<D> {
        let stride = self.strides[axis];
        Ok(match &self.padding {
            Padding::Explicit(pads) => {
                let padded = input.clone() + (pads[axis] + pads[axis + pads.len() / 2]);
                if let Ok(padded) = padded.to_usize() {
                    ensure!(padded >= self.reach(axis, kernel), "the kernel is longer than the padded axis {axis}");
                }
                (padded - self.reach(axis, kernel)) / stride + 1
            }
            _ => (input.clone() + (stride - 1)) / stride,
        })
    }

    /// Places before and after a spatial axis of that length.
    fn padding(&self, axis: usize, input: usize, output: usize, kernel: usize) -> (usize, usize) {
        let all = || ((output - 1) * self.strides[axis] + self.reach(axis, kernel)).saturating_sub(input);
        match &self.padding {
            Padding::Explicit(pads) => (pads[axis], pads[axis + pads.len() / 2]),
            _ if output == 0 => (0, 0),
            Padding::SameUpper => (all() / 2, all().div_ceil(2)),
            Padding::SameLower => (all().div_ceil(2), all() / 2),
        }
    }

    fn output_shape<D: DimLike>(&self, x: &[D], w: &[usize]) -> TractResult<TVec<D>> {
        let rank = self.strides.len() + 2;
        ensure!(x.len() == rank && w.len() == rank && self.dilations.len() + 2 == rank, "{x:?} and {w:?}: other ranks");
        ensure!(w[2..].iter().all(|kernel| *kernel > 0), "a kernel of shape {w:?} is empty");
        let fits = self.groups > 0 && w[0].is_multiple_of(self.groups);
        ensure!(fits, "{} outputs in {} groups", w[0], self.groups);
        ensure!(x[1].compatible_with(&(w[1] * self.groups).into()), "{x:?} and {w:?}: other channels");
        let mut shape = tvec!(x[0].clone(), w[0].into());
        for axis in 0..rank - 2 {
            shape.push(self.output_len(axis, &x[axis + 2], w[axis + 2])?);
        }
        Ok(shape)
    }
}

/// The patches of one batch and group, `[channels * kernel, places]`; `input` and `output` are sizes of the spatial axes.
fn patches(x: &[i8], zero_point: i8, windows: &Windows, input: &[usize], output: &[usize]) -> Vec<i8> {
    let input_places: usize = input.iter().product();
    let (taps, places): (usize, usize) = (windows.kernel.iter().product(), output.iter().product());
    let mut patches = Vec::with_capacity(x.len() / input_places.max(1) * taps * places);
    for channel in x.chunks(input_places.max(1)) {
        for tap in 0..taps {
            let tap = coordinates(tap, &windows.kernel);
            patches.extend((0..places).map(|place| {
                let place = windows.place(input, &coordinates(place, output), &tap);
                place.map_or(zero_point, |at| channel[at])
            }));
        }
    }
    patches
}

impl Plain for ConvInteger {
    const NAME: &'static str = "ConvInteger";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let w = inputs[1].shape.as_concrete().context("the shape of the kernel is not known")?;
        Ok(tvec!(i32::fact(self.output_shape(&inputs[0].shape, w)?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (x_shape, w_shape) = (inputs[0].shape(), inputs[1].shape());
        let shape = self.output_shape(x_shape, w_shape)?;
        let (input, kernel, output) = (&x_shape[2..], &w_shape[2..], &shape[2..]);
        let padding = |axis: usize| self.padding(axis, input[axis], output[axis], kernel[axis]);
        let windows = Windows {
            kernel: kernel.into(),
            strides: self.strides[..].into(),
            dilations: self.dilations[..].into(),
            padding: (0..input.len()).map(padding).collect(),
        };
        let depth: usize = w_shape[1..].iter().product();
        let (w, w_zero_points) = (bytes(&inputs[1])?, row_zero_points(&inputs[3], w_shape[0])?);
        let (x, x_zero_points) = signed_operand(&inputs[0], &inputs[2])?;
        let &[zero_point] = &*x_zero_points else { bail!("x has one zero point") };
        let (places, group_outputs) = (output.iter().product::<usize>(), w_shape[0] / self.groups);
        let group_inputs: usize = w_shape[1] * input.iter().product::<usize>();
        let mut out = vec![0; shape.iter().product()];
        for batch in 0..shape[0] {
            for group in 0..self.groups {
                let x = &x[(batch * self.groups + group) * group_inputs..][..group_inputs];
                let out = &mut out[(batch * self.groups + group) * group_outputs * places..][..group_outputs * places];
                let patches = patches(x, zero_point, &windows, input, output);
                let patches = IntegerWeights::new(&patches, depth, places, &x_zero_points)?;
                let outputs = group * group_outputs..(group + 1) * group_outputs;
                let zero_points = match &*w_zero_points {
                    [_] => &*w_zero_points,
                    each => &each[outputs.clone()],
                };
                let values = w.part(outputs.start * depth..outputs.end * depth);
                integer_linear(IntegerRows { values, rows: group_outputs, zero_points }, &patches, out);
            }
        }
        Ok(tvec!(Tensor::from_shape(&shape, &out)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_the_kernel() {
        struct Case {
            x: (&'static [usize], &'static [u8]),
            w: (&'static [usize], &'static [i8]),
            operator: ConvInteger,
            expected: Option<(&'static [usize], &'static [i32])>,
        }
        let operator = |padding| ConvInteger { groups: 1, strides: vec![1], dilations: vec![1], padding };
        let none = || Padding::Explicit(vec![0, 0]);
        let x: (&[usize], &[u8]) = (&[1, 1, 4], &[2, 3, 4, 5]);
        let w: (&[usize], &[i8]) = (&[1, 1, 2], &[1, 10]);
        // x less its zero point is [1, 2, 3, 4]; by hand.
        let cases = [
            Case { x, w, operator: operator(none()), expected: Some((&[1, 1, 3], &[21, 32, 43])) },
            Case {
                x,
                w,
                operator: operator(Padding::Explicit(vec![1, 0])),
                expected: Some((&[1, 1, 4], &[10, 21, 32, 43])),
            },
            Case { x, w, operator: operator(Padding::SameUpper), expected: Some((&[1, 1, 4], &[21, 32, 43, 4])) },
            Case { x, w, operator: operator(Padding::SameLower), expected: Some((&[1, 1, 4], &[10, 21, 32, 43])) },
            Case {
                x,
                w,
                operator: ConvInteger { strides: vec![2], dilations: vec![2], ..operator(none()) },
                expected: Some((&[1, 1, 1], &[31])),
            },
            Case {
                x: (&[1, 2, 2], &[2, 3, 4, 5]),
                w: (&[2, 1, 1], &[1, -1]),
                operator: ConvInteger { groups: 2, ..operator(none()) },
                expected: Some((&[1, 2, 2], &[1, 2, -3, -4])),
            },
            Case { x, w: (&[1, 1, 5], &[1; 5]), operator: operator(none()), expected: None },
            Case { x, w: (&[1, 2, 1], &[1; 2]), operator: operator(none()), expected: None },
        ];
        for case in cases {
            let x = Tensor::from_shape(case.x.0, case.x.1).unwrap();
            let w = Tensor::from_shape(case.w.0, case.w.1).unwrap();
            let inputs = [x, w, tensor0(1u8), tensor0(0i8)].map(IntoTValue::into_tvalue);
            let result = case.operator.compute(&inputs).ok().map(|mut outputs| outputs.remove(0));
            let expected = case.expected.map(|(shape, values)| Tensor::from_shape(shape, values).unwrap());
            assert_eq!(result, expected, "{:?}", case.operator);
        }
    }
}
