//! `Reduce`: ONNX's reductions of integers and bools, and of floats `ReduceLogSumExp` without overflow, `ReduceMax` and
//! `ReduceMin` with infinities. tract's other reductions of floats are fast, its reductions of int64 are not exact.
//!
//! Input: `x`. Output: `x`'s type and shape with the reduced axes of size 1. Quotients, roots and logarithms of integers are cut off after
//! the point; an integer that does not fit is an error, because ONNX Runtime's answer then depends on the processor.

use tract_core::internal::*;

/// What becomes of the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Reducer {
    /// Sum of absolute values.
    L1,
    /// Root of the sum of squares.
    L2,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of exponentials.
    LogSumExp,
    /// Greatest.
    Max,
    /// Sum by number of elements.
    Mean,
    /// Least.
    Min,
    /// Product.
    Prod,
    /// Sum.
    Sum,
    /// Sum of squares.
    SumSquare,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reduce {
    /// What becomes of the elements.
    pub reducer: Reducer,
    /// The axes.
    pub axes: Vec<usize>,
}

impl Reduce {
    fn integer(&self, values: &[i64]) -> TractResult<i64> {
        let values = || values.iter().map(|value| i128::from(*value));
        let sum = |function: fn(i128) -> i128| {
            values().try_fold(0i128, |sum, value| sum.checked_add(function(value))).context("an integer overflow")
        };
        let square = |value: i128| value * value;
        let result = match self.reducer {
            Reducer::L1 => sum(i128::abs)?,
            Reducer::L2 => (sum(square)? as f64).sqrt() as i128,
            Reducer::LogSum => match sum(|value| value)? {
                positive @ 1.. => (positive as f64).ln() as i128,
                other => bail!("the logarithm of the integer {other}"),
            },
            Reducer::LogSumExp => bail!("the logarithm of a sum of exponentials of integers"),
            Reducer::Max => values().max().context("an empty set has no greatest integer")?,
            Reducer::Mean => sum(|value| value)? / values().count().max(1) as i128,
            Reducer::Min => values().min().context("an empty set has no least integer")?,
            Reducer::Prod => values()
                .try_fold(1, |product: i128, value| product.checked_mul(value))
                .context("an integer overflow")?,
            Reducer::Sum => sum(|value| value)?,
            Reducer::SumSquare => sum(square)?,
        };
        i64::try_from(result).context("an integer overflow")
    }

    /// For each element of the result, those that are reduced to it.
    fn reduce<T: Datum + Copy>(&self, x: &Tensor, function: impl Fn(&[T]) -> TractResult<T>) -> TractResult<Tensor> {
        let kept = (0..x.rank()).filter(|axis| !self.axes.contains(axis));
        let order: Vec<usize> = kept.chain(self.axes.iter().copied()).collect();
        let mut shape: TVec<usize> = x.shape().into();
        self.axes.iter().for_each(|axis| shape[*axis] = 1);
        let count: usize = self.axes.iter().map(|axis| x.shape()[*axis]).product();
        let x = x.clone().permute_axes(&order)?;
        let x = x.try_as_plain_ram()?.as_slice::<T>()?;
        let groups = (0..shape.iter().product()).map(|group| function(&x[group * count..][..count]));
        Tensor::from_shape(&shape, &groups.collect::<TractResult<Vec<T>>>()?)
    }
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let offset = if max.is_finite() { max } else { 0. };
    values.iter().map(|value| (value - offset).exp()).sum::<f64>().ln() + offset
}

/// The extremum of floats. As in ONNX Runtime, a NaN counts only where it comes first.
fn extremum(values: &[f64], replaces: impl Fn(f64, f64) -> bool, of_none: f64) -> f64 {
    let further = |best, value: f64| if replaces(value, best) { value } else { best };
    values.iter().copied().reduce(further).unwrap_or(of_none)
}

impl Op for Reduce {
    fn name(&self) -> StaticName {
        format!("Reduce{:?}", self.reducer).into()
    }

    op_as_typed_op!();
}

impl EvalOp for Reduce {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = &inputs[0];
        let output = match (x.datum_type(), self.reducer) {
            (DatumType::Bool, Reducer::Max) => self.reduce::<bool>(x, |values| Ok(values.contains(&true)))?,
            (DatumType::Bool, Reducer::Min) => self.reduce::<bool>(x, |values| Ok(!values.contains(&false)))?,
            (float, reducer) if float.is_float() => {
                let function = |values: &[f64]| match reducer {
                    Reducer::LogSumExp => Ok(log_sum_exp(values)),
                    Reducer::Max => Ok(extremum(values, |a, b| a > b, f64::NEG_INFINITY)),
                    Reducer::Min => Ok(extremum(values, |a, b| a < b, f64::INFINITY)),
                    _ => bail!("{} of {float:?}", self.name()),
                };
                self.reduce::<f64>(x.cast_to::<f64>()?.as_ref(), function)?
            }
            _ => self.reduce::<i64>(x.cast_to::<i64>()?.as_ref(), |values| self.integer(values))?,
        };
        let fitting = output.cast_to_dt(x.datum_type())?.into_owned();
        ensure!(
            x.datum_type().is_float() || *fitting.cast_to_dt(output.datum_type())? == output,
            "an integer overflow"
        );
        Ok(tvec!(fitting.into_tvalue()))
    }
}

impl TypedOp for Reduce {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        let supported = match self.reducer {
            Reducer::LogSumExp => datum_type.is_float(),
            Reducer::Max | Reducer::Min if datum_type == DatumType::Bool || datum_type.is_float() => true,
            _ => datum_type.is_integer() && datum_type != DatumType::U64,
        };
        ensure!(supported, "{} of {datum_type:?}", self.name());
        let mut shape = inputs[0].shape.to_tvec();
        for axis in &self.axes {
            *shape.get_mut(*axis).with_context(|| format!("axis {axis} of {:?}", inputs[0]))? = 1.to_dim();
        }
        Ok(tvec!(datum_type.fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduce(reducer: Reducer, axes: &[usize], x: Tensor) -> Option<Tensor> {
        let operator = Reduce { reducer, axes: axes.to_vec() };
        operator
            .eval(&EvalContext::out_of_plan(), tvec!(x.into_tvalue()))
            .ok()
            .map(|mut out| out.remove(0).into_tensor())
    }

    #[test]
    fn integers() {
        let large = (1i64 << 53) + 1;
        let cases: [(Reducer, &[usize], Option<Tensor>); 10] = [
            (Reducer::Sum, &[1], Some(tensor2(&[[large - 3], [5]]))),
            (Reducer::Sum, &[0], Some(tensor2(&[[large + 1, 1]]))),
            (Reducer::L1, &[0, 1], Some(tensor2(&[[large + 8]]))),
            (Reducer::L2, &[1], Some(tensor2(&[[large - 1], [4]]))),
            (Reducer::LogSum, &[1], Some(tensor2(&[[36i64], [1]]))),
            (Reducer::Max, &[0], Some(tensor2(&[[large, 4]]))),
            (Reducer::Min, &[1], Some(tensor2(&[[-3i64], [1]]))),
            (Reducer::Prod, &[1], Some(tensor2(&[[-3 * large], [4]]))),
            (Reducer::Mean, &[], Some(tensor2(&[[large, -3], [1, 4]]))),
            (Reducer::LogSumExp, &[1], None),
        ];
        for (reducer, axes, expected) in cases {
            assert_eq!(reduce(reducer, axes, tensor2(&[[large, -3], [1, 4]])), expected, "{reducer:?} {axes:?}");
        }
    }

    #[test]
    fn other_types() {
        let bools = || tensor2(&[[true, false], [false, false]]);
        let cases = [
            (Reducer::Max, bools(), Some(tensor2(&[[true], [false]]))),
            (Reducer::Min, bools(), Some(tensor2(&[[false], [false]]))),
            (Reducer::LogSumExp, tensor2(&[[400f32, 400.]]), Some(tensor2(&[[400.69315f32]]))),
            (Reducer::LogSumExp, tensor2(&[[f32::NEG_INFINITY; 2]]), Some(tensor2(&[[f32::NEG_INFINITY]]))),
            (Reducer::Max, tensor2(&[[f32::NEG_INFINITY; 2]]), Some(tensor2(&[[f32::NEG_INFINITY]]))),
            (Reducer::Min, tensor2(&[[f32::INFINITY; 2]]), Some(tensor2(&[[f32::INFINITY]]))),
            (Reducer::Max, tensor2(&[[1., f32::NAN, 2.]]), Some(tensor2(&[[2f32]]))),
            (Reducer::Min, Tensor::zero::<f32>(&[1, 0]).unwrap(), Some(tensor2(&[[f32::INFINITY]]))),
            (Reducer::Sum, tensor2(&[[i32::MAX, 1]]), None),
            (Reducer::SumSquare, tensor2(&[[i64::MAX, 1]]), None),
            (Reducer::LogSum, tensor2(&[[-1, 1]]), None),
            (Reducer::Sum, Tensor::zero::<i32>(&[1, 0]).unwrap(), Some(tensor2(&[[0]]))),
            (Reducer::Max, Tensor::zero::<i32>(&[1, 0]).unwrap(), None),
        ];
        for (reducer, x, expected) in cases {
            assert_eq!(reduce(reducer, &[1], x), expected, "{reducer:?}");
        }
    }
}
