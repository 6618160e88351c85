//! `KnownSizes`: a tensor some of whose sizes must be others, which the model does not say in symbols.
//!
//! Input: any tensor. Output: the same, with those sizes; where it has others it is an error.

use crate::error::Error;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSizes {
    /// Axes and their sizes.
    pub sizes: TVec<(usize, TDim)>,
}

impl Op for KnownSizes {
    fn name(&self) -> StaticName {
        "KnownSizes".into()
    }

    op_as_typed_op!();
}

impl EvalOp for KnownSizes {
    not_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        for (axis, size) in &self.sizes {
            let needed = size.eval(context.symbols).to_usize()?;
            if shape.get(*axis) != Some(&needed) {
                return Err(Error::invalid_input(format!("axis {axis} of {shape:?} must have size {needed}"))
                    .remedy("feed tensors whose sizes fit each other")
                    .into());
            }
        }
        Ok(inputs)
    }
}

impl TypedOp for KnownSizes {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [x] = *inputs else { bail!("KnownSizes takes one input") };
        let mut shape = x.shape.to_tvec();
        for (axis, size) in &self.sizes {
            ensure!(*axis < shape.len(), "axis {axis} of rank {}", shape.len());
            ensure!(shape[*axis].compatible_with(size), "axis {axis} of {shape:?} must have size {size}");
            shape[*axis] = size.clone();
        }
        Ok(tvec!(x.datum_type.fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{evaluate, tensor};
    use super::*;

    #[test]
    fn only_the_right_sizes_pass() {
        let cases = [(tvec!((1, 3)), true), (tvec!((0, 2), (1, 3)), true), (tvec!((0, 3)), false), (tvec!(), true)];
        for (sizes, passes) in cases {
            let operator = KnownSizes { sizes: sizes.iter().map(|(axis, size)| (*axis, size.to_dim())).collect() };
            let x = tensor(&[2, 3], &[0.5; 6]);
            let result = evaluate(&operator, std::slice::from_ref(&x));
            assert_eq!(result.ok(), passes.then_some(x), "{sizes:?}");
        }
    }
}
