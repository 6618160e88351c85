//! `ConvInteger`: ONNX `ConvInteger` (10), over any number of spatial axes.
//!
//! Inputs: `x` int8 or uint8 `[batch, channels, ...]`; `w` int8 or uint8 `[outputs, channels / groups, ...]`; the zero point
//! of `x`, an integer; those of `w`, one or one for each output. Output: int32 `[batch, outputs, ...]`. What is padded has
//! the value of the zero point.

use super::mat_mul_integer::{bytes, row_zero_points, signed_operand};
use super::plain::Plain;
use super::windows::WindowSteps;
use crate::kernels::integer_linear::{IntegerRows, IntegerWeights, integer_linear};
use crate::kernels::windows::{Axis, places, runs, taps, windows};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConvInteger {
    /// Parts into which the channels are divided.
    pub groups: usize,
    /// How the kernel steps over `x`.
    pub steps: WindowSteps,
}

/// What the windows of one batch and group read, `[channels * taps, windows]`.
fn patches(x: &[i8], zero_point: i8, axes: &[Axis]) -> Vec<i8> {
    let (image, taps, count) = (places(axes).max(1), taps(axes), windows(axes));
    let mut patches = vec![zero_point; x.len() / image * taps * count];
    for tap in 0..taps {
        runs(axes, tap, 0..count, |run| {
            for (channel, x) in x.chunks(image).enumerate() {
                let patch = &mut patches[(channel * taps + tap) * count + run.window..][..run.count];
                patch.iter_mut().zip(x[run.place..].iter().step_by(run.stride)).for_each(|(to, from)| *to = *from);
            }
        });
    }
    patches
}

impl Plain for ConvInteger {
    const NAME: &'static str = "ConvInteger";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let w = inputs[1].shape.as_concrete().context("the shape of the kernel is not known")?;
        Ok(tvec!(i32::fact(self.steps.convolved(self.groups, &inputs[0].shape, w)?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (x_shape, w_shape) = (inputs[0].shape(), inputs[1].shape());
        let shape = self.steps.convolved(self.groups, x_shape, w_shape)?;
        let axes = self.steps.axes(&x_shape[2..], &w_shape[2..], &shape[2..])?;
        let depth: usize = w_shape[1..].iter().product();
        let (w, w_zero_points) = (bytes(&inputs[1])?, row_zero_points(&inputs[3], w_shape[0])?);
        let (x, x_zero_points) = signed_operand(&inputs[0], &inputs[2])?;
        let &[zero_point] = &*x_zero_points else { bail!("x has one zero point") };
        let (count, group_outputs) = (windows(&axes), w_shape[0] / self.groups);
        let group_inputs = w_shape[1] * places(&axes);
        let mut out = vec![0; shape.iter().product()];
        for batch in 0..shape[0] {
            for group in 0..self.groups {
                let x = &x[(batch * self.groups + group) * group_inputs..][..group_inputs];
                let out = &mut out[(batch * self.groups + group) * group_outputs * count..][..group_outputs * count];
                let patches = patches(x, zero_point, &axes);
                let patches = IntegerWeights::new(&patches, depth, count, &x_zero_points)?;
                let outputs = group * group_outputs..(group + 1) * group_outputs;
                let zero_points = match &*w_zero_points {
                    [_] => &*w_zero_points,
                    each => &each[outputs.clone()],
                };
                let values = w.part(outputs.start * depth..outputs.end * depth);
                integer_linear(IntegerRows { values: values.into(), rows: group_outputs, zero_points }, &patches, out);
            }
        }
        Ok(tvec!(Tensor::from_shape(&shape, &out)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::windows::Padding;
    use super::*;

    #[test]
    fn sums_over_the_kernel() {
        struct Case {
            x: (&'static [usize], &'static [u8]),
            w: (&'static [usize], &'static [i8]),
            operator: ConvInteger,
            expected: Option<(&'static [usize], &'static [i32])>,
        }
        let steps = |padding| WindowSteps { strides: vec![1], dilations: vec![1], padding };
        let operator = |padding| ConvInteger { groups: 1, steps: steps(padding) };
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
                operator: ConvInteger {
                    groups: 1,
                    steps: WindowSteps { strides: vec![2], dilations: vec![2], padding: none() },
                },
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
