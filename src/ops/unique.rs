//! `Unique`: ONNX `Unique` (11 to 28), all number types and bool.
//!
//! Input: `x`. Outputs: the distinct elements `[count]`, or the distinct slices along an axis; int64 the place of the first of each
//! `[count]`; for each element or slice of `x` which of them it is; how many there are of each `[count]`.

use super::elements::rearrange;
use std::cmp::Ordering;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// The axis; `None` for single elements.
    pub axis: Option<usize>,
    /// In ascending order, instead of that in which they are first met.
    pub sorted: bool,
    /// How many distinct ones there are.
    pub count: TDim,
}

/// Distinct slices: the first of each, which one each slice is, and how many there are of each.
struct Distinct {
    firsts: Vec<usize>,
    inverse: Vec<i64>,
    counts: Vec<i64>,
}

impl Unique {
    /// Compares slices, whose elements lie at the places that `slice` tells.
    fn distinct<T: Datum + Copy + PartialOrd>(&self, x: &Tensor, slices: &[Vec<usize>]) -> TractResult<Distinct> {
        let x = x.try_as_plain_ram()?.as_slice::<T>()?;
        let compare = |one: usize, other: usize| {
            let pairs = slices[one].iter().zip(&slices[other]);
            let order = pairs.map(|(one, other)| x[*one].partial_cmp(&x[*other]).unwrap_or(Ordering::Less));
            order.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        ensure!(x.iter().all(|value| value.partial_cmp(value).is_some()), "Unique of NaN is not supported");
        let mut order: Vec<usize> = (0..slices.len()).collect();
        order.sort_by(|one, other| compare(*one, *other));
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for slice in order {
            match groups.last_mut().filter(|group| compare(group[0], slice).is_eq()) {
                Some(group) => group.push(slice),
                None => groups.push(vec![slice]),
            }
        }
        if !self.sorted {
            groups.sort_by_key(|group| group[0]);
        }
        let mut inverse = vec![0; slices.len()];
        for (position, group) in groups.iter().enumerate() {
            group.iter().for_each(|slice| inverse[*slice] = position as i64);
        }
        let firsts = groups.iter().map(|group| group[0]).collect();
        Ok(Distinct { firsts, inverse, counts: groups.iter().map(|group| group.len() as i64).collect() })
    }

    /// The places of each slice's elements.
    fn slices(&self, shape: &[usize]) -> Vec<Vec<usize>> {
        let Some(axis) = self.axis else { return (0..shape.iter().product()).map(|place| vec![place]).collect() };
        let inner: usize = shape[axis + 1..].iter().product();
        let outer: usize = shape[..axis].iter().product();
        let slice = |at: usize| {
            let block = |block: usize| (block * shape[axis] + at) * inner;
            (0..outer).flat_map(|outer| block(outer)..block(outer) + inner).collect()
        };
        (0..shape[axis]).map(slice).collect()
    }

    fn shape<D: Clone>(&self, shape: &[D], count: D) -> TVec<D> {
        let Some(axis) = self.axis else { return tvec!(count) };
        let mut shape: TVec<D> = shape.iter().cloned().collect();
        shape[axis] = count;
        shape
    }
}

impl Op for Unique {
    fn name(&self) -> StaticName {
        "Unique".into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    op_as_typed_op!();
}

impl EvalOp for Unique {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = &inputs[0];
        let slices = self.slices(x.shape());
        let distinct = match x.datum_type() {
            DatumType::Bool => self.distinct::<bool>(x, &slices)?,
            other => dispatch_numbers!(Self::distinct(other)(self, x, &slices))?,
        };
        let shape = self.shape(x.shape(), distinct.firsts.len());
        let inner: usize = self.axis.map_or(1, |axis| shape[axis + 1..].iter().product());
        let outer: usize = self.axis.map_or(1, |axis| shape[..axis].iter().product());
        let mut places = Vec::with_capacity(shape.iter().product());
        for block in 0..outer {
            for first in &distinct.firsts {
                places.extend_from_slice(&slices[*first][block * inner..][..inner]);
            }
        }
        let firsts: Vec<i64> = distinct.firsts.iter().map(|first| *first as i64).collect();
        Ok(tvec!(
            rearrange(x, &shape, &places)?.into_tvalue(),
            tensor1(&firsts).into_tvalue(),
            tensor1(&distinct.inverse).into_tvalue(),
            tensor1(&distinct.counts).into_tvalue()
        ))
    }
}

impl TypedOp for Unique {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let fits = self.axis.is_none_or(|axis| axis < inputs[0].rank());
        ensure!(fits, "axis {:?} of {:?}", self.axis, inputs[0]);
        let x = inputs[0].shape.to_tvec();
        let slices = self.axis.map_or_else(|| x.iter().cloned().product(), |axis| x[axis].clone());
        let count = i64::fact([self.count.clone()]);
        let distinct = inputs[0].datum_type.fact(self.shape(&x, self.count.clone()));
        Ok(tvec!(distinct, count.clone(), i64::fact([slices]), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_slices() {
        struct Case {
            axis: Option<usize>,
            sorted: bool,
            expected: [&'static [i64]; 4],
        }
        // [[2, 1], [1, 1], [2, 1]]; answers of ONNX Runtime 1.32.
        let cases = [
            Case { axis: None, sorted: true, expected: [&[1, 2], &[1, 0], &[1, 0, 0, 0, 1, 0], &[4, 2]] },
            Case { axis: None, sorted: false, expected: [&[2, 1], &[0, 1], &[0, 1, 1, 1, 0, 1], &[2, 4]] },
            Case { axis: Some(0), sorted: true, expected: [&[1, 1, 2, 1], &[1, 0], &[1, 0, 1], &[1, 2]] },
            Case { axis: Some(1), sorted: false, expected: [&[2, 1, 1, 1, 2, 1], &[0, 1], &[0, 1], &[1, 1]] },
        ];
        for case in cases {
            let operator = Unique { axis: case.axis, sorted: case.sorted, count: 0.into() };
            let x = tensor2(&[[2i64, 1], [1, 1], [2, 1]]).into_tvalue();
            let outputs = operator.eval(&EvalContext::out_of_plan(), tvec!(x)).unwrap();
            for (output, expected) in outputs.iter().zip(case.expected) {
                assert_eq!(output.try_as_plain_ram().unwrap().as_slice::<i64>().unwrap(), expected, "{operator:?}");
            }
        }
    }
}
