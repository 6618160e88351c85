//! `ConvTranspose`: ONNX `ConvTranspose` (1 to 22) without `output_shape`, over any number of spatial axes.
//!
//! Inputs, all f32 or all f64: `x` `[batch, channels, ...]`; the kernel `[groups, outputs / groups, ..., channels / groups]`,
//! whose sizes are known; optionally a bias `[outputs]`. Output, of their type: `[batch, outputs, ...]`.

use super::conv::{computed, float_type};
use super::plain::Plain;
use super::windows::{Padding, WindowSteps};
use crate::kernels::conv::{Convolution, convolve_transposed, convolve_transposed_reference};
use crate::kernels::windows::Axis;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConvTranspose {
    /// How the kernel steps over the output, and what is cut off from this.
    pub steps: WindowSteps,
    /// Places that each spatial axis is longer by.
    pub extra: Vec<usize>,
}

impl ConvTranspose {
    /// Places that are cut off at the start and at the end of an axis.
    fn cut(&self, axis: usize, kernel: usize) -> TractResult<(usize, usize)> {
        let (reach, stride) = (self.steps.reach(axis, kernel)?, self.steps.strides[axis]);
        let all = (reach + self.extra[axis]).saturating_sub(stride);
        Ok(match &self.steps.padding {
            Padding::Explicit(pads) => (pads[axis], pads[axis + pads.len() / 2]),
            Padding::SameUpper => (all / 2, all.div_ceil(2)),
            Padding::SameLower => (all.div_ceil(2), all / 2),
        })
    }

    fn output_len<D: DimLike>(&self, axis: usize, input: &D, kernel: usize) -> TractResult<D> {
        let (before, after) = self.cut(axis, kernel)?;
        let whole = input.clone() * self.steps.strides[axis] + (self.steps.reach(axis, kernel)? + self.extra[axis]);
        let less = self.steps.strides[axis] + before + after;
        if let Ok(whole) = whole.to_usize() {
            ensure!(whole > less, "nothing is left of axis {axis}");
        }
        Ok(whole - less)
    }

    fn output_shape<D: DimLike>(&self, x: &[D], w: &[usize]) -> TractResult<TVec<D>> {
        let axes = self.extra.len();
        let WindowSteps { strides, dilations, padding } = &self.steps;
        let pads = if let Padding::Explicit(pads) = padding { pads.len() } else { 2 * axes };
        let fits =
            [x.len(), w.len(), strides.len(), dilations.len(), pads] == [axes + 2, axes + 3, axes, axes, 2 * axes];
        ensure!(fits && axes > 0 && !strides.contains(&0), "{self:?} of {x:?} and {w:?}");
        let channels = w[0].checked_mul(w[axes + 2]).context("too many channels")?;
        ensure!(x[1].compatible_with(&channels.into()), "{x:?} and {w:?}: other channels");
        let outputs = w[0].checked_mul(w[1]).context("too many outputs")?;
        let mut shape = tvec!(x[0].clone(), outputs.into());
        for axis in 0..axes {
            shape.push(self.output_len(axis, &x[axis + 2], w[axis + 2])?);
        }
        Ok(shape)
    }

    fn axes(&self, input: &[usize], kernel: &[usize], output: &[usize]) -> TractResult<Vec<Axis>> {
        let axis = |axis: usize| {
            Ok(Axis {
                image: output[axis],
                windows: input[axis],
                taps: kernel[axis],
                stride: self.steps.strides[axis],
                dilation: self.steps.dilations[axis],
                before: self.cut(axis, kernel[axis])?.0,
            })
        };
        (0..self.extra.len()).map(axis).collect()
    }
}

impl Plain for ConvTranspose {
    const NAME: &'static str = "ConvTranspose";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let w = inputs[1].shape.as_concrete().context("the shape of the kernel is not known")?;
        Ok(tvec!(float_type(inputs)?.fact(self.output_shape(&inputs[0].shape, w)?)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (x, w) = (inputs[0].shape(), inputs[1].shape());
        let shape = self.output_shape(x, w)?;
        let axes = self.axes(&x[2..], &w[2..w.len() - 1], &shape[2..])?;
        let channels = w[w.len() - 1];
        let sizes = Convolution { batch: x[0], groups: w[0], channels, outputs: w[1], axes: &axes };
        computed(inputs, &shape, sizes, convolve_transposed, convolve_transposed_reference)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::*;

    #[test]
    fn windows_are_added_up() {
        struct Case {
            x: (&'static [usize], &'static [f32]),
            w: (&'static [usize], &'static [f32]),
            bias: Option<&'static [f32]>,
            operator: ConvTranspose,
            expected: Option<(&'static [usize], &'static [f32])>,
        }
        let operator = |stride: usize, dilation: usize, padding, extra: usize| ConvTranspose {
            steps: WindowSteps { strides: vec![stride], dilations: vec![dilation], padding },
            extra: vec![extra],
        };
        let none = || Padding::Explicit(vec![0, 0]);
        let x: (&[usize], &[f32]) = (&[1, 1, 3], &[1., 2., 3.]);
        let w: (&[usize], &[f32]) = (&[1, 1, 2, 1], &[1., 10.]);
        let plain = || Case { x, w, bias: None, operator: operator(1, 1, none(), 0), expected: None };
        // By hand; of an automatic padding, answers of ONNX Runtime 1.32.
        let cases = [
            Case { expected: Some((&[1, 1, 4], &[1., 12., 23., 30.])), ..plain() },
            Case {
                operator: operator(2, 1, none(), 1),
                bias: Some(&[0.5]),
                expected: Some((&[1, 1, 7], &[1.5, 10.5, 2.5, 20.5, 3.5, 30.5, 0.5])),
                ..plain()
            },
            Case {
                operator: operator(1, 2, Padding::Explicit(vec![1, 2]), 0),
                expected: Some((&[1, 1, 2], &[2., 13.])),
                ..plain()
            },
            Case {
                operator: operator(1, 1, Padding::SameUpper, 0),
                expected: Some((&[1, 1, 3], &[1., 12., 23.])),
                ..plain()
            },
            Case {
                operator: operator(1, 1, Padding::SameLower, 0),
                expected: Some((&[1, 1, 3], &[12., 23., 30.])),
                ..plain()
            },
            Case {
                w: (&[1, 1, 4, 1], &[1., 10., 100., 1000.]),
                operator: operator(2, 1, Padding::SameUpper, 1),
                expected: Some((&[1, 1, 6], &[10., 102., 1020., 203., 2030., 300.])),
                ..plain()
            },
            Case {
                w: (&[1, 1, 4, 1], &[1., 10., 100., 1000.]),
                operator: operator(2, 1, Padding::SameLower, 1),
                expected: Some((&[1, 1, 6], &[102., 1020., 203., 2030., 300., 3000.])),
                ..plain()
            },
            Case {
                operator: operator(3, 1, Padding::SameUpper, 0),
                expected: Some((&[1, 1, 8], &[1., 10., 0., 2., 20., 0., 3., 30.])),
                ..plain()
            },
            Case {
                // Two groups of two channels and one output.
                x: (&[1, 4, 1], &[1., 2., 3., 4.]),
                w: (&[2, 1, 2, 2], &[1., 10., 100., 1000., 1., 2., 3., 4.]),
                expected: Some((&[1, 2, 2], &[21., 2100., 11., 25.])),
                ..plain()
            },
            Case {
                x: (&[1, 1, 2, 1], &[1., 2.]),
                w: (&[1, 1, 2, 2, 1], &[1., 2., 3., 4.]),
                operator: ConvTranspose {
                    steps: WindowSteps {
                        strides: vec![1, 1],
                        dilations: vec![1, 1],
                        padding: Padding::Explicit(vec![0, 0, 0, 0]),
                    },
                    extra: vec![0, 0],
                },
                expected: Some((&[1, 1, 3, 2], &[1., 2., 5., 8., 6., 8.])),
                ..plain()
            },
            Case { x: (&[0, 1, 3], &[]), expected: Some((&[0, 1, 4], &[])), ..plain() },
            Case { x: (&[1, 1, 0], &[]), expected: Some((&[1, 1, 1], &[0.])), ..plain() },
            Case { operator: operator(1, 1, Padding::Explicit(vec![3, 2]), 0), ..plain() },
            Case { w: (&[1, 1, 2, 2], &[0.; 4]), ..plain() },
            Case { bias: Some(&[0., 1.]), ..plain() },
        ];
        for case in cases {
            let inputs = [tensor(case.x.0, case.x.1), tensor(case.w.0, case.w.1)];
            let bias = case.bias.map(|bias| tensor(&[bias.len()], bias));
            let inputs: Vec<TValue> = inputs.into_iter().chain(bias).map(IntoTValue::into_tvalue).collect();
            let wide = |input: &TValue| input.cast_to::<f64>().unwrap().into_owned().into_tvalue();
            let inputs = [inputs.iter().map(wide).collect(), inputs];
            for inputs in inputs {
                let what = format!("{:?} of {:?}", case.operator, inputs);
                match (case.operator.compute(&inputs), case.expected) {
                    (Ok(outputs), Some((shape, values))) => {
                        assert_close(&what, &outputs[0].cast_to::<f32>().unwrap(), shape, values);
                    }
                    (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{what}"),
                }
            }
        }
    }
}
