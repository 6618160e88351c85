//! `TensorScatter`: ONNX `TensorScatter` (24), any type: new entries of a cache.
//!
//! Inputs: `past`; `update` of its shape but for the sequence axis; optionally `write_indices` int64 `[batch]`, where each row's
//! first entry goes, 0 without them. Output: `past` with the update in it.

use super::elements::integers;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TensorScatter {
    /// The sequence axis.
    pub axis: usize,
    /// Entries beyond the end go on at the start, instead of being an error.
    pub circular: bool,
}

impl TensorScatter {
    fn write<T: Datum + Copy>(&self, past: Tensor, update: &Tensor, starts: &[i64]) -> TractResult<Tensor> {
        let (length, count) = (past.shape()[self.axis], update.shape()[self.axis]);
        let shape = past.shape();
        let inner: usize = shape[self.axis + 1..].iter().product();
        let rows_of_one: usize = shape[1..self.axis].iter().product();
        let rows = shape[0] * rows_of_one;
        let mut past = past;
        let mut view = past.try_as_plain_ram_mut()?;
        let cache = view.as_slice_mut::<T>()?;
        let update = update.try_as_plain_ram()?.as_slice::<T>()?;
        for row in 0..rows {
            for entry in 0..count {
                let at = starts[row / rows_of_one] as usize + entry;
                let at = if self.circular { at % length } else { at };
                ensure!(at < length, "entry {at} of a cache of {length}");
                cache[(row * length + at) * inner..][..inner]
                    .copy_from_slice(&update[(row * count + entry) * inner..][..inner]);
            }
        }
        Ok(past)
    }
}

impl Op for TensorScatter {
    fn name(&self) -> StaticName {
        "TensorScatter".into()
    }

    op_as_typed_op!();
}

impl EvalOp for TensorScatter {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, mut inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let past = inputs.remove(0).into_tensor();
        let update = &inputs[0];
        let mut expected: TVec<usize> = past.shape().into();
        expected[self.axis] = update.shape()[self.axis].min(expected[self.axis]);
        ensure!(update.shape() == &*expected, "an update {:?} of a cache {:?}", update.shape(), past.shape());
        let starts = match inputs.get(1) {
            Some(starts) => integers(starts)?,
            None => vec![0; past.shape()[0]],
        };
        let fits = starts.len() == past.shape()[0] && starts.iter().all(|start| *start >= 0);
        ensure!(fits, "write indices {starts:?} of a cache {:?}", past.shape());
        let output = dispatch_copy!(Self::write(past.datum_type())(self, past, update, &starts))?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for TensorScatter {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let same = inputs[0].rank() == inputs[1].rank() && inputs[0].datum_type == inputs[1].datum_type;
        ensure!(same && (1..inputs[0].rank()).contains(&self.axis), "{:?} written to {:?}", inputs[1], inputs[0]);
        Ok(tvec!(inputs[0].without_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (bool, &'static [i64], Option<[i32; 6]>);

    #[test]
    fn linear_and_circular() {
        // A cache of two rows of three entries, zero at first, to which [1, 2] and [3, 4] go.
        let cases: [Case; 4] = [
            (false, &[0, 1], Some([1, 2, 0, 0, 3, 4])),
            (true, &[2, 1], Some([2, 0, 1, 0, 3, 4])),
            (false, &[2, 1], None),
            (true, &[-1, 1], None),
        ];
        for (circular, starts, expected) in cases {
            let past = Tensor::zero::<i32>(&[2, 3, 1]).unwrap();
            let update = Tensor::from_shape(&[2, 2, 1], &[1, 2, 3, 4]).unwrap();
            let inputs = [past, update, tensor1(starts)].map(|tensor| tensor.into_tvalue());
            let operator = TensorScatter { axis: 1, circular };
            let output = operator.eval(&EvalContext::out_of_plan(), inputs.into_iter().collect());
            let output = output.ok().map(|mut outputs| outputs.remove(0).into_tensor());
            let values = output.as_ref().map(|output| output.try_as_plain_ram().unwrap().as_slice::<i32>().unwrap());
            assert_eq!(values, expected.as_ref().map(|expected| &expected[..]), "{circular} {starts:?}");
        }
    }
}
