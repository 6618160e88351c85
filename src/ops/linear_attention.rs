//! `LinearAttention`: ONNX `LinearAttention` (27), step by step.
//!
//! Inputs, all f32: query `[batch, steps, heads · key size]`, key `[batch, steps, state heads · key size]`, value
//! `[batch, steps, state heads · value size]`; then, each where [`LinearAttention`] says so, the state before
//! `[batch, state heads, key size, value size]`, the decay in logarithms `[batch, steps, state heads]` or as the key, and the
//! rate `[batch, steps, state heads or 1]`.
//! Outputs, f32: `[batch, steps, heads · value size]`; the state after, as the state before.

use super::f32_slice;
use super::plain::{Plain, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearAttention {
    /// Heads of the query.
    pub heads: usize,
    /// Heads of key and value, each with a state.
    pub state_heads: usize,
    /// Factor of the output; `None` for 1 / √(key size).
    pub scale: Option<f32>,
    /// Whether there is a state before; it is 0 otherwise.
    pub has_past: bool,
    /// Whether the state decays at each step.
    pub has_decay: bool,
    /// Whether each step writes, times the rate, only what the state does not hold yet under its key.
    pub has_rate: bool,
}

/// The sizes of one call.
struct Sizes {
    batch: usize,
    steps: usize,
    key: usize,
    value: usize,
}

impl LinearAttention {
    /// Positions of the decay and of the rate among the inputs.
    fn positions(&self) -> (usize, usize) {
        let decay = 3 + usize::from(self.has_past);
        (decay, decay + usize::from(self.has_decay))
    }

    fn sizes(&self, inputs: &[TValue]) -> TractResult<Sizes> {
        let &[batch, steps, query] = inputs[0].shape() else { bail!("the query's rank is not 3") };
        let &[_, _, value] = inputs[2].shape() else { bail!("the value's rank is not 3") };
        ensure!(query % self.heads == 0 && value % self.state_heads == 0, "query or value do not fall into heads");
        let sizes = Sizes { batch, steps, key: query / self.heads, value: value / self.state_heads };
        ensure!(inputs[1].shape() == [batch, steps, self.state_heads * sizes.key], "key of {:?}", inputs[1].shape());
        ensure!(inputs[2].shape()[..2] == [batch, steps], "value of {:?}", inputs[2].shape());
        let (decay, rate) = self.positions();
        let states = [batch, self.state_heads, sizes.key, sizes.value];
        ensure!(!self.has_past || inputs[3].shape() == states, "state {:?}, not {states:?}", inputs[3].shape());
        let widths = [(self.has_decay, decay, self.state_heads * sizes.key), (self.has_rate, rate, 1)];
        for (_, position, width) in widths.into_iter().filter(|(present, ..)| *present) {
            let shape = inputs[position].shape();
            let fits = [width, self.state_heads].map(|width| shape == [batch, steps, width]).contains(&true);
            ensure!(fits, "decay or rate of shape {shape:?}");
        }
        Ok(sizes)
    }
}

impl Plain for LinearAttention {
    const NAME: &'static str = "LinearAttention";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.iter().all(|fact| fact.datum_type == f32::datum_type()), "{inputs:?} are not float32");
        ensure!(inputs[..3].iter().all(|fact| fact.rank() == 3), "query, key and value have rank 3");
        let [query, value] = [&inputs[0].shape, &inputs[2].shape];
        let value_size = value[2].clone() / self.state_heads as i64;
        let output = [query[0].clone(), query[1].clone(), value_size.clone() * self.heads as i64];
        let key_size = query[2].clone() / self.heads as i64;
        Ok(tvec!(f32::fact(output), f32::fact([query[0].clone(), self.state_heads.to_dim(), key_size, value_size])))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let sizes = self.sizes(inputs)?;
        let [query, key, value] = [f32_slice(&inputs[0])?, f32_slice(&inputs[1])?, f32_slice(&inputs[2])?];
        let (decay, rate) = self.positions();
        let decay = if self.has_decay { Some(f32_slice(&inputs[decay])?) } else { None };
        let rate = if self.has_rate { Some(f32_slice(&inputs[rate])?) } else { None };
        let scale = self.scale.unwrap_or(1.0 / (sizes.key as f32).sqrt());
        let group = self.heads / self.state_heads;
        let places = sizes.batch * sizes.steps;
        let area = sizes.key * sizes.value;
        let mut states = vec![0f32; sizes.batch * self.state_heads * area];
        if self.has_past {
            states.copy_from_slice(f32_slice(&inputs[3])?);
        }
        let mut output = vec![0f32; places * self.heads * sizes.value];
        for place in 0..places {
            for head in 0..self.state_heads {
                let state = place / sizes.steps * self.state_heads + head;
                let state = &mut states[state * area..][..area];
                let row = place * self.state_heads + head;
                let key = &key[row * sizes.key..][..sizes.key];
                if let Some(decay) = decay {
                    let by_key = decay.len() != places * self.state_heads;
                    let decay = if by_key { &decay[row * sizes.key..][..sizes.key] } else { &decay[row..=row] };
                    fade(state, decay, sizes.value);
                }
                let mut written = value[row * sizes.value..][..sizes.value].to_vec();
                if let Some(rate) = rate {
                    let shared = rate.len() != places * self.state_heads;
                    let rate = rate[if shared { place } else { row }];
                    read(state, key, -1.0, &mut written);
                    written.iter_mut().for_each(|element| *element *= rate);
                }
                for (state, key) in state.chunks_exact_mut(sizes.value.max(1)).zip(key) {
                    state.iter_mut().zip(&written).for_each(|(state, written)| *state += key * written);
                }
                for head in head * group..(head + 1) * group {
                    let row = place * self.heads + head;
                    let output = &mut output[row * sizes.value..][..sizes.value];
                    read(state, &query[row * sizes.key..][..sizes.key], scale, output);
                }
            }
        }
        let state_shape = [sizes.batch, self.state_heads, sizes.key, sizes.value];
        Ok(tvec!(
            tensor_of(&[sizes.batch, sizes.steps, self.heads * sizes.value], &output)?,
            tensor_of(&state_shape, &states)?
        ))
    }
}

/// Multiplies the rows of a state by e to the decay, which has an element for each row or one for all.
fn fade(state: &mut [f32], decay: &[f32], width: usize) {
    for (state, decay) in state.chunks_exact_mut(width.max(1)).zip(decay.iter().cycle()) {
        let factor = decay.exp();
        state.iter_mut().for_each(|state| *state *= factor);
    }
}

/// Adds to `result` what a state holds under a key, times a factor.
fn read(state: &[f32], key: &[f32], factor: f32, result: &mut [f32]) {
    for (state, key) in state.chunks_exact(result.len().max(1)).zip(key) {
        result.iter_mut().zip(state).for_each(|(result, state)| *result += factor * key * state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_of_each_rule() {
        struct Case {
            has_decay: bool,
            has_rate: bool,
            expected: [f32; 2],
        }
        // One head of size 1: keys 1 and 2, values 3 and 5, query 1, half of the state kept, rate 0.5; by hand.
        let cases = [
            Case { has_decay: false, has_rate: false, expected: [3.0, 13.0] },
            Case { has_decay: true, has_rate: false, expected: [3.0, 11.5] },
            Case { has_decay: false, has_rate: true, expected: [1.5, 3.5] },
            Case { has_decay: true, has_rate: true, expected: [1.5, 4.25] },
        ];
        let steps = |elements: [f32; 2]| tensor_of(&[1, 2, 1], &elements).unwrap().into_tvalue();
        for Case { has_decay, has_rate, expected } in cases {
            let operator =
                LinearAttention { heads: 1, state_heads: 1, scale: None, has_past: false, has_decay, has_rate };
            let mut inputs = vec![steps([1.0, 1.0]), steps([1.0, 2.0]), steps([3.0, 5.0])];
            inputs.extend(has_decay.then(|| steps([0.5f32.ln(); 2])));
            inputs.extend(has_rate.then(|| steps([0.5; 2])));
            let outputs = operator.compute(&inputs).unwrap();
            super::super::tests::assert_close(&format!("{operator:?}"), &outputs[0], &[1, 2, 1], &expected);
            super::super::tests::assert_close(&format!("{operator:?}"), &outputs[1], &[1, 1, 1, 1], &expected[1..]);
        }
    }
}
