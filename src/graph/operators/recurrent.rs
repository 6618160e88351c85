//! ONNX `RNN`, `GRU` and `LSTM` (7 to 22): float32, each direction, every activation, `sequence_lens`, initial states,
//! peepholes and `clip`, as [`Recurrent`].

use super::{Wiring, attribute, float, input, int, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use crate::ops::recurrent::{Cell, Direction, GateActivation, Recurrent};
use tract_core::internal::*;

/// An operator of the family, and which of its outputs are wanted.
#[derive(Debug, Clone)]
struct Wanted {
    operator: Recurrent,
    outputs: Vec<usize>,
}

macro_rules! recurrent_operators {
    ($($name:ident, $operator:literal, $cell:expr, $defaults:expr;)*) => {
        $(
            /// See the module's documentation.
            #[derive(Debug, Clone)]
            pub struct $name(Wanted);

            impl Wiring for $name {
                const OPERATOR: &'static str = $operator;

                fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
                    let cell: fn(&NodeProto) -> Cell = $cell;
                    Ok($name(parse(node, cell(node), &$defaults)?))
                }

                fn wire(
                    &self,
                    prefix: &str,
                    model: &mut TypedModel,
                    inputs: &[OutletId],
                ) -> TractResult<TVec<OutletId>> {
                    let outlets = model.wire_node(prefix, PlainOperator(self.0.operator.clone()), inputs)?;
                    Ok(self.0.outputs.iter().map(|output| outlets[*output]).collect())
                }
            }
        )*
    };
}

recurrent_operators! {
    Rnn, "RNN", |_| Cell::Rnn, ["Tanh"];
    Gru, "GRU", |node| Cell::Gru { linear_before_reset: int(node, "linear_before_reset", 0) != 0 }, ["Sigmoid", "Tanh"];
    Lstm, "LSTM", |node| Cell::Lstm { input_forget: int(node, "input_forget", 0) != 0 }, ["Sigmoid", "Tanh", "Tanh"];
}

const ATTRIBUTES: [&str; 9] = [
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "input_forget",
    "layout",
    "linear_before_reset",
];

fn parse(node: &NodeProto, cell: Cell, defaults: &[&str]) -> TractResult<Wanted> {
    super::only_attributes(node, &ATTRIBUTES)?;
    let reversed: &[bool] = match attribute(node, "direction").map_or(&b"forward"[..], |direction| &direction.s) {
        b"forward" => &[false],
        b"reverse" => &[true],
        b"bidirectional" => &[false, true],
        other => return Err(unsupported(format!("direction `{}`", String::from_utf8_lossy(other)))),
    };
    let activations = activations(node, defaults, reversed.len())?;
    let direction = |(reverse, activations): (&bool, &[GateActivation])| Direction {
        reverse: *reverse,
        activations: activations.to_vec(),
    };
    let operator = Recurrent {
        cell,
        directions: reversed.iter().zip(activations.chunks(cell.activations())).map(direction).collect(),
        clip: float(node, "clip").filter(|clip| *clip > 0.0),
        batch_first: int(node, "layout", 0) != 0,
        bias: input(node, 3).is_some(),
        lengths: input(node, 4).is_some(),
        initial_h: input(node, 5).is_some(),
        initial_c: input(node, 6).is_some(),
        peepholes: input(node, 7).is_some(),
    };
    let outputs = (0..node.output.len()).filter(|output| !node.output[*output].is_empty()).collect();
    Ok(Wanted { operator, outputs })
}

/// The activations of all directions. `activation_alpha` and `activation_beta` are lists from which each activation that has
/// such a parameter takes the next; there are no defaults.
fn activations(node: &NodeProto, defaults: &[&str], directions: usize) -> TractResult<Vec<GateActivation>> {
    let names: Vec<String> = match attribute(node, "activations") {
        Some(names) => names.strings.iter().map(|name| String::from_utf8_lossy(name).to_lowercase()).collect(),
        None => defaults.repeat(directions).iter().map(|name| name.to_lowercase()).collect(),
    };
    if names.len() != defaults.len() * directions {
        return Err(unsupported(format!("{} activations", names.len())));
    }
    let parameters = |name: &str| attribute(node, name).map_or(vec![], |list| list.floats.clone()).into_iter();
    let (mut alphas, mut betas) = (parameters("activation_alpha"), parameters("activation_beta"));
    let mut alpha = || alphas.next().ok_or_else(|| unsupported("an activation without its alpha"));
    let mut beta = || betas.next().ok_or_else(|| unsupported("an activation without its beta"));
    let activation = |name: &String| {
        Ok(match &**name {
            "sigmoid" => GateActivation::Sigmoid,
            "tanh" => GateActivation::Tanh,
            "relu" => GateActivation::Relu,
            "softsign" => GateActivation::Softsign,
            "softplus" => GateActivation::Softplus,
            "affine" => GateActivation::Affine { alpha: alpha()?, beta: beta()? },
            "leakyrelu" => GateActivation::LeakyRelu { alpha: alpha()? },
            "thresholdedrelu" => GateActivation::ThresholdedRelu { alpha: alpha()? },
            "scaledtanh" => GateActivation::ScaledTanh { alpha: alpha()?, beta: beta()? },
            "hardsigmoid" => GateActivation::HardSigmoid { alpha: alpha()?, beta: beta()? },
            "elu" => GateActivation::Elu { alpha: alpha()? },
            other => return Err(unsupported(format!("activation `{other}`"))),
        })
    };
    names.iter().map(activation).collect()
}
