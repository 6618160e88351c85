//! com.microsoft `FusedConv` (1): ONNX `Conv` of float32, then optionally `Z`, of the output's shape, added, then an `activation`:
//! Relu, Sigmoid, Tanh, HardSwish, LeakyRelu with the slope, HardSigmoid with slope and offset, or Clip with the bounds, as
//! `activation_params`.

use super::arguments::{floats, string};
use super::compose::Composer;
use super::conv::ATTRIBUTES;
use super::named_activation::NamedActivation;
use super::quantized::{attributes, node};
use super::{Wiring, input, is_f32, only_attributes, unsupported, wire_node};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct FusedConv {
    conv: NodeProto,
    opset: i64,
    addend: Option<usize>,
    activation: NamedActivation,
}

impl Wiring for FusedConv {
    const OPERATOR: &'static str = "com.microsoft.FusedConv";

    fn parse(proto: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(proto, &[ATTRIBUTES, &["activation", "activation_params"]].concat())?;
        let inputs = 2 + input(proto, 2).is_some() as usize;
        Ok(FusedConv {
            conv: node("Conv", inputs, attributes(proto, ATTRIBUTES)),
            opset,
            addend: input(proto, 3),
            activation: activation(proto)?,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let operands = &inputs[..self.conv.input.len()];
        let mut sum = wire_node(&self.conv, self.opset, &format!("{prefix}.conv"), model, operands)?[0];
        let composer = &mut Composer::new(prefix, model);
        if let Some(addend) = self.addend {
            sum = composer.binary(add(), sum, inputs[addend])?;
        }
        Ok(tvec!(self.activation.wire(composer, sum)?))
    }
}

fn activation(node: &NodeProto) -> TractResult<NamedActivation> {
    let parameters = floats(node, "activation_params").unwrap_or_default();
    Ok(match (&*string(node, "activation", ""), &*parameters) {
        ("", []) => NamedActivation::Kernel(Activation::Identity),
        ("Relu", []) => NamedActivation::Kernel(Activation::Relu),
        ("Sigmoid", []) => NamedActivation::Kernel(Activation::Sigmoid),
        ("HardSwish", []) => NamedActivation::Operator { name: "HardSwish", alpha: None },
        ("Tanh", []) => NamedActivation::Kernel(Activation::Tanh),
        ("LeakyRelu", [alpha]) => NamedActivation::LeakyRelu { alpha: *alpha },
        ("HardSigmoid", [alpha, beta]) => NamedActivation::HardSigmoid { alpha: *alpha, beta: *beta },
        ("Clip", [low, high]) => NamedActivation::Clip { low: *low, high: *high },
        (other, parameters) => {
            let with = format!("activation `{other}` with {} parameters", parameters.len());
            return Err(unsupported(format!("{with} is not supported")));
        }
    })
}
