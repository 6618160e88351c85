//! ONNX `RNN`, `GRU` and `LSTM` (7 to 22) in float32.
//!
//! Inputs: `X`, `W`, `R`, and optionally `B`, `sequence_lens`, `initial_h`, for LSTM `initial_c` and `P`. Outputs: `Y`, `Y_h`,
//! for LSTM `Y_c`. Attributes: `direction`, `hidden_size`, `layout`, `clip`, `activations` (all of ONNX's),
//! `activation_alpha`, `activation_beta`; `linear_before_reset` for GRU, `input_forget` for LSTM.

use super::{Wiring, arguments, float, input, int, is_f32, only_attributes, unsupported};
use crate::ops::{Cell, GateActivation, Optional, Recurrent};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

const ATTRIBUTES: [&str; 8] = [
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "layout",
    "output_sequence",
];

/// `RNN`.
#[derive(Debug, Clone)]
pub struct Rnn(Layer);

/// `GRU`.
#[derive(Debug, Clone)]
pub struct Gru(Layer);

/// `LSTM`.
#[derive(Debug, Clone)]
pub struct Lstm(Layer);

/// What the three have in common.
#[derive(Debug, Clone)]
struct Layer {
    operator: Recurrent,
    lengths: Option<usize>,
    /// Whether the node names each output.
    outputs: Vec<bool>,
}

impl Wiring for Rnn {
    const OPERATOR: &'static str = "RNN";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &ATTRIBUTES)?;
        Layer::parse(node, Cell::Rnn, &["Tanh"]).map(Rnn)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        self.0.wire(prefix, model, inputs).map(Some)
    }
}

impl Wiring for Gru {
    const OPERATOR: &'static str = "GRU";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[&ATTRIBUTES[..], &["linear_before_reset"]].concat())?;
        let cell = Cell::Gru { linear_before_reset: int(node, "linear_before_reset", 0) != 0 };
        Layer::parse(node, cell, &["Sigmoid", "Tanh"]).map(Gru)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        self.0.wire(prefix, model, inputs).map(Some)
    }
}

impl Wiring for Lstm {
    const OPERATOR: &'static str = "LSTM";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[&ATTRIBUTES[..], &["input_forget"]].concat())?;
        let cell = Cell::Lstm { input_forget: int(node, "input_forget", 0) != 0 };
        Layer::parse(node, cell, &["Sigmoid", "Tanh", "Tanh"]).map(Lstm)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        self.0.wire(prefix, model, inputs).map(Some)
    }
}

impl Layer {
    fn parse(node: &NodeProto, cell: Cell, defaults: &[&str]) -> TractResult<Layer> {
        let reversed = match &*arguments::string(node, "direction", "forward") {
            "forward" => vec![false],
            "reverse" => vec![true],
            "bidirectional" => vec![false, true],
            other => return Err(unsupported(format!("direction `{other}`"))),
        };
        let optional = [
            Optional::Bias,
            Optional::Lengths,
            Optional::InitialState,
            Optional::InitialCell,
            Optional::Peepholes,
        ];
        let present = (3..).zip(optional).filter(|(position, _)| input(node, *position).is_some());
        let operator = Recurrent {
            cell,
            batch_first: int(node, "layout", 0) != 0,
            clip: float(node, "clip"),
            activations: activations(node, &defaults.repeat(reversed.len()))?,
            optional: present.map(|(_, optional)| optional).collect(),
            reversed,
        };
        let outputs = node.output.iter().map(|name| !name.is_empty()).collect();
        Ok(Layer { operator, lengths: input(node, 4), outputs })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let floats: Vec<OutletId> =
            (0..).zip(inputs).filter(|(position, _)| Some(*position) != self.lengths).map(|(_, input)| *input).collect();
        if !is_f32(model, &floats)? {
            return Err(unsupported("only float32 is supported"));
        }
        let outlets = model.wire_node(prefix, self.operator.clone(), inputs)?;
        Ok(outlets.into_iter().zip(&self.outputs).filter(|(_, named)| **named).map(|(outlet, _)| outlet).collect())
    }
}

/// The named activations, each of which takes its parameters, where it has some, from the front of the lists.
fn activations(node: &NodeProto, defaults: &[&str]) -> TractResult<Vec<GateActivation>> {
    let names: Vec<String> = match super::attribute(node, "activations") {
        Some(names) => names.strings.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
        None => defaults.iter().map(|name| name.to_string()).collect(),
    };
    if names.len() != defaults.len() {
        return Err(unsupported(format!("{} activations instead of {}", names.len(), defaults.len())));
    }
    let mut alphas = arguments::floats(node, "activation_alpha").unwrap_or_default().into_iter();
    let mut betas = arguments::floats(node, "activation_beta").unwrap_or_default().into_iter();
    let given = |value: Option<f32>, default: Option<f32>| {
        value.or(default).ok_or_else(|| unsupported("an activation without its parameters, which have no defaults"))
    };
    let mut alpha = |default: Option<f32>| given(alphas.next(), default);
    let mut beta = |default: Option<f32>| given(betas.next(), default);
    let activation = |name: String| {
        Ok(match &*name {
            "Tanh" => GateActivation::Tanh,
            "Sigmoid" => GateActivation::Sigmoid,
            "Relu" => GateActivation::Relu,
            "Softsign" => GateActivation::Softsign,
            "Softplus" => GateActivation::Softplus,
            "Affine" => GateActivation::Affine(alpha(None)?, beta(None)?),
            "ScaledTanh" => GateActivation::ScaledTanh(alpha(None)?, beta(None)?),
            "HardSigmoid" => GateActivation::HardSigmoid(alpha(Some(0.2))?, beta(Some(0.5))?),
            "LeakyRelu" => GateActivation::LeakyRelu(alpha(Some(0.01))?),
            "ThresholdedRelu" => GateActivation::ThresholdedRelu(alpha(Some(1.))?),
            "Elu" => GateActivation::Elu(alpha(Some(1.))?),
            _ => return Err(unsupported(format!("activation `{name}`"))),
        })
    };
    names.into_iter().map(activation).collect()
}
