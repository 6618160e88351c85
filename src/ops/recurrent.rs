//! `Recurrent`: ONNX `RNN`, `GRU` and `LSTM` (7 to 22) in float32.
//!
//! Inputs, with `sequence` and `batch` swapped where `batch_first` is set: `x` `[sequence, batch, features]`, `w`
//! `[directions, gates * hidden, features]`, `r` `[directions, gates * hidden, hidden]`, then those of [`Optional`] that
//! are present. Outputs: every step's state `[sequence, directions, batch, hidden]`, zero beyond a sequence's length; the
//! last state `[directions, batch, hidden]`; for an LSTM the last cell state in the same shape.

use super::{f32_slice, f32_tensor};
use tract_onnx::tract_hir::internal::*;

/// What is computed at each step. Gates stand in ONNX's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// One gate.
    Rnn,
    /// Update, reset and hidden gates.
    Gru {
        /// The reset gate multiplies the hidden gate's product with `r` and its bias, not the state.
        linear_before_reset: bool,
    },
    /// Input, output, forget and cell gates.
    Lstm {
        /// The forget gate is one minus the input gate.
        input_forget: bool,
    },
}

impl Cell {
    /// How many gates the weights hold.
    pub fn gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm { .. } => 4,
        }
    }

    /// How many activations each direction takes.
    pub fn activations(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 2,
            Cell::Lstm { .. } => 3,
        }
    }

    fn outputs(self) -> usize {
        if matches!(self, Cell::Lstm { .. }) { 3 } else { 2 }
    }
}

/// A function of a gate, with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GateActivation {
    /// `tanh(x)`.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `max(x, 0)`.
    Relu,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `alpha * x + beta`.
    Affine(f32, f32),
    /// `alpha * tanh(beta * x)`.
    ScaledTanh(f32, f32),
    /// `clamp(alpha * x + beta, 0, 1)`.
    HardSigmoid(f32, f32),
    /// `x` where it is not negative, else `alpha * x`.
    LeakyRelu(f32),
    /// `x` where it is greater than `alpha`, else 0.
    ThresholdedRelu(f32),
    /// `x` where it is not negative, else `alpha * (exp(x) - 1)`.
    Elu(f32),
}

impl GateActivation {
    fn apply(self, x: f32) -> f32 {
        match self {
            GateActivation::Tanh => x.tanh(),
            GateActivation::Sigmoid => 1. / (1. + (-x).exp()),
            GateActivation::Relu => x.max(0.),
            GateActivation::Softsign => x / (1. + x.abs()),
            GateActivation::Softplus => x.max(0.) + (-x.abs()).exp().ln_1p(),
            GateActivation::Affine(alpha, beta) => alpha * x + beta,
            GateActivation::ScaledTanh(alpha, beta) => alpha * (beta * x).tanh(),
            GateActivation::HardSigmoid(alpha, beta) => (alpha * x + beta).clamp(0., 1.),
            GateActivation::LeakyRelu(alpha) => if x < 0. { alpha * x } else { x },
            GateActivation::ThresholdedRelu(alpha) => if x > alpha { x } else { 0. },
            GateActivation::Elu(alpha) => if x < 0. { alpha * x.exp_m1() } else { x },
        }
    }
}

/// Inputs that may be left out, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optional {
    /// `[directions, 2 * gates * hidden]`: those of `w`, then those of `r`.
    Bias,
    /// Each sequence's length, `[batch]`.
    Lengths,
    /// `[directions, batch, hidden]`.
    InitialState,
    /// `[directions, batch, hidden]`.
    InitialCell,
    /// An LSTM's weights from its cell state to its input, output and forget gates, `[directions, 3 * hidden]`.
    Peepholes,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrent {
    /// What is computed at each step.
    pub cell: Cell,
    /// For each direction whether it runs from the end to the start.
    pub reversed: Vec<bool>,
    /// Whether the batch comes before the sequence, in inputs and outputs.
    pub batch_first: bool,
    /// Bound of what goes into an activation, on both sides of zero.
    pub clip: Option<f32>,
    /// The activations of each direction, one direction after the other.
    pub activations: Vec<GateActivation>,
    /// Which optional inputs are present.
    pub optional: Vec<Optional>,
}

impl Eq for Recurrent {}

/// The sizes of one call.
struct Sizes {
    sequence: usize,
    batch: usize,
    features: usize,
    hidden: usize,
}

/// One direction's weights.
struct Weights<'a> {
    w: &'a [f32],
    r: &'a [f32],
    bias: Option<&'a [f32]>,
    peepholes: Option<&'a [f32]>,
}

/// State of one sequence of the batch in one direction.
struct State {
    hidden: Vec<f32>,
    cell: Vec<f32>,
}

impl Recurrent {
    fn optional<'a>(&self, inputs: &'a [TValue], which: Optional) -> Option<&'a TValue> {
        self.optional.iter().position(|present| *present == which).map(|position| &inputs[3 + position])
    }

    fn sizes(&self, inputs: &[TValue]) -> TractResult<Sizes> {
        let (x, r) = (inputs[0].shape(), inputs[2].shape());
        ensure!(x.len() == 3 && r.len() == 3, "Recurrent takes tensors of rank 3");
        let (sequence, batch) = if self.batch_first { (x[1], x[0]) } else { (x[0], x[1]) };
        let sizes = Sizes { sequence, batch, features: x[2], hidden: r[2] };
        self.check(inputs, &sizes)?;
        Ok(sizes)
    }

    fn check(&self, inputs: &[TValue], sizes: &Sizes) -> TractResult<()> {
        let directions = self.reversed.len();
        let gates = self.cell.gates() * sizes.hidden;
        let state = match self.batch_first {
            true => vec![sizes.batch, directions, sizes.hidden],
            false => vec![directions, sizes.batch, sizes.hidden],
        };
        let mut shapes = vec![vec![directions, gates, sizes.features], vec![directions, gates, sizes.hidden]];
        shapes.extend(self.optional.iter().map(|optional| match optional {
            Optional::Bias => vec![directions, 2 * gates],
            Optional::Lengths => vec![sizes.batch],
            Optional::InitialState | Optional::InitialCell => state.clone(),
            Optional::Peepholes => vec![directions, 3 * sizes.hidden],
        }));
        for (input, shape) in inputs[1..].iter().zip(&shapes) {
            ensure!(input.shape() == &**shape, "Recurrent takes {shape:?}, not {:?}", input.shape());
        }
        Ok(())
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let sizes = self.sizes(inputs)?;
        let directions = self.reversed.len();
        let lengths = match self.optional(inputs, Optional::Lengths) {
            Some(lengths) => super::elements::integers(lengths)?,
            None => vec![sizes.sequence as i64; sizes.batch],
        };
        let fits = lengths.iter().all(|length| (0..=sizes.sequence as i64).contains(length));
        ensure!(fits, "lengths {lengths:?} of sequences of {}", sizes.sequence);
        let mut steps = vec![0.; sizes.sequence * directions * sizes.batch * sizes.hidden];
        let mut last = vec![0.; directions * sizes.batch * sizes.hidden];
        let mut cells = last.clone();
        for (direction, reversed) in self.reversed.iter().enumerate() {
            let weights = self.weights(inputs, &sizes, direction)?;
            for (row, length) in lengths.iter().enumerate() {
                let mut state = self.initial(inputs, &sizes, direction, row)?;
                for step in 0..*length as usize {
                    let at = if *reversed { *length as usize - 1 - step } else { step };
                    self.step(self.input(inputs, &sizes, at, row)?, &weights, direction, &mut state);
                    let place = self.step_place(&sizes, at, direction, row);
                    steps[place..][..sizes.hidden].copy_from_slice(&state.hidden);
                }
                let place = self.state_place(&sizes, direction, row);
                last[place..][..sizes.hidden].copy_from_slice(&state.hidden);
                cells[place..][..sizes.hidden].copy_from_slice(&state.cell);
            }
        }
        let [all, end] = self.shapes(sizes.sequence, sizes.batch, sizes.hidden);
        let outputs = [(all, steps), (end.clone(), last), (end, cells)];
        let tensor = |(shape, values): (Vec<usize>, Vec<f32>)| {
            f32_tensor(&shape, |out| {
                out.copy_from_slice(&values);
                Ok(())
            })
        };
        outputs.into_iter().take(self.cell.outputs()).map(|output| Ok(tensor(output)?.into_tvalue())).collect()
    }

    /// Shapes of the outputs: every step's state, and the last one.
    fn shapes<D: Clone + From<usize>>(&self, sequence: D, batch: D, hidden: D) -> [Vec<D>; 2] {
        let directions = D::from(self.reversed.len());
        match self.batch_first {
            true => [vec![batch.clone(), sequence, directions.clone(), hidden.clone()], vec![batch, directions, hidden]],
            false => [vec![sequence, directions.clone(), batch.clone(), hidden.clone()], vec![directions, batch, hidden]],
        }
    }

    fn input<'a>(&self, inputs: &'a [TValue], sizes: &Sizes, step: usize, row: usize) -> TractResult<&'a [f32]> {
        let at = if self.batch_first { row * sizes.sequence + step } else { step * sizes.batch + row };
        Ok(&f32_slice(&inputs[0])?[at * sizes.features..][..sizes.features])
    }

    fn step_place(&self, sizes: &Sizes, step: usize, direction: usize, row: usize) -> usize {
        let directions = self.reversed.len();
        let at = match self.batch_first {
            true => (row * sizes.sequence + step) * directions + direction,
            false => (step * directions + direction) * sizes.batch + row,
        };
        at * sizes.hidden
    }

    fn state_place(&self, sizes: &Sizes, direction: usize, row: usize) -> usize {
        let at = match self.batch_first {
            true => row * self.reversed.len() + direction,
            false => direction * sizes.batch + row,
        };
        at * sizes.hidden
    }

    fn weights<'a>(&self, inputs: &'a [TValue], sizes: &Sizes, direction: usize) -> TractResult<Weights<'a>> {
        let gates = self.cell.gates() * sizes.hidden;
        let part = |tensor: &'a TValue, size: usize| -> TractResult<&'a [f32]> {
            Ok(&f32_slice(tensor)?[direction * size..][..size])
        };
        let optional = |which, size| self.optional(inputs, which).map(|tensor| part(tensor, size)).transpose();
        Ok(Weights {
            w: part(&inputs[1], gates * sizes.features)?,
            r: part(&inputs[2], gates * sizes.hidden)?,
            bias: optional(Optional::Bias, 2 * gates)?,
            peepholes: optional(Optional::Peepholes, 3 * sizes.hidden)?,
        })
    }

    fn initial(&self, inputs: &[TValue], sizes: &Sizes, direction: usize, row: usize) -> TractResult<State> {
        let place = self.state_place(sizes, direction, row);
        let read = |which| match self.optional(inputs, which) {
            Some(tensor) => Ok(f32_slice(tensor)?[place..][..sizes.hidden].to_vec()),
            None => TractResult::Ok(vec![0.; sizes.hidden]),
        };
        Ok(State { hidden: read(Optional::InitialState)?, cell: read(Optional::InitialCell)? })
    }

    fn step(&self, x: &[f32], weights: &Weights, direction: usize, state: &mut State) {
        let size = state.hidden.len();
        let count = self.cell.gates() * size;
        let bias = |at: usize| weights.bias.map_or(0., |bias| bias[at]);
        let from_input: Vec<f32> =
            (0..count).map(|unit| dot(&weights.w[unit * x.len()..], x) + bias(unit)).collect();
        let product = |unit: usize, hidden: &[f32]| dot(&weights.r[unit * size..], hidden);
        let from_state = |unit: usize, hidden: &[f32]| product(unit, hidden) + bias(count + unit);
        let activation = |which: usize, x: f32| {
            let bounded = self.clip.map_or(x, |clip| x.clamp(-clip, clip));
            self.activations[direction * self.cell.activations() + which].apply(bounded)
        };
        let hidden = &state.hidden;
        match self.cell {
            Cell::Rnn => {
                state.hidden =
                    (0..size).map(|unit| activation(0, from_input[unit] + from_state(unit, hidden))).collect();
            }
            Cell::Gru { linear_before_reset } => {
                let gate = |unit: usize| activation(0, from_input[unit] + from_state(unit, hidden));
                let reset: Vec<f32> = (size..2 * size).map(gate).collect();
                let forgotten: Vec<f32> = hidden.iter().zip(&reset).map(|(hidden, reset)| hidden * reset).collect();
                let new_state = |unit: usize| {
                    let at = 2 * size + unit;
                    let recurrent = match linear_before_reset {
                        true => reset[unit] * from_state(at, hidden),
                        false => from_state(at, &forgotten),
                    };
                    let update = gate(unit);
                    (1. - update) * activation(1, from_input[at] + recurrent) + update * hidden[unit]
                };
                state.hidden = (0..size).map(new_state).collect();
            }
            Cell::Lstm { input_forget } => {
                let peephole = |gate: usize, unit: usize, cell: f32| {
                    weights.peepholes.map_or(0., |weights| weights[gate * size + unit] * cell)
                };
                let gate = |gate: usize, unit: usize| {
                    from_input[gate * size + unit] + from_state(gate * size + unit, hidden)
                };
                let (cell, hidden) = (0..size)
                    .map(|unit| {
                        let cell = state.cell[unit];
                        let input = activation(0, gate(0, unit) + peephole(0, unit, cell));
                        let forget = match input_forget {
                            true => 1. - input,
                            false => activation(0, gate(2, unit) + peephole(2, unit, cell)),
                        };
                        let cell = forget * cell + input * activation(1, gate(3, unit));
                        let output = activation(0, gate(1, unit) + peephole(1, unit, cell));
                        (cell, output * self.activations[direction * 3 + 2].apply(cell))
                    })
                    .unzip();
                *state = State { hidden, cell };
            }
        }
    }
}

/// The product of a row of weights, which starts `weights`, and a vector.
fn dot(weights: &[f32], vector: &[f32]) -> f32 {
    weights.iter().zip(vector).map(|(weight, value)| weight * value).sum()
}

impl Op for Recurrent {
    fn name(&self) -> StaticName {
        match self.cell {
            Cell::Rnn => "Rnn".into(),
            Cell::Gru { .. } => "Gru".into(),
            Cell::Lstm { .. } => "Lstm".into(),
        }
    }

    op_as_typed_op!();
}

impl EvalOp for Recurrent {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.run(&inputs)
    }
}

impl TypedOp for Recurrent {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let ranks = inputs[..3].iter().all(|fact| fact.rank() == 3 && fact.datum_type == f32::datum_type());
        ensure!(ranks, "Recurrent takes float32 tensors of rank 3");
        let x = &inputs[0].shape;
        let (sequence, batch) = if self.batch_first { (&x[1], &x[0]) } else { (&x[0], &x[1]) };
        let [all, end] = self.shapes(sequence.clone(), batch.clone(), inputs[2].shape[2].clone());
        let facts = [&all, &end, &end].map(|shape| f32::fact(&**shape));
        Ok(facts.into_iter().take(self.cell.outputs()).collect())
    }
}
