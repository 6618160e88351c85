//! com.microsoft `FusedConv` (1): ONNX `Conv` of float32, then optionally `Z`, of the output's shape, added, then an `activation`:
//! Relu, Sigmoid, Tanh, HardSwish, LeakyRelu with the slope, HardSigmoid with slope and offset, or Clip with the bounds, as
//! `activation_params`.

use super::arguments::{floats, string};
use super::attention_parts::count;
use super::compose::Composer;
use super::named_activation::NamedActivation;
use super::quantized::{attributes, node};
use super::{Wiring, attribute, input, is_f32, only_attributes, unsupported, wire_node};
use crate::kernels::activation::Activation;
use crate::ops::extremum::Extremum;
use crate::ops::plain::PlainOperator;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::math::add;

const CONV: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct FusedConv {
    conv: NodeProto,
    opset: i64,
    groups: usize,
    addend: Option<usize>,
    activation: Following,
}

/// What follows.
#[derive(Debug, Clone, Copy)]
enum Following {
    Activation(NamedActivation),
    Clip { low: f32, high: f32 },
}

impl Wiring for FusedConv {
    const OPERATOR: &'static str = "com.microsoft.FusedConv";

    fn parse(proto: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(proto, &[CONV, &["activation", "activation_params"]].concat())?;
        let inputs = 2 + input(proto, 2).is_some() as usize;
        Ok(FusedConv {
            conv: node("Conv", inputs, attributes(proto, CONV)),
            opset,
            groups: if attribute(proto, "group").is_some() { count(proto, "group")? } else { 1 },
            addend: input(proto, 3),
            activation: Following::of(proto)?,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let mut operands: TVec<OutletId> = inputs[..self.conv.input.len()].into();
        operands[0] = with_channels(&mut Composer::new(prefix, model), [inputs[0], inputs[1]], self.groups)?;
        let mut sum = wire_node(&self.conv, self.opset, &format!("{prefix}.conv"), model, &operands)?[0];
        let composer = &mut Composer::new(prefix, model);
        if let Some(addend) = self.addend {
            sum = composer.binary(add(), sum, inputs[addend])?;
        }
        let activated = match self.activation {
            Following::Activation(activation) => activation.wire(composer, sum)?,
            Following::Clip { low, high } => {
                let [low, high] = [low, high].map(|bound| composer.constant(tensor0(bound)));
                let bounded = composer.wire(PlainOperator(Extremum { greatest: true }), &[sum, low?])?;
                composer.wire(PlainOperator(Extremum { greatest: false }), &[bounded, high?])?
            }
        };
        Ok(Some(tvec!(activated)))
    }
}

/// `x` with as many channels as the kernel `w` takes.
fn with_channels(composer: &mut Composer, [x, w]: [OutletId; 2], groups: usize) -> TractResult<OutletId> {
    let (x_shape, w_shape) = (composer.shape(x)?, composer.shape(w)?);
    ensure!(x_shape.len() > 1 && w_shape.len() > 1, "a convolution of {x_shape:?} with {w_shape:?}");
    let channels = w_shape[1].clone() * groups;
    if x_shape[1] == channels { Ok(x) } else { composer.known_sizes(x, tvec!((1, channels))) }
}

impl Following {
    fn of(node: &NodeProto) -> TractResult<Following> {
        let parameters = floats(node, "activation_params").unwrap_or_default();
        let activation = match (&*string(node, "activation", ""), &*parameters) {
            ("", []) => NamedActivation::Kernel(Activation::Identity),
            ("Relu", []) => NamedActivation::Kernel(Activation::Relu),
            ("Sigmoid", []) => NamedActivation::Kernel(Activation::Sigmoid),
            ("HardSwish", []) => NamedActivation::Operator { name: "HardSwish", alpha: None },
            ("Tanh", []) => NamedActivation::Kernel(Activation::Tanh),
            ("LeakyRelu", [alpha]) => NamedActivation::LeakyRelu { alpha: *alpha },
            ("HardSigmoid", [alpha, beta]) => NamedActivation::HardSigmoid { alpha: *alpha, beta: *beta },
            ("Clip", [low, high]) => return Ok(Following::Clip { low: *low, high: *high }),
            (other, parameters) => {
                let with = format!("activation `{other}` with {} parameters", parameters.len());
                return Err(unsupported(format!("{with} is not supported")));
            }
        };
        Ok(Following::Activation(activation))
    }
}
