//! `Slice`: ONNX `Slice` (10 to 13) whose bounds are known at run time only, any type.
//!
//! Inputs: `x`; `starts` and `ends` `[axes]`, integers that count from the end where they are negative and stop at the ends of the
//! axis. Output: every `steps`-th element of each axis from its start on, before its end.

use super::elements::{Places, integers, pick, places};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The sliced axes.
    pub axes: Vec<usize>,
    /// Step along each.
    pub steps: Vec<i64>,
    /// Size of the result along each.
    pub lengths: Vec<TDim>,
}

/// First element, count and step of a slice of an axis of that size.
pub fn resolve(size: usize, start: i64, end: i64, step: i64) -> TractResult<(usize, usize)> {
    ensure!(step != 0, "a slice with step 0");
    let size = size as i64;
    let (lowest, highest) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let bound = |bound: i64| (if bound < 0 { bound + size } else { bound }).clamp(lowest, highest);
    let (start, end) = (bound(start), bound(end));
    let distance = if step > 0 { end - start } else { start - end };
    let count = if distance <= 0 { 0 } else { (distance - 1) / step.saturating_abs() + 1 };
    Ok((start.max(0) as usize, count as usize))
}

impl Op for Slice {
    fn name(&self) -> StaticName {
        "DynamicSlice".into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    op_as_typed_op!();
}

impl EvalOp for Slice {
    op_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = &inputs[0];
        let bounds = |tensor: &Tensor| -> TractResult<Vec<i64>> {
            if !tensor.datum_type().is_tdim() {
                return integers(tensor);
            }
            let sizes = tensor.try_as_plain_ram()?.as_slice::<TDim>()?.iter();
            sizes.map(|size| Ok(size.eval(context.symbols).to_i64()?)).collect()
        };
        let (starts, ends) = (bounds(&inputs[1])?, bounds(&inputs[2])?);
        let count = self.axes.len();
        ensure!(starts.len() == count && ends.len() == count, "bounds {starts:?} and {ends:?} of {count} axes");
        let mut positions: Vec<Places> = x.shape().iter().map(|size| (0..*size).map(Some).collect()).collect();
        for (position, axis) in self.axes.iter().enumerate() {
            let step = self.steps[position];
            let (first, count) = resolve(x.shape()[*axis], starts[position], ends[position], step)?;
            let place = |at: usize| Some((first as i64 + at as i64 * step) as usize);
            positions[*axis] = (0..count).map(place).collect();
        }
        let shape: Vec<usize> = positions.iter().map(|positions| positions.len()).collect();
        let fill = Tensor::zero_scalar_dt(x.datum_type())?;
        Ok(tvec!(pick(x, &fill, &shape, &places(x.shape(), &positions))?.into_tvalue()))
    }
}

impl TypedOp for Slice {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut fact = inputs[0].without_value();
        for (axis, length) in self.axes.iter().zip(&self.lengths) {
            ensure!(*axis < fact.rank(), "axis {axis} of {fact:?}");
            fact.shape.set(*axis, length.clone());
        }
        Ok(tvec!(fact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        // Size, start, end, step; first element and count as Python slices have them.
        let cases = [
            ((5, 1, 4, 1), (1, 3)),
            ((5, -2, i64::MAX, 1), (3, 2)),
            ((5, -9, 9, 2), (0, 3)),
            ((5, 4, 1, 1), (4, 0)),
            ((5, -1, -9, -2), (4, 3)),
            ((5, 9, i64::MIN + 9, -1), (4, 5)),
            ((5, 0, 3, -1), (0, 0)),
            ((0, 0, 3, 1), (0, 0)),
            ((0, 0, -3, -1), (0, 0)),
        ];
        for ((size, start, end, step), expected) in cases {
            assert_eq!(resolve(size, start, end, step).unwrap(), expected, "{size} [{start}:{end}:{step}]");
        }
        assert!(resolve(5, 0, 1, 0).is_err());
    }

    #[test]
    fn two_axes() {
        let operator = Slice { axes: vec![1, 0], steps: vec![-1, 1], lengths: vec![2.into(), 1.into()] };
        let x = tensor2(&[[1, 2, 3], [4, 5, 6]]).into_tvalue();
        let inputs = tvec!(x, tensor1(&[-1i64, 1]).into_tvalue(), tensor1(&[0i64, 9]).into_tvalue());
        let output = operator.eval(&EvalContext::out_of_plan(), inputs).unwrap().remove(0).into_tensor();
        assert_eq!(output, tensor2(&[[6, 5]]));
    }
}
