//! `NonZero`: ONNX `NonZero` (9 to 13).
//!
//! Input: numbers or booleans of rank 1 or more. Output: i64 `[rank, count]`, the coordinates of the elements that are not
//! zero, in order.

use super::plain::elements;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonZero {
    /// Stands for the number of such elements.
    pub count: Symbol,
}

impl Op for NonZero {
    fn name(&self) -> StaticName {
        "NonZero".into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        true
    }

    op_as_typed_op!();
}

impl EvalOp for NonZero {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let output = match input.datum_type() {
            DatumType::Bool => coordinates(input.shape(), elements::<bool>(input)?.iter().copied()),
            datum_type => dispatch_numbers!(of_type(datum_type)(input)),
        }?;
        Ok(tvec!(output.into_tvalue()))
    }
}

fn of_type<T: Datum + Copy + tract_num_traits::Zero>(input: &Tensor) -> TractResult<Tensor> {
    coordinates(input.shape(), elements::<T>(input)?.iter().map(|value| !value.is_zero()))
}

fn coordinates(shape: &[usize], set: impl Iterator<Item = bool>) -> TractResult<Tensor> {
    let found: Vec<usize> = set.enumerate().filter(|(_, set)| *set).map(|(position, _)| position).collect();
    let mut coordinates = Vec::with_capacity(shape.len() * found.len());
    for axis in 0..shape.len() {
        let inner: usize = shape[axis + 1..].iter().product();
        coordinates.extend(found.iter().map(|position| (position / inner % shape[axis]) as i64));
    }
    Tensor::from_shape(&[shape.len(), found.len()], &coordinates)
}

impl TypedOp for NonZero {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let datum_type = inputs[0].datum_type;
        ensure!(datum_type.is_number() || datum_type == bool::datum_type(), "{datum_type:?} is not supported");
        Ok(tvec!(i64::fact([inputs[0].rank().to_dim(), self.count.to_dim()])))
    }
}
