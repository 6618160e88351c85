//! `Conv`: ONNX `Conv` (1 to 22), over any number of spatial axes.
//!
//! Inputs, all f32 or all f64: `x` `[batch, channels, ...]`; `w` `[outputs, channels / groups, ...]`, whose sizes are known;
//! optionally a bias `[outputs]`. Output, of their type: `[batch, outputs, ...]`. What is padded is 0.

use super::plain::{Plain, elements};
use super::windows::WindowSteps;
use super::{f32_slice, f32_tensor};
use crate::kernels::conv::{Convolution, convolve, convolve_reference};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Conv {
    /// Parts into which the channels are divided.
    pub groups: usize,
    /// How the kernel steps over `x`.
    pub steps: WindowSteps,
}

impl Plain for Conv {
    const NAME: &'static str = "Conv";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let w = inputs[1].shape.as_concrete().context("the shape of the kernel is not known")?;
        let shape = self.steps.convolved(self.groups, &inputs[0].shape, w)?;
        Ok(tvec!(float_type(inputs)?.fact(shape)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (x, w) = (inputs[0].shape(), inputs[1].shape());
        let shape = self.steps.convolved(self.groups, x, w)?;
        let axes = self.steps.axes(&x[2..], &w[2..], &shape[2..])?;
        let outputs = w[0] / self.groups;
        let sizes = Convolution { batch: x[0], groups: self.groups, channels: w[1], outputs, axes: &axes };
        computed(inputs, &shape, sizes, convolve, convolve_reference)
    }
}

/// A convolution, or a transposed one, of elements of one type.
type Kernel<T> = fn(&[T], &[T], Option<&[T]>, Convolution<'_>, &mut [T]);

/// The output of that shape, computed in the inputs' type.
pub(super) fn computed(
    inputs: &[TValue],
    shape: &[usize],
    sizes: Convolution<'_>,
    of_f32: Kernel<f32>,
    of_f64: Kernel<f64>,
) -> TractResult<TVec<Tensor>> {
    let bias = bias(inputs, shape[1])?;
    if inputs[0].datum_type() == f64::datum_type() {
        let mut out = Tensor::zero::<f64>(shape)?;
        let (x, w, bias) = (elements(&inputs[0])?, elements(&inputs[1])?, bias.map(elements).transpose()?);
        of_f64(x, w, bias, sizes, out.try_as_plain_ram_mut()?.as_slice_mut()?);
        return Ok(tvec!(out));
    }
    let bias = bias.map(f32_slice).transpose()?;
    let out = f32_tensor(shape, |out| {
        of_f32(f32_slice(&inputs[0])?, f32_slice(&inputs[1])?, bias, sizes, out);
        Ok(())
    })?;
    Ok(tvec!(out))
}

/// The one type of all inputs.
///
/// # Errors
/// Where they have several, or one that is neither f32 nor f64.
pub fn float_type(inputs: &[&TypedFact]) -> TractResult<DatumType> {
    let datum_type = inputs[0].datum_type;
    let known = [f32::datum_type(), f64::datum_type()].contains(&datum_type);
    ensure!(known && inputs.iter().all(|fact| fact.datum_type == datum_type), "operands {inputs:?}");
    Ok(datum_type)
}

/// The third input, if there is one.
///
/// # Errors
/// Where it has not one element for each output.
fn bias(inputs: &[TValue], outputs: usize) -> TractResult<Option<&Tensor>> {
    let bias: Option<&Tensor> = inputs.get(2).map(|bias| &**bias);
    ensure!(bias.is_none_or(|bias| bias.shape() == [outputs]), "a bias of {bias:?} for {outputs} outputs");
    Ok(bias)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, tensor};
    use super::super::windows::Padding;
    use super::*;

    #[test]
    fn sums_over_the_kernel() {
        struct Case {
            x: (&'static [usize], &'static [f32]),
            w: (&'static [usize], &'static [f32]),
            bias: Option<&'static [f32]>,
            operator: Conv,
            expected: Option<(&'static [usize], &'static [f32])>,
        }
        let operator = |axes: usize, padding| Conv {
            groups: 1,
            steps: WindowSteps { strides: vec![1; axes], dilations: vec![1; axes], padding },
        };
        let none = |axes: usize| operator(axes, Padding::Explicit(vec![0; 2 * axes]));
        let x: (&[usize], &[f32]) = (&[1, 1, 4], &[1., 2., 3., 4.]);
        let w: (&[usize], &[f32]) = (&[1, 1, 2], &[1., 10.]);
        let square: (&[usize], &[f32]) = (&[1, 1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
        let plain = || Case { x, w, bias: None, operator: none(1), expected: None };
        // By hand.
        let cases = [
            Case { expected: Some((&[1, 1, 3], &[21., 32., 43.])), ..plain() },
            Case { bias: Some(&[0.5]), expected: Some((&[1, 1, 3], &[21.5, 32.5, 43.5])), ..plain() },
            Case {
                operator: operator(1, Padding::Explicit(vec![1, 0])),
                expected: Some((&[1, 1, 4], &[10., 21., 32., 43.])),
                ..plain()
            },
            Case {
                operator: operator(1, Padding::SameUpper),
                expected: Some((&[1, 1, 4], &[21., 32., 43., 4.])),
                ..plain()
            },
            Case {
                operator: operator(1, Padding::SameLower),
                expected: Some((&[1, 1, 4], &[10., 21., 32., 43.])),
                ..plain()
            },
            Case {
                operator: Conv {
                    steps: WindowSteps { strides: vec![2], dilations: vec![2], ..none(1).steps },
                    ..none(1)
                },
                expected: Some((&[1, 1, 1], &[31.])),
                ..plain()
            },
            Case {
                x: (&[1, 2, 2], &[1., 2., 3., 4.]),
                w: (&[4, 1, 1], &[1., -1., 2., 0.]),
                bias: Some(&[0., 1., 2., 3.]),
                operator: Conv { groups: 2, ..none(1) },
                expected: Some((&[1, 4, 2], &[1., 2., 0., -1., 8., 10., 3., 3.])),
            },
            Case {
                x: square,
                w: (&[1, 1, 2, 2], &[1., 10., 100., 1000.]),
                operator: none(2),
                expected: Some((&[1, 1, 1, 2], &[5421., 6532.])),
                ..plain()
            },
            Case {
                x: square,
                w: (&[5, 1, 1, 1], &[1., 2., 3., 4., 5.]),
                bias: Some(&[0., 0., 0., 0., 1.]),
                operator: Conv { steps: WindowSteps { strides: vec![2, 2], ..none(2).steps }, ..none(2) },
                expected: Some((&[1, 5, 1, 2], &[1., 3., 2., 6., 3., 9., 4., 12., 6., 16.])),
            },
            Case { x: (&[0, 1, 4], &[]), expected: Some((&[0, 1, 3], &[])), ..plain() },
            Case { w: (&[0, 1, 2], &[]), expected: Some((&[1, 0, 3], &[])), ..plain() },
            Case { w: (&[1, 1, 5], &[1.; 5]), ..plain() },
            Case { w: (&[1, 2, 1], &[1.; 2]), ..plain() },
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
                        assert_eq!(outputs[0].datum_type(), inputs[0].datum_type(), "{what}");
                        assert_close(&what, &outputs[0].cast_to::<f32>().unwrap(), shape, values);
                    }
                    (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{what}"),
                }
            }
        }
    }

    #[test]
    fn facts_of_symbolic_sizes() {
        let symbols = SymbolScope::default();
        let (batch, length) = (symbols.sym("batch").to_dim(), symbols.sym("length").to_dim());
        let steps = WindowSteps { strides: vec![2], dilations: vec![1], padding: Padding::Explicit(vec![1, 1]) };
        let operator = Conv { groups: 1, steps };
        let x = f32::fact([batch.clone(), symbols.sym("channels").to_dim(), length.clone()]);
        let w = f32::fact([6, 4, 3]);
        let facts = operator.facts(&[&x, &w]).unwrap();
        assert_eq!(facts[0].shape.to_tvec(), [batch, 6.to_dim(), (length.clone() - 1) / 2 + 1].into());
        let refused = [
            (i32::fact([1, 4, 9]), i32::fact([6, 4, 3])),
            (f32::fact([1, 4, 9]), f64::fact([6, 4, 3])),
            (f32::fact([1, 3, 9]), w),
            (x, f32::fact([length, 4.to_dim(), 3.to_dim()])),
        ];
        for (x, w) in refused {
            assert!(operator.facts(&[&x, &w]).is_err(), "{x:?} {w:?}");
        }
    }
}
