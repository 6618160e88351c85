//! `ReverseSequence`: ONNX `ReverseSequence` (10 to 28), any type.
//!
//! Inputs: `x`, whose first two axes are the batch and the time in one order or the other; `lengths` int64 `[batch]`. Output: `x`
//! with the first elements of each sequence, as many as its length, in reverse order.

use super::elements::{integers, rearrange};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseSequence {
    /// Whether the first axis is the batch, not the time.
    pub batch_first: bool,
}

impl Op for ReverseSequence {
    fn name(&self) -> StaticName {
        "ReverseSequence".into()
    }

    op_as_typed_op!();
}

impl EvalOp for ReverseSequence {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        let (batch, time) = if self.batch_first { (shape[0], shape[1]) } else { (shape[1], shape[0]) };
        let inner: usize = shape[2..].iter().product();
        let lengths = integers(&inputs[1])?;
        let fits = lengths.len() == batch && lengths.iter().all(|length| (0..=time as i64).contains(length));
        ensure!(fits, "lengths {lengths:?} of {batch} sequences of {time}");
        let mut places = Vec::with_capacity(inputs[0].len());
        for outer in 0..shape[0] {
            for middle in 0..shape[1] {
                let (row, step) = if self.batch_first { (outer, middle) } else { (middle, outer) };
                let length = lengths[row] as usize;
                let step = if step < length { length - 1 - step } else { step };
                let at = if self.batch_first { row * time + step } else { step * batch + row };
                places.extend(at * inner..(at + 1) * inner);
            }
        }
        Ok(tvec!(rearrange(&inputs[0], shape, &places)?.into_tvalue()))
    }
}

impl TypedOp for ReverseSequence {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() >= 2 && inputs[1].rank() == 1, "ReverseSequence of {:?}", inputs[0]);
        Ok(tvec!(inputs[0].without_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (bool, &'static [i64], Option<[i32; 6]>);

    #[test]
    fn batch_and_time_first() {
        // [[1, 2, 3], [4, 5, 6]] with lengths for the sequences along either axis.
        let cases: [Case; 4] = [
            (true, &[2, 3], Some([2, 1, 3, 6, 5, 4])),
            (true, &[0, 1], Some([1, 2, 3, 4, 5, 6])),
            (false, &[1, 2, 2], Some([1, 5, 6, 4, 2, 3])),
            (true, &[4, 1], None),
        ];
        for (batch_first, lengths, expected) in cases {
            let inputs = tvec!(tensor2(&[[1, 2, 3], [4, 5, 6]]).into_tvalue(), tensor1(lengths).into_tvalue());
            let output = ReverseSequence { batch_first }.eval(&EvalContext::out_of_plan(), inputs);
            let output = output.ok().map(|mut outputs| outputs.remove(0).into_tensor());
            let values = output.as_ref().map(|output| output.try_as_plain_ram().unwrap().as_slice::<i32>().unwrap());
            assert_eq!(values, expected.as_ref().map(|expected| &expected[..]), "{batch_first} {lengths:?}");
        }
    }
}
