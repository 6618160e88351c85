//! `Recurrent`: ONNX `RNN`, `GRU` and `LSTM` (7 to 22) in float32, in any direction, with any of their activations.
//!
//! Inputs, in this order, the optional ones where the fields say so: `X` f32 `[sequence, batch, input]`, `W` f32
//! `[directions, gates * hidden, input]`, `R` f32 `[directions, gates * hidden, hidden]`, `B` f32
//! `[directions, 2 * gates * hidden]`, `sequence_lens` i32 `[batch]`, `initial_h` and (LSTM) `initial_c` f32
//! `[directions, batch, hidden]`, (LSTM) `P` f32 `[directions, 3 * hidden]`. With `batch_first` the batch comes first in
//! `X`, the states and the outputs.
//!
//! Outputs: `Y` f32 `[sequence, directions, batch, hidden]`, zero behind the end of a sequence; `Y_h` and (LSTM) `Y_c` f32
//! `[directions, batch, hidden]`.

use super::plain::{Plain, elements, tensor_of};
use tract_core::internal::*;

/// Which recurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// `H = f(X W + H R + B)`.
    Rnn,
    /// Gated recurrent unit; gates z, r, h.
    Gru {
        /// The reset gate multiplies `H R + B` instead of `H`.
        linear_before_reset: bool,
    },
    /// Long short-term memory; gates i, o, f, c.
    Lstm {
        /// The forget gate is `1 - i`.
        input_forget: bool,
    },
}

impl Cell {
    /// Gates, each with its rows in `W`, `R` and `B`.
    pub fn gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm { .. } => 4,
        }
    }

    /// Activations per direction.
    pub fn activations(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 2,
            Cell::Lstm { .. } => 3,
        }
    }

    fn is_lstm(self) -> bool {
        matches!(self, Cell::Lstm { .. })
    }
}

/// An activation of a gate, with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub enum GateActivation {
    Sigmoid,
    Tanh,
    Relu,
    Softsign,
    Softplus,
    Affine { alpha: f32, beta: f32 },
    LeakyRelu { alpha: f32 },
    ThresholdedRelu { alpha: f32 },
    ScaledTanh { alpha: f32, beta: f32 },
    HardSigmoid { alpha: f32, beta: f32 },
    Elu { alpha: f32 },
}

impl GateActivation {
    fn of(self, x: f32) -> f32 {
        match self {
            GateActivation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            GateActivation::Tanh => x.tanh(),
            GateActivation::Relu => x.max(0.0),
            GateActivation::Softsign => x / (1.0 + x.abs()),
            GateActivation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            GateActivation::Affine { alpha, beta } => alpha * x + beta,
            GateActivation::LeakyRelu { alpha } => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * x
                }
            }
            GateActivation::ThresholdedRelu { alpha } => {
                if x > alpha {
                    x
                } else {
                    0.0
                }
            }
            GateActivation::ScaledTanh { alpha, beta } => alpha * (beta * x).tanh(),
            GateActivation::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            GateActivation::Elu { alpha } => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * x.exp_m1()
                }
            }
        }
    }
}

/// One direction of the recurrence.
#[derive(Debug, Clone, PartialEq)]
pub struct Direction {
    /// Goes through each sequence from its end.
    pub reverse: bool,
    /// As many as [`Cell::activations`].
    pub activations: Vec<GateActivation>,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrent {
    /// Which recurrence.
    pub cell: Cell,
    /// One, or forward and reverse.
    pub directions: Vec<Direction>,
    /// Gates are clipped to `[-clip, clip]` before their activation.
    pub clip: Option<f32>,
    /// `[batch, sequence, ...]` instead of `[sequence, batch, ...]`.
    pub batch_first: bool,
    /// Whether `B` is there.
    pub bias: bool,
    /// Whether `sequence_lens` is there.
    pub lengths: bool,
    /// Whether `initial_h` is there.
    pub initial_h: bool,
    /// Whether `initial_c` is there.
    pub initial_c: bool,
    /// Whether `P` is there.
    pub peepholes: bool,
}

/// The inputs as slices; those left out are zeros.
struct Operands<'a> {
    x: &'a [f32],
    w: &'a [f32],
    r: &'a [f32],
    bias: Vec<f32>,
    lengths: Vec<usize>,
    initial_h: Vec<f32>,
    initial_c: Vec<f32>,
    peepholes: Option<&'a [f32]>,
    sizes: Sizes,
}

#[derive(Clone, Copy)]
struct Sizes {
    sequence: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    directions: usize,
    batch_first: bool,
}

impl Sizes {
    /// Where a row of `X` begins.
    fn x(&self, step: usize, batch: usize) -> usize {
        self.input * if self.batch_first { batch * self.sequence + step } else { step * self.batch + batch }
    }

    /// Where a row of a state begins.
    fn state(&self, direction: usize, batch: usize) -> usize {
        self.hidden
            * if self.batch_first { batch * self.directions + direction } else { direction * self.batch + batch }
    }

    /// Where a row of `Y` begins.
    fn y(&self, step: usize, direction: usize, batch: usize) -> usize {
        let row = if self.batch_first {
            (batch * self.sequence + step) * self.directions + direction
        } else {
            (step * self.directions + direction) * self.batch + batch
        };
        row * self.hidden
    }
}

impl Plain for Recurrent {
    const NAME: &'static str = "Recurrent";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == self.inputs(), "{} inputs instead of {}", inputs.len(), self.inputs());
        ensure!(inputs[..3].iter().all(|fact| fact.rank() == 3), "X, W and R must have rank 3");
        let floats = inputs.iter().enumerate().filter(|(at, _)| self.lengths_at() != Some(*at));
        ensure!(floats.clone().all(|(_, fact)| fact.datum_type == f32::datum_type()), "only float32 is supported");
        let hidden = inputs[2].shape[2].clone();
        let directions = self.directions.len().to_dim();
        let (first, second) = (inputs[0].shape[0].clone(), inputs[0].shape[1].clone());
        let (y, state) = if self.batch_first {
            (tvec!(first.clone(), second, directions.clone(), hidden.clone()), tvec!(first, directions, hidden))
        } else {
            (tvec!(first, directions.clone(), second.clone(), hidden.clone()), tvec!(directions, second, hidden))
        };
        let states = if self.cell.is_lstm() { 2 } else { 1 };
        let states = std::iter::repeat_n(f32::fact(&state), states);
        Ok(std::iter::once(f32::fact(&y)).chain(states).collect())
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let operands = self.operands(inputs)?;
        let sizes = operands.sizes;
        let rows = sizes.directions * sizes.batch * sizes.hidden;
        let mut y = vec![0.0; sizes.sequence * rows];
        let (mut last_h, mut last_c) = (vec![0.0; rows], vec![0.0; rows]);
        for (direction, how) in self.directions.iter().enumerate() {
            for batch in 0..sizes.batch {
                let state = sizes.state(direction, batch)..sizes.state(direction, batch) + sizes.hidden;
                let mut h = operands.initial_h[state.clone()].to_vec();
                let mut c = operands.initial_c[state.clone()].to_vec();
                let length = operands.lengths[batch];
                for position in 0..length {
                    let step = if how.reverse { length - 1 - position } else { position };
                    self.step(&operands, direction, &operands.x[sizes.x(step, batch)..][..sizes.input], &mut h, &mut c);
                    y[sizes.y(step, direction, batch)..][..sizes.hidden].copy_from_slice(&h);
                }
                // ONNX Runtime gives zeros for an empty sequence.
                if length > 0 {
                    last_h[state.clone()].copy_from_slice(&h);
                    last_c[state].copy_from_slice(&c);
                }
            }
        }
        let (y_shape, state_shape) = if self.batch_first {
            (
                [sizes.batch, sizes.sequence, sizes.directions, sizes.hidden],
                [sizes.batch, sizes.directions, sizes.hidden],
            )
        } else {
            (
                [sizes.sequence, sizes.directions, sizes.batch, sizes.hidden],
                [sizes.directions, sizes.batch, sizes.hidden],
            )
        };
        let mut outputs = tvec!(tensor_of(&y_shape, &y)?, tensor_of(&state_shape, &last_h)?);
        if self.cell.is_lstm() {
            outputs.push(tensor_of(&state_shape, &last_c)?);
        }
        Ok(outputs)
    }
}

impl Recurrent {
    /// How many inputs there are.
    fn inputs(&self) -> usize {
        let optional = [self.bias, self.lengths, self.initial_h, self.initial_c, self.peepholes];
        3 + optional.into_iter().filter(|present| *present).count()
    }

    fn lengths_at(&self) -> Option<usize> {
        self.lengths.then_some(3 + usize::from(self.bias))
    }

    fn operands<'a>(&self, inputs: &'a [TValue]) -> TractResult<Operands<'a>> {
        let (x, directions) = (inputs[0].shape(), self.directions.len());
        let [sequence, batch] = if self.batch_first { [x[1], x[0]] } else { [x[0], x[1]] };
        let (input, hidden) = (x[2], inputs[2].shape()[2]);
        let sizes = Sizes { sequence, batch, input, hidden, directions, batch_first: self.batch_first };
        let rows = self.cell.gates() * hidden;
        ensure!(inputs[1].shape() == [directions, rows, input], "W is {:?}", inputs[1].shape());
        ensure!(inputs[2].shape() == [directions, rows, hidden], "R is {:?}", inputs[2].shape());
        let mut rest = inputs[3..].iter();
        let mut next = |present: bool, len: usize| -> TractResult<Option<&'a TValue>> {
            let Some(tensor) = rest.next_if_present(present) else { return Ok(None) };
            ensure!(tensor.len() == len, "an optional input has {} elements instead of {len}", tensor.len());
            Ok(Some(tensor))
        };
        let zeros = |tensor: Option<&TValue>, len: usize| -> TractResult<Vec<f32>> {
            tensor.map_or_else(|| Ok(vec![0.0; len]), |tensor| Ok(elements::<f32>(tensor)?.to_vec()))
        };
        let states = directions * batch * hidden;
        let bias = zeros(next(self.bias, directions * 2 * rows)?, directions * 2 * rows)?;
        let lengths = lengths(next(self.lengths, batch)?, sequence, batch)?;
        let initial_h = zeros(next(self.initial_h, states)?, states)?;
        let initial_c = zeros(next(self.initial_c, states)?, states)?;
        let peepholes = next(self.peepholes, directions * 3 * hidden)?.map(|tensor| elements::<f32>(tensor));
        Ok(Operands {
            x: elements::<f32>(&inputs[0])?,
            w: elements::<f32>(&inputs[1])?,
            r: elements::<f32>(&inputs[2])?,
            bias,
            lengths,
            initial_h,
            initial_c,
            peepholes: peepholes.transpose()?,
            sizes,
        })
    }

    /// One step of one sequence.
    fn step(&self, operands: &Operands, direction: usize, x: &[f32], h: &mut [f32], c: &mut [f32]) {
        let Sizes { input, hidden, .. } = operands.sizes;
        let rows = self.cell.gates() * hidden;
        let w = &operands.w[direction * rows * input..][..rows * input];
        let r = &operands.r[direction * rows * hidden..][..rows * hidden];
        let bias = &operands.bias[direction * 2 * rows..][..2 * rows];
        let from_x = |row: usize| dot(&w[row * input..][..input], x) + bias[row];
        let from_h = |row: usize, h: &[f32]| dot(&r[row * hidden..][..hidden], h) + bias[rows + row];
        let gate = |activation: usize, sum: f32| {
            let sum = self.clip.map_or(sum, |clip| sum.clamp(-clip, clip));
            self.directions[direction].activations[activation].of(sum)
        };
        match self.cell {
            Cell::Rnn => {
                let next: Vec<f32> = (0..hidden).map(|unit| gate(0, from_x(unit) + from_h(unit, h))).collect();
                h.copy_from_slice(&next);
            }
            Cell::Gru { linear_before_reset } => {
                let z: Vec<f32> = (0..hidden).map(|unit| gate(0, from_x(unit) + from_h(unit, h))).collect();
                let reset = |unit: usize| gate(0, from_x(hidden + unit) + from_h(hidden + unit, h));
                let reset: Vec<f32> = (0..hidden).map(reset).collect();
                let reset_h: Vec<f32> = h.iter().zip(&reset).map(|(h, reset)| h * reset).collect();
                let candidate = |unit: usize| {
                    let row = 2 * hidden + unit;
                    let memory = if linear_before_reset { reset[unit] * from_h(row, h) } else { from_h(row, &reset_h) };
                    gate(1, from_x(row) + memory)
                };
                let candidates: Vec<f32> = (0..hidden).map(candidate).collect();
                for unit in 0..hidden {
                    h[unit] = (1.0 - z[unit]) * candidates[unit] + z[unit] * h[unit];
                }
            }
            Cell::Lstm { input_forget } => {
                let peephole = |which: usize, unit: usize, c: f32| {
                    operands.peepholes.map_or(0.0, |p| p[(direction * 3 + which) * hidden + unit] * c)
                };
                let sums: Vec<f32> = (0..rows).map(|row| from_x(row) + from_h(row, h)).collect();
                for unit in 0..hidden {
                    let i = gate(0, sums[unit] + peephole(0, unit, c[unit]));
                    let forget = gate(0, sums[2 * hidden + unit] + peephole(2, unit, c[unit]));
                    let forget = if input_forget { 1.0 - i } else { forget };
                    c[unit] = forget * c[unit] + i * gate(1, sums[3 * hidden + unit]);
                    let o = gate(0, sums[hidden + unit] + peephole(1, unit, c[unit]));
                    h[unit] = o * self.directions[direction].activations[2].of(c[unit]);
                }
            }
        }
    }
}

/// Taking the next element only where it is there.
trait NextIfPresent: Iterator {
    fn next_if_present(&mut self, present: bool) -> Option<Self::Item> {
        if present { self.next() } else { None }
    }
}

impl<I: Iterator> NextIfPresent for I {}

fn lengths(tensor: Option<&TValue>, sequence: usize, batch: usize) -> TractResult<Vec<usize>> {
    let Some(tensor) = tensor else { return Ok(vec![sequence; batch]) };
    let lengths = tensor.cast_to::<i64>()?;
    let within = |length: &i64| usize::try_from(*length).ok().filter(|length| *length <= sequence);
    let lengths: Option<Vec<usize>> = elements::<i64>(&lengths)?.iter().map(within).collect();
    lengths.with_context(|| format!("a length is not within 0 to {sequence}"))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use GateActivation::{Affine, Relu};

    const LINEAR: GateActivation = Affine { alpha: 1.0, beta: 0.0 };

    fn recurrent(cell: Cell, activations: &[GateActivation], reverse: bool) -> Recurrent {
        let directions = vec![Direction { reverse, activations: activations.to_vec() }];
        let (clip, batch_first, bias, lengths, initial_h, initial_c, peepholes) =
            (None, false, false, true, true, false, false);
        Recurrent { cell, directions, clip, batch_first, bias, lengths, initial_h, initial_c, peepholes }
    }

    /// `Y` of one unit over the inputs 1, 2, 3 in one sequence, whose weights are one.
    fn run(recurrent: &Recurrent, length: i32, initial_h: f32) -> Option<Vec<f32>> {
        let gates = recurrent.cell.gates();
        let ones = Tensor::from_shape(&[1, gates, 1], &vec![1f32; gates]).unwrap();
        let x = Tensor::from_shape(&[3, 1, 1], &[1f32, 2., 3.]).unwrap();
        let initial_h = Tensor::from_shape(&[1, 1, 1], &[initial_h]).unwrap();
        let inputs = [x, ones.clone(), ones, tensor1(&[length]), initial_h].map(IntoTValue::into_tvalue);
        let outputs = recurrent.compute(&inputs).ok()?;
        Some(elements::<f32>(&outputs[0]).unwrap().to_vec())
    }

    #[test]
    fn sums_by_hand() {
        let gru = |linear_before_reset| Cell::Gru { linear_before_reset };
        let lstm = |input_forget| Cell::Lstm { input_forget };
        let clipped = Recurrent { clip: Some(2.0), ..recurrent(Cell::Rnn, &[LINEAR], false) };
        let half = Affine { alpha: 0.0, beta: 0.5 };
        let cases: [(Recurrent, i32, f32, Option<[f32; 3]>); 9] = [
            // h = x + h
            (recurrent(Cell::Rnn, &[LINEAR], false), 3, 1.0, Some([2., 4., 7.])),
            (recurrent(Cell::Rnn, &[LINEAR], true), 3, 1.0, Some([7., 6., 4.])),
            (recurrent(Cell::Rnn, &[LINEAR], true), 2, 0.0, Some([3., 2., 0.])),
            (recurrent(Cell::Rnn, &[Relu], false), 3, -2.0, Some([0., 2., 5.])),
            (clipped, 3, 0.0, Some([1., 2., 2.])),
            // z = r = 1/2; h = (x + h / 2 + h) / 2, whether h is halved before or after it is multiplied by one
            (recurrent(gru(true), &[half, LINEAR], false), 3, 2.0, Some([2., 2.5, 3.375])),
            (recurrent(gru(false), &[half, LINEAR], false), 3, 2.0, Some([2., 2.5, 3.375])),
            // i = f = o = 1/2; c = (c + x + h) / 2, h = c / 2
            (recurrent(lstm(true), &[half, LINEAR, LINEAR], false), 3, 1.0, Some([0.5, 0.875, 1.40625])),
            (recurrent(Cell::Rnn, &[LINEAR], false), 4, 0.0, None),
        ];
        for (recurrent, length, initial_h, expected) in cases {
            let y = run(&recurrent, length, initial_h);
            assert_eq!(y.as_deref(), expected.as_ref().map(|expected| &expected[..]), "{recurrent:?} {length}");
        }
    }

    #[test]
    fn refused() {
        let operator = recurrent(Cell::Rnn, &[LINEAR], false);
        let [x, w, r] = [[3, 1, 2], [1, 4, 2], [1, 4, 4]].map(f32::fact);
        let (lengths, initial_h) = (i32::fact([1]), f32::fact([1, 1, 4]));
        assert!(operator.facts(&[&x, &w, &r, &lengths, &initial_h]).is_ok());
        assert!(operator.facts(&[&x, &w, &r, &lengths]).is_err(), "an input is missing");
        assert!(operator.facts(&[&x, &w, &r, &lengths, &f64::fact([1, 1, 4])]).is_err(), "float64");
    }
}
