//! `CausalConvolution`: ONNX `CausalConvWithState` (27) before its activation.
//!
//! Inputs, all f32: `[batch, channels, length]`; weights `[channels, 1, taps]`; then, each where [`CausalConvolution`] says
//! so, a bias `[channels]` and the positions before `[batch, channels, taps - 1]`, which are 0 otherwise.
//! Outputs, f32: as the first input; the last positions seen, `[batch, channels, taps - 1]`.

use super::f32_slice;
use super::plain::{Plain, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct CausalConvolution {
    /// Whether there is a bias.
    pub has_bias: bool,
    /// Whether the positions before are given.
    pub has_past: bool,
}

impl Plain for CausalConvolution {
    const NAME: &'static str = "CausalConvolution";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.iter().all(|fact| fact.datum_type == f32::datum_type()), "{inputs:?} are not float32");
        ensure!(inputs[0].rank() == 3 && inputs[1].rank() == 3, "input and weight have rank 3");
        let mut kept = inputs[0].shape.to_tvec();
        kept[2] = inputs[1].shape[2].clone() - 1;
        Ok(tvec!(inputs[0].without_value(), f32::fact(kept)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let &[batch, channels, length] = inputs[0].shape() else { bail!("the input's rank is not 3") };
        let taps = inputs[1].shape()[2];
        ensure!(inputs[1].shape() == [channels, 1, taps.max(1)], "weight of shape {:?}", inputs[1].shape());
        let kept = taps - 1;
        let (input, weight) = (f32_slice(&inputs[0])?, f32_slice(&inputs[1])?);
        let bias = if self.has_bias { Some(f32_slice(&inputs[2])?) } else { None };
        ensure!(bias.is_none_or(|bias| bias.len() == channels), "the bias does not have {channels} elements");
        let past = if self.has_past { Some(&inputs[2 + usize::from(self.has_bias)]) } else { None };
        let past_fits = past.is_none_or(|past| past.shape() == [batch, channels, kept]);
        ensure!(past_fits, "the state's shape is not [{batch}, {channels}, {kept}]");
        let past = past.map(|past| f32_slice(past)).transpose()?;
        let mut output = Vec::with_capacity(input.len());
        let mut present = Vec::with_capacity(batch * channels * kept);
        for row in 0..batch * channels {
            let mut seen = past.map_or_else(|| vec![0.0; kept], |past| past[row * kept..][..kept].to_vec());
            seen.extend_from_slice(&input[row * length..][..length]);
            let channel = row % channels;
            let weight = &weight[channel * taps..][..taps];
            let bias = bias.map_or(0.0, |bias| bias[channel]);
            let at = |window: &[f32]| window.iter().zip(weight).map(|(x, weight)| x * weight).sum::<f32>() + bias;
            output.extend(seen.windows(taps).map(at));
            present.extend_from_slice(&seen[length..]);
        }
        Ok(tvec!(tensor_of(inputs[0].shape(), &output)?, tensor_of(&[batch, channels, kept], &present)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_stands_before_the_input() {
        struct Case {
            past: Option<[f32; 2]>,
            input: &'static [f32],
            output: &'static [f32],
            present: [f32; 2],
        }
        // Weights [1, 10, 100], bias 0.5; by hand.
        let cases = [
            Case { past: None, input: &[1.0, 2.0], output: &[100.5, 210.5], present: [1.0, 2.0] },
            Case { past: Some([3.0, 4.0]), input: &[1.0], output: &[143.5], present: [4.0, 1.0] },
            Case { past: Some([3.0, 4.0]), input: &[], output: &[], present: [3.0, 4.0] },
        ];
        for case in cases {
            let operator = CausalConvolution { has_bias: true, has_past: case.past.is_some() };
            let line = |elements: &[f32]| tensor_of(&[1, 1, elements.len()], elements).unwrap().into_tvalue();
            let mut inputs = vec![line(case.input), line(&[1.0, 10.0, 100.0]), tensor1(&[0.5f32]).into_tvalue()];
            inputs.extend(case.past.map(|past| line(&past)));
            let outputs = operator.compute(&inputs).unwrap();
            assert_eq!(f32_slice(&outputs[0]).unwrap(), case.output, "{:?}", case.past);
            assert_eq!(f32_slice(&outputs[1]).unwrap(), case.present, "{:?}", case.past);
        }
    }
}
