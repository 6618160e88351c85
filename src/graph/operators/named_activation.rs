//! The activations that com.microsoft operators name in their attribute `activation`, with ONNX's names: float32, with
//! `activation_alpha`, `activation_beta` and `activation_gamma`.

use super::compose::Composer;
use super::quantized::node;
use super::softplus::softplus;
use super::{attribute, float, unsupported, wire_node};
use crate::kernels::activation::Activation;
use crate::onnx::pb::attribute_proto::AttributeType;
use crate::onnx::pb::{AttributeProto, NodeProto};
use crate::ops::Activate;
use crate::ops::extremum::Extremum;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::math::{abs, add, div, exp, min, mul, sub};
use tract_core::ops::nn::leaky_relu;

/// The version of ONNX's operators that are used.
const OPSET: i64 = 22;

/// An activation with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NamedActivation {
    /// One of the kernels' own.
    Kernel(Activation),
    /// `x`, at least `low` and at most `high`.
    Clip { low: f32, high: f32 },
    /// `x` where positive, else `alpha · (e^x - 1)`.
    Elu { alpha: f32 },
    /// `alpha · x + beta`, at least 0 and at most 1.
    HardSigmoid { alpha: f32, beta: f32 },
    /// `x` where positive, else `alpha · x`.
    LeakyRelu { alpha: f32 },
    /// `gamma · x` where positive, else `gamma · alpha · (e^x - 1)`.
    Selu { alpha: f32, gamma: f32 },
    /// `ln(e^x + 1)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// ONNX's operator of that name, with its `alpha` where it has one.
    Operator { name: &'static str, alpha: Option<f32> },
}

impl NamedActivation {
    /// Names of the attributes.
    pub const ATTRIBUTES: [&'static str; 4] = ["activation", "activation_alpha", "activation_beta", "activation_gamma"];

    /// Reads the attributes; without `activation` there is none.
    pub fn of(node: &NodeProto) -> TractResult<NamedActivation> {
        let name = attribute(node, "activation").map_or(&b""[..], |activation| &activation.s);
        let alpha = |default| float(node, "activation_alpha").unwrap_or(default);
        let beta = |default| float(node, "activation_beta").unwrap_or(default);
        Ok(match name {
            b"" => NamedActivation::Kernel(Activation::Identity),
            b"Relu" => NamedActivation::Kernel(Activation::Relu),
            b"Sigmoid" => NamedActivation::Kernel(Activation::Sigmoid),
            b"Tanh" => NamedActivation::Kernel(Activation::Tanh),
            b"Elu" => NamedActivation::Elu { alpha: alpha(1.0) },
            b"HardSigmoid" => NamedActivation::HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) },
            b"LeakyRelu" => NamedActivation::LeakyRelu { alpha: alpha(0.01) },
            b"Selu" => NamedActivation::Selu {
                alpha: alpha(1.673_263_2),
                gamma: float(node, "activation_gamma").unwrap_or(1.050_701),
            },
            b"Softplus" => NamedActivation::Softplus,
            b"Softsign" => NamedActivation::Softsign,
            b"Celu" => NamedActivation::Operator { name: "Celu", alpha: Some(alpha(1.0)) },
            b"ThresholdedRelu" => NamedActivation::Operator { name: "ThresholdedRelu", alpha: Some(alpha(1.0)) },
            other => {
                return Err(unsupported(format!("activation `{}`", String::from_utf8_lossy(other))));
            }
        })
    }

    /// Wires the activation of a float32 outlet.
    pub fn wire(self, composer: &mut Composer, x: OutletId) -> TractResult<OutletId> {
        match self {
            NamedActivation::Kernel(Activation::Identity) => Ok(x),
            NamedActivation::Kernel(activation) => composer.wire(Activate(activation), &[x]),
            NamedActivation::Clip { low, high } => {
                let datum_type = composer.fact(x)?.datum_type;
                let [low, high] = [low, high].map(|bound| {
                    let bound = tensor0(bound).cast_to_dt(datum_type)?.into_owned();
                    composer.constant(bound)
                });
                let bounded = composer.wire(PlainOperator(Extremum { greatest: true }), &[x, low?])?;
                composer.wire(PlainOperator(Extremum { greatest: false }), &[bounded, high?])
            }
            NamedActivation::LeakyRelu { alpha } => composer.wire(leaky_relu(alpha), &[x]),
            NamedActivation::Softplus => softplus(composer, x),
            NamedActivation::Softsign => {
                let size = composer.wire(abs(), &[x])?;
                let divisor = composer.binary_with(add(), size, 1.0)?;
                composer.binary(div(), x, divisor)
            }
            NamedActivation::HardSigmoid { alpha, beta } => {
                let scaled = composer.binary_with(mul(), x, alpha)?;
                let shifted = composer.binary_with(add(), scaled, beta)?;
                NamedActivation::Clip { low: 0.0, high: 1.0 }.wire(composer, shifted)
            }
            NamedActivation::Operator { name, alpha } => {
                let alpha = alpha.map(|alpha| AttributeProto {
                    name: "alpha".into(),
                    r#type: AttributeType::Float.into(),
                    f: alpha,
                    ..Default::default()
                });
                let prefix = composer.name(name);
                let node = node(name, 1, alpha.into_iter().collect());
                Ok(wire_node(&node, OPSET, &prefix, composer.model(), &[x])?[0])
            }
            NamedActivation::Elu { alpha } => elu(composer, x, alpha),
            NamedActivation::Selu { alpha, gamma } => {
                let curve = elu(composer, x, alpha)?;
                composer.binary_with(mul(), curve, gamma)
            }
        }
    }
}

fn elu(composer: &mut Composer, x: OutletId, alpha: f32) -> TractResult<OutletId> {
    let positive = composer.wire(Activate(Activation::Relu), &[x])?;
    let negative = composer.binary_with(min(), x, 0.0)?;
    let power = composer.wire(exp(), &[negative])?;
    let curve = composer.binary_with(sub(), power, 1.0)?;
    let curve = composer.binary_with(mul(), curve, alpha)?;
    composer.binary(add(), positive, curve)
}
