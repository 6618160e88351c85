//! The long tail: operators that compute on whole tensors in plain Rust, clear before fast. Each says its facts and its
//! values ([`Plain`]); [`PlainOperator`] is the rest of what tract asks of an operator.

use std::fmt::Debug;
use tract_core::internal::*;

/// An operator without state that needs nothing but its inputs.
pub trait Plain: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Name, for reports and errors.
    const NAME: &'static str;

    /// Whether the output's size follows from the values of the inputs: its facts then hold a symbol of their own.
    const SIZE_FROM_VALUES: bool = false;

    /// Types and shapes of the outputs.
    ///
    /// # Errors
    /// For inputs that the operator does not take.
    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>>;

    /// The outputs.
    ///
    /// # Errors
    /// For values that the operator does not take.
    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>>;
}

/// A [`Plain`] operator as a node of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct PlainOperator<P: Plain>(pub P);

impl<P: Plain> Eq for PlainOperator<P> {}

impl<P: Plain> Op for PlainOperator<P> {
    fn name(&self) -> StaticName {
        P::NAME.into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        P::SIZE_FROM_VALUES
    }

    op_as_typed_op!();
}

impl<P: Plain> EvalOp for PlainOperator<P> {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(self.0.compute(&inputs)?.into_iter().map(IntoTValue::into_tvalue).collect())
    }
}

impl<P: Plain> TypedOp for PlainOperator<P> {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.0.facts(inputs)
    }
}

/// The elements of a tensor of a known type.
pub fn elements<T: Datum>(tensor: &Tensor) -> TractResult<&[T]> {
    tensor.try_as_plain_ram()?.as_slice::<T>()
}

/// A tensor of these elements.
pub fn tensor_of<T: Datum + Copy>(shape: &[usize], elements: &[T]) -> TractResult<Tensor> {
    Tensor::from_shape(shape, elements)
}

/// The index `index` of an axis of size `size` when negative ones count from the end; `None` outside.
pub fn wrapped(index: i64, size: usize) -> Option<usize> {
    let wrapped = if index < 0 { index + size as i64 } else { index };
    usize::try_from(wrapped).ok().filter(|index| *index < size)
}

/// Axes of a shape before, at and after `axis`: `[outer, size, inner]`.
pub fn around(shape: &[usize], axis: usize) -> [usize; 3] {
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
}

/// The shape that tensors of these shapes broadcast to.
pub fn broadcast_shape(facts: &[&TypedFact]) -> TractResult<TVec<TDim>> {
    let shapes: Vec<TVec<TDim>> = facts.iter().map(|fact| fact.shape.to_tvec()).collect();
    let shapes: Vec<&[TDim]> = shapes.iter().map(|shape| &**shape).collect();
    tract_core::broadcast::multi_broadcast(&shapes)
}

/// `combine` of every two elements of two tensors that broadcast to each other.
pub fn zip_broadcast<A: Datum + Copy, B: Datum + Copy, C: Datum + Copy>(
    a: &Tensor,
    b: &Tensor,
    combine: impl Fn(A, B) -> C,
) -> TractResult<Tensor> {
    let shape = tract_core::broadcast::multi_broadcast(&[a.shape(), b.shape()])?;
    let (a, b) = (a.to_plain_array_view::<A>()?, b.to_plain_array_view::<B>()?);
    let a = a.broadcast(&*shape).context("the shapes do not broadcast")?;
    let b = b.broadcast(&*shape).context("the shapes do not broadcast")?;
    let combined: Vec<C> = a.iter().zip(b.iter()).map(|(a, b)| combine(*a, *b)).collect();
    Tensor::from_shape(&shape, &combined)
}

/// Rows of `width` elements of a tensor of any type, one after the other, as a tensor of that shape.
pub fn rows(tensor: &Tensor, rows: &[usize], width: usize, shape: &[usize]) -> TractResult<Tensor> {
    fn of_type<T: Datum>(tensor: &Tensor, rows: &[usize], width: usize, shape: &[usize]) -> TractResult<Tensor> {
        let values = elements::<T>(tensor)?;
        let gathered: Vec<T> = rows.iter().flat_map(|row| values[row * width..][..width].iter().cloned()).collect();
        Ok(tract_ndarray::Array::from_shape_vec(shape, gathered)?.into_tensor())
    }
    dispatch_datum!(of_type(tensor.datum_type())(tensor, rows, width, shape))
}
