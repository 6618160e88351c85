//! `TopK`: ONNX `TopK` (1 to 24), all number types.
//!
//! Inputs: `x`; `k`, one integer. Outputs: the `k` first elements along an axis in order, and int64 their places in it. Of equal
//! elements the one with the lower place comes first. NaN is taken for the greatest number.

use super::elements::integers;
use std::cmp::Ordering;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopK {
    /// The axis.
    pub axis: usize,
    /// Whether the greatest come first.
    pub largest: bool,
    /// `k`, as far as it is known.
    pub k: TDim,
}

impl TopK {
    fn select<T: Datum + Copy + PartialOrd>(&self, x: &Tensor, k: usize) -> TractResult<(Tensor, Tensor)> {
        let mut shape: TVec<usize> = x.shape().into();
        let size = std::mem::replace(&mut shape[self.axis], k);
        let inner: usize = shape[self.axis + 1..].iter().product();
        let outer: usize = shape[..self.axis].iter().product();
        let x = x.try_as_plain_ram()?.as_slice::<T>()?;
        let mut places = vec![0i64; outer * k * inner];
        let mut values = Vec::with_capacity(places.len());
        for line in 0..outer * inner {
            let at = |place: usize| x[(line / inner * size + place) * inner + line % inner];
            let mut order: Vec<usize> = (0..size).collect();
            order.sort_by(|one, other| {
                let ascending = compare(at(*one), at(*other));
                if self.largest { ascending.reverse() } else { ascending }
            });
            for (rank, place) in order[..k].iter().enumerate() {
                places[(line / inner * k + rank) * inner + line % inner] = *place as i64;
            }
        }
        for (position, place) in places.iter().enumerate() {
            let line = position / (k * inner);
            values.push(x[(line * size + *place as usize) * inner + position % inner]);
        }
        Ok((Tensor::from_shape(&shape, &values)?, Tensor::from_shape(&shape, &places)?))
    }
}

fn compare<T: PartialOrd>(one: T, other: T) -> Ordering {
    let nan = |value: &T| value.partial_cmp(value).is_none();
    one.partial_cmp(&other).unwrap_or_else(|| nan(&one).cmp(&nan(&other)))
}

impl Op for TopK {
    fn name(&self) -> StaticName {
        "TopK".into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    op_as_typed_op!();
}

impl EvalOp for TopK {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = &inputs[0];
        let k = integers(&inputs[1])?;
        let fits = k.len() == 1 && (0..=x.shape()[self.axis] as i64).contains(&k[0]);
        ensure!(fits, "the first {k:?} of {:?} along axis {}", x.shape(), self.axis);
        let (values, places) = dispatch_numbers!(Self::select(x.datum_type())(self, x, k[0] as usize))?;
        Ok(tvec!(values.into_tvalue(), places.into_tvalue()))
    }
}

impl TypedOp for TopK {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(self.axis < inputs[0].rank(), "axis {} of {:?}", self.axis, inputs[0]);
        ensure!(inputs[0].datum_type.is_number(), "TopK takes numbers, not {:?}", inputs[0].datum_type);
        let mut shape = inputs[0].shape.to_tvec();
        shape[self.axis] = self.k.clone();
        Ok(tvec!(inputs[0].datum_type.fact(&*shape), i64::fact(&*shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_ties() {
        struct Case {
            axis: usize,
            largest: bool,
            k: i64,
            expected: Option<(&'static [f32], &'static [i64])>,
        }
        // [[1, 3, 3], [2, 0, 5]]
        let cases = [
            Case { axis: 1, largest: true, k: 2, expected: Some((&[3., 3., 5., 2.], &[1, 2, 2, 0])) },
            Case { axis: 1, largest: false, k: 1, expected: Some((&[1., 0.], &[0, 1])) },
            Case { axis: 0, largest: true, k: 1, expected: Some((&[2., 3., 5.], &[1, 0, 1])) },
            Case { axis: 0, largest: true, k: 0, expected: Some((&[], &[])) },
            Case { axis: 0, largest: true, k: 3, expected: None },
        ];
        for case in cases {
            let operator = TopK { axis: case.axis, largest: case.largest, k: case.k.into() };
            let inputs = tvec!(tensor2(&[[1f32, 3., 3.], [2., 0., 5.]]).into_tvalue(), tensor0(case.k).into_tvalue());
            let outputs = operator.eval(&EvalContext::out_of_plan(), inputs).ok();
            let outputs = outputs.as_ref().map(|outputs| {
                let values = outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap();
                (values, outputs[1].try_as_plain_ram().unwrap().as_slice::<i64>().unwrap())
            });
            assert_eq!(outputs, case.expected, "{operator:?}");
        }
    }
}
