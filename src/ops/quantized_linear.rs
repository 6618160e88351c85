//! `QuantizedLinear`: a product of 8-bit activations, quantised at run time, with constant 8-bit weights, and what commonly
//! follows it. It is what exporters write as ONNX `MatMulInteger`, `Cast`, `Mul` and `Add`, and its integers are exact.
//!
//! Inputs: `x` uint8 or int8 `[..., inputs]`; its scale, f32 of one element; its zero point, of `x`'s type, of one element;
//! with `joined` f32 `[..., outputs]`. With `quantizes`, instead of the first three, f32 `[..., inputs]`: what ONNX
//! `DynamicQuantizeLinear` (11) makes of it are `x`, scale and zero point.
//! Output: f32 `[..., outputs]` = `activation(f32(Σ (x - zero_point) · (w - its zero points)) · (scale · scales) + bias)`, to
//! which the last input is added or by which it is multiplied.

use super::linear::joined;
use super::mat_mul_integer::{bytes, integers};
use super::spare::written;
use super::{Shared, f32_slice, rows};
use crate::kernels::activation::Activation;
use crate::kernels::integer_linear::{Dequantisation, IntegerRows, IntegerWeights, LeftValues, quantized_linear};
use crate::kernels::linear::Join;
use crate::kernels::quantize::Quantization;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizedLinear {
    /// `[inputs, outputs]`, packed for the kernel.
    pub weights: Shared<IntegerWeights>,
    /// One, or `[outputs]`.
    pub scales: Shared<Vec<f32>>,
    /// `[outputs]`.
    pub bias: Option<Shared<Vec<f32>>>,
    /// Applied after the bias.
    pub activation: Activation,
    /// How a last input is joined after the activation, if there is one.
    pub joined: Option<Join>,
    /// Whether the first input is quantised here.
    pub quantizes: bool,
}

impl QuantizedLinear {
    /// Without bias, activation or joined operand.
    pub fn new(weights: Shared<IntegerWeights>, scales: Vec<f32>) -> QuantizedLinear {
        QuantizedLinear {
            weights,
            scales: Shared::new(scales),
            bias: None,
            activation: Activation::Identity,
            joined: None,
            quantizes: false,
        }
    }

    /// Inputs of the product: `x` alone, or with its scale and zero point.
    fn operands(&self) -> usize {
        if self.quantizes { 1 } else { 3 }
    }

    fn inputs(&self) -> usize {
        self.operands() + usize::from(self.joined.is_some())
    }
}

/// The left-hand matrix, its scale and its zero point.
struct Left<'a> {
    values: LeftValues<'a>,
    scale: f32,
    zero_point: i32,
}

impl<'a> Left<'a> {
    fn of(inputs: &'a [TValue]) -> TractResult<Left<'a>> {
        let [x, scale, zero_point] = inputs else {
            let numbers = f32_slice(&inputs[0])?;
            let quantization = Quantization::of(numbers);
            let Quantization { scale, zero_point } = quantization;
            return Ok(Left {
                values: LeftValues::Numbers(numbers, quantization),
                scale,
                zero_point: zero_point.into(),
            });
        };
        let (&[scale], &[zero_point]) = (f32_slice(scale)?, &*integers(zero_point)?) else {
            bail!("QuantizedLinear takes one scale and one zero point");
        };
        Ok(Left { values: bytes(x)?.into(), scale, zero_point })
    }
}

impl Op for QuantizedLinear {
    fn name(&self) -> StaticName {
        "QuantizedLinear".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let QuantizedLinear { weights, bias, activation, joined, quantizes, .. } = self;
        let mut info = vec![format!("{} x {} int8", weights.inputs(), weights.outputs())];
        info.extend(quantizes.then(|| "quantises".to_string()));
        info.extend(bias.is_some().then(|| "bias".to_string()));
        info.extend((*activation != Activation::Identity).then(|| activation.name().to_string()));
        info.extend(joined.map(|join| join.name().to_string()));
        Ok(info)
    }

    op_as_typed_op!();
}

impl EvalOp for QuantizedLinear {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut shape: TVec<usize> = inputs[0].shape().into();
        let (rows, outputs) = (rows(&shape), self.weights.outputs());
        let last = shape.last_mut().context("QuantizedLinear of a scalar")?;
        ensure!(*last == self.weights.inputs(), "QuantizedLinear takes {} columns, not {last}", self.weights.inputs());
        *last = outputs;
        let (operands, rest) = inputs.split_at(self.operands());
        let Left { values, scale, zero_point } = Left::of(operands)?;
        let scales: Vec<f32> = self.scales.iter().cycle().take(outputs).map(|of_column| scale * of_column).collect();
        let finish = Dequantisation {
            scales: &scales,
            bias: self.bias.as_ref().map(|bias| bias.as_slice()),
            activation: self.activation,
            joined: joined(self.joined, rest)?,
        };
        let x = IntegerRows { values, rows, zero_points: &[zero_point] };
        let output = written(&shape, |out| {
            quantized_linear(x, &self.weights, finish, out);
            Ok(())
        })?;
        Ok(tvec!(output))
    }
}

impl TypedOp for QuantizedLinear {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == self.inputs(), "QuantizedLinear takes {} inputs, not {}", self.inputs(), inputs.len());
        let x = inputs[0];
        if let [_, scale, zero_point] = inputs[..self.operands()] {
            let bytes = [u8::datum_type(), i8::datum_type()].contains(&x.datum_type);
            ensure!(bytes && x.rank() > 0, "QuantizedLinear takes 8-bit integers of rank 1 or more");
            ensure!(
                scale.datum_type == f32::datum_type() && zero_point.datum_type == x.datum_type,
                "QuantizedLinear takes a float32 scale, and a zero point of the type of its first input"
            );
        } else {
            ensure!(
                x.datum_type == f32::datum_type() && x.rank() > 0,
                "QuantizedLinear quantises float32 of rank 1 or more"
            );
        }
        let mut shape: TVec<TDim> = x.shape.to_tvec();
        let last = shape.len() - 1;
        let expected = self.weights.inputs().to_dim();
        ensure!(
            shape[last].compatible_with(&expected),
            "QuantizedLinear takes {expected} columns, not {}",
            shape[last]
        );
        shape[last] = self.weights.outputs().to_dim();
        if self.joined.is_some() {
            let joined = inputs[self.operands()];
            let fits = joined.datum_type == f32::datum_type() && *joined.shape == *shape;
            ensure!(
                fits,
                "the joined operand of QuantizedLinear must have the output's shape {shape:?}, not {joined:?}"
            );
        }
        Ok(tvec!(f32::fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn scales_bias_activation_and_joined_operand() {
        struct Case {
            scales: Vec<f32>,
            bias: Option<Vec<f32>>,
            x: Tensor,
            /// Nothing where `x` is quantised.
            zero_point: Option<Tensor>,
            activation: Activation,
            /// 10 everywhere.
            joined: Option<Join>,
            expected: Option<&'static [f32]>,
        }
        // w - zero point = [[1, -2], [3, 4]]; (x - zero point) = [[-1, 2]]; sums = [[5, 10]]; the scale of x is 0.5.
        let unsigned = || Tensor::from_shape(&[1, 1, 2], &[127u8, 130]).unwrap();
        let signed = || Tensor::from_shape(&[1, 1, 2], &[-3i8, 0]).unwrap();
        let zero_point = || tensor0(128u8);
        let plain = |scales, x, zero_point, expected| Case {
            scales,
            bias: None,
            x,
            zero_point: Some(zero_point),
            activation: Activation::Identity,
            joined: None,
            expected,
        };
        // -85 and 170 above their zero point: the sums are 425 and 850, and the scale is 1.5 / 255.
        let numbers = || Case {
            zero_point: None,
            ..plain(vec![2.0], tensor(&[1, 1, 2], &[-0.5, 1.0]), zero_point(), Some(&[5., 10.]))
        };
        let two = || Tensor::from_shape(&[2], &[128u8, 128]).unwrap();
        let cases = [
            plain(vec![2.0], unsigned(), zero_point(), Some(&[5., 10.])),
            Case { bias: Some(vec![1.0, -1.0]), ..plain(vec![2.0, 0.2], signed(), tensor0(-2i8), Some(&[6., 0.])) },
            Case {
                bias: Some(vec![-6.0, 1.0]),
                activation: Activation::Relu,
                joined: Some(Join::Add),
                ..plain(vec![2.0], unsigned(), zero_point(), Some(&[10., 21.]))
            },
            Case { joined: Some(Join::Multiply), ..plain(vec![2.0], unsigned(), zero_point(), Some(&[50., 100.])) },
            plain(vec![2.0], unsigned(), two(), None),
            numbers(),
            Case { joined: Some(Join::Add), expected: Some(&[15., 20.]), ..numbers() },
            Case { x: unsigned(), expected: None, ..numbers() },
        ];
        for (number, case) in cases.into_iter().enumerate() {
            let weights = Shared::new(IntegerWeights::new(&[2, -1, 4, 5], 2, 2, &[1]).unwrap());
            let operator = QuantizedLinear {
                bias: case.bias.map(Shared::new),
                activation: case.activation,
                joined: case.joined,
                quantizes: case.zero_point.is_none(),
                ..QuantizedLinear::new(weights, case.scales)
            };
            let mut inputs = vec![case.x];
            inputs.extend(case.zero_point.into_iter().flat_map(|zero_point| [tensor(&[], &[0.5]), zero_point]));
            inputs.extend(case.joined.map(|_| tensor(&[1, 1, 2], &[10.0; 2])));
            match (evaluate(&operator, &inputs), case.expected) {
                (Ok(output), Some(expected)) => assert_close("quantised", &output, &[1, 1, 2], expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "case {number}"),
            }
        }
    }
}
