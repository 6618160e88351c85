//! Writing elements into a copy of a tensor: ONNX `ScatterElements`, `Scatter` and `ScatterND` (9 to 18), any type.
//!
//! Inputs: `data`; `indices` int32 or int64, negative ones count from the end; `updates` of `data`'s type. Output: `data` with the
//! updates in it, in their order.

use super::elements::{index, integers};
use tract_core::internal::*;

/// What becomes of an element and an update of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Reduction {
    /// The update.
    Replace,
    /// Their sum; for bool whether one of them is true.
    Add,
    /// Their product; for bool whether both are true.
    Mul,
    /// The lesser.
    Min,
    /// The greater.
    Max,
}

/// How elements are reduced.
trait Element: Datum + Copy {
    fn reduce(self, update: Self, reduction: Reduction) -> Self;
}

macro_rules! element {
    ($add:ident, $mul:ident, $($type:ty)*) => {$(
        impl Element for $type {
            fn reduce(self, update: Self, reduction: Reduction) -> Self {
                match reduction {
                    Reduction::Replace => update,
                    Reduction::Add => self.$add(update),
                    Reduction::Mul => self.$mul(update),
                    Reduction::Min => if update < self { update } else { self },
                    Reduction::Max => if update > self { update } else { self },
                }
            }
        }
    )*};
}

use std::ops::{Add, BitAnd, BitOr, Mul};
element!(wrapping_add, wrapping_mul, u8 u16 u32 u64 i8 i16 i32 i64);
element!(add, mul, f16 f32 f64);
element!(bitor, bitand, bool);

/// Each update goes to the place that `indices` name along one axis; `indices` and `updates` have the same shape.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ScatterElements {
    /// The axis.
    pub axis: usize,
    /// What becomes of the element that is there.
    pub reduction: Reduction,
}

/// The last axis of `indices` names the first coordinates of a block of `data`; `updates` holds a block for each.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ScatterNd {
    /// What becomes of the block that is there.
    pub reduction: Reduction,
}

/// Writes runs of updates, each `run` elements long, to these places.
fn write<T: Element>(
    data: Tensor,
    updates: &Tensor,
    places: &[usize],
    run: usize,
    reduction: Reduction,
) -> TractResult<Tensor> {
    let mut data = data;
    let updates = updates.try_as_plain_ram()?.as_slice::<T>()?;
    let mut view = data.try_as_plain_ram_mut()?;
    let elements = view.as_slice_mut::<T>()?;
    for (place, updates) in places.iter().zip(updates.chunks_exact(run.max(1))) {
        for (element, update) in elements[*place..][..run].iter_mut().zip(updates) {
            *element = element.reduce(*update, reduction);
        }
    }
    Ok(data)
}

fn scatter(mut inputs: TVec<TValue>, places: &[usize], run: usize, reduction: Reduction) -> TractResult<TVec<TValue>> {
    let data = inputs.remove(0).into_tensor();
    let updates = &inputs[1];
    ensure!(places.len() * run == updates.len(), "{} updates of {} places", updates.len(), places.len());
    let output = dispatch_copy!(write(data.datum_type())(data, updates, places, run, reduction))?;
    Ok(tvec!(output.into_tvalue()))
}

impl Op for ScatterElements {
    fn name(&self) -> StaticName {
        "ScatterElements".into()
    }

    op_as_typed_op!();
}

impl EvalOp for ScatterElements {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (data, shape) = (inputs[0].shape(), inputs[1].shape());
        let inside = (0..data.len()).all(|axis| axis == self.axis || shape[axis] <= data[axis]);
        ensure!(
            inside && inputs[2].shape() == shape,
            "indices {shape:?} and updates {:?} of {data:?}",
            inputs[2].shape()
        );
        let strides: Vec<usize> = (0..data.len()).map(|axis| data[axis + 1..].iter().product()).collect();
        let mut places = Vec::with_capacity(inputs[1].len());
        for (coordinates, value) in tract_ndarray::indices(shape).into_iter().zip(integers(&inputs[1])?) {
            let along = |axis: usize| match axis == self.axis {
                true => index(value, data[axis]),
                false => Ok(coordinates[axis]),
            };
            let place = (0..data.len()).map(|axis| Ok(along(axis)? * strides[axis])).sum::<TractResult<usize>>()?;
            places.push(place);
        }
        scatter(inputs, &places, 1, self.reduction)
    }
}

impl TypedOp for ScatterElements {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let ranks = inputs.iter().all(|input| input.rank() == inputs[0].rank());
        ensure!(ranks && self.axis < inputs[0].rank(), "ScatterElements along {} of {:?}", self.axis, inputs[0]);
        ensure!(inputs[0].datum_type == inputs[2].datum_type, "updates of another type than the data");
        Ok(tvec!(inputs[0].without_value()))
    }
}

impl Op for ScatterNd {
    fn name(&self) -> StaticName {
        "ScatterND".into()
    }

    op_as_typed_op!();
}

impl EvalOp for ScatterNd {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (data, indices) = (inputs[0].shape(), inputs[1].shape());
        let (rows, depth) = (&indices[..indices.len() - 1], indices[indices.len() - 1]);
        ensure!(depth <= data.len(), "{depth} coordinates of a tensor of rank {}", data.len());
        let expected = [rows, &data[depth..]].concat();
        ensure!(inputs[2].shape() == &*expected, "updates {:?} instead of {expected:?}", inputs[2].shape());
        let run: usize = data[depth..].iter().product();
        let values = integers(&inputs[1])?;
        let place = |row: usize| {
            let coordinates = data.iter().zip(&values[row * depth..][..depth]);
            let block = coordinates.map(|(size, value)| Ok((*size, index(*value, *size)?)));
            let block = block.collect::<TractResult<Vec<(usize, usize)>>>()?;
            Ok(block.into_iter().fold(0, |place, (size, at)| place * size + at) * run)
        };
        let places = (0..rows.iter().product()).map(place).collect::<TractResult<Vec<_>>>()?;
        scatter(inputs, &places, run, self.reduction)
    }
}

impl TypedOp for ScatterNd {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[1].rank() > 0, "ScatterND takes indices of rank 1 or more");
        ensure!(inputs[0].datum_type == inputs[2].datum_type, "updates of another type than the data");
        Ok(tvec!(inputs[0].without_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_blocks() {
        struct Case {
            operator: Box<dyn TypedOp>,
            indices: Tensor,
            updates: Tensor,
            expected: Option<&'static [i32]>,
        }
        let elements = |axis, reduction| -> Box<dyn TypedOp> { Box::new(ScatterElements { axis, reduction }) };
        let blocks = |reduction| -> Box<dyn TypedOp> { Box::new(ScatterNd { reduction }) };
        // [[1, 2], [3, 4]]
        let cases = [
            Case {
                operator: elements(0, Reduction::Replace),
                indices: tensor2(&[[1i64, -2]]),
                updates: tensor2(&[[7, 8]]),
                expected: Some(&[1, 8, 7, 4]),
            },
            Case {
                operator: elements(1, Reduction::Add),
                indices: tensor2(&[[0i32, 0]]),
                updates: tensor2(&[[7, 8]]),
                expected: Some(&[16, 2, 3, 4]),
            },
            Case {
                operator: elements(1, Reduction::Replace),
                indices: tensor2(&[[2i64]]),
                updates: tensor2(&[[7]]),
                expected: None,
            },
            Case {
                operator: blocks(Reduction::Max),
                indices: tensor2(&[[-1i64]]),
                updates: tensor2(&[[0, 9]]),
                expected: Some(&[1, 2, 3, 9]),
            },
            Case {
                operator: blocks(Reduction::Mul),
                indices: tensor2(&[[0i64, 1], [0, 1]]),
                updates: tensor1(&[3, 5]),
                expected: Some(&[1, 30, 3, 4]),
            },
            Case {
                operator: blocks(Reduction::Replace),
                indices: tensor2(&[[-3i64]]),
                updates: tensor2(&[[0, 9]]),
                expected: None,
            },
        ];
        for case in cases {
            let data = tensor2(&[[1, 2], [3, 4]]);
            let inputs = [data, case.indices, case.updates].map(|tensor| tensor.into_tvalue());
            let output = case.operator.eval(&EvalContext::out_of_plan(), inputs.into_iter().collect());
            let output = output.ok().map(|mut outputs| outputs.remove(0).into_tensor());
            let values = output.as_ref().map(|output| output.try_as_plain_ram().unwrap().as_slice::<i32>().unwrap());
            assert_eq!(values, case.expected, "{:?}", case.operator);
        }
    }
}
