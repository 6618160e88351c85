//! `KnownSize`: its input, of which an axis that is symbolic must have a size that the model says elsewhere.
//!
//! Input and output: any type and shape.

use crate::error::Error;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSize {
    /// The axis.
    pub axis: usize,
    /// Its size.
    pub size: usize,
}

impl Op for KnownSize {
    fn name(&self) -> StaticName {
        "KnownSize".into()
    }

    op_as_typed_op!();
}

impl EvalOp for KnownSize {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        match shape.get(self.axis) {
            Some(size) if *size == self.size => Ok(inputs),
            _ => Err(Error::invalid_input(format!(
                "axis {} of a tensor of shape {shape:?} has another size than the model takes: {} instead of {}",
                self.axis,
                shape.get(self.axis).copied().unwrap_or_default(),
                self.size
            ))
            .remedy("feed tensors of the sizes that the model was exported for")
            .into()),
        }
    }
}

impl TypedOp for KnownSize {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut fact = inputs[0].without_value();
        ensure!(self.axis < fact.rank(), "axis {} of {fact:?}", self.axis);
        fact.shape.set(self.axis, self.size.to_dim());
        Ok(tvec!(fact))
    }
}
