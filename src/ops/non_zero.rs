//! `NonZero`: ONNX `NonZero` (9 to 13).
//!
//! Input: numbers or booleans of rank 1 or more. Output: i64 `[rank, count]`, the coordinates of the elements that are not
//! zero, in order.

use super::plain::elements;
use tract_core::internal::*;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn operator() -> NonZero {
        NonZero { count: SymbolScope::default().sym("count") }
    }

    #[test]
    fn coordinates_in_order() {
        let cases: [(Tensor, &[usize], &[i64]); 5] = [
            (tensor2(&[[1i32, 0], [2, 3]]), &[2, 3], &[0, 1, 1, 0, 0, 1]),
            (tensor1(&[f32::NAN, -0.0, 1e-40]), &[1, 2], &[0, 2]),
            (tensor1(&[false, true]), &[1, 1], &[1]),
            (tensor2(&[[0u8, 0]]), &[2, 0], &[]),
            (Tensor::from_shape::<f32>(&[0, 3], &[]).unwrap(), &[2, 0], &[]),
        ];
        for (input, shape, expected) in cases {
            let outputs = operator().eval(&EvalContext::out_of_plan(), tvec!(input.clone().into_tvalue())).unwrap();
            assert_eq!((outputs[0].shape(), elements::<i64>(&outputs[0]).unwrap()), (shape, expected), "{input:?}");
        }
    }

    #[test]
    fn refused() {
        assert!(operator().output_facts(&[&String::fact([2])]).is_err(), "text");
    }
}
