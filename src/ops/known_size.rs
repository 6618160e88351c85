//! `KnownSize`: a tensor of which an axis has a known size, because of what it meets; another size is an error.
//!
//! Input: a tensor of any type. Output: the same.

use crate::error::Error;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSize {
    /// Axis whose size is known.
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
        if shape.get(self.axis) != Some(&self.size) {
            return Err(Error::invalid_input(format!(
                "a tensor of shape {shape:?}, whose axis {} must have size {}",
                self.axis, self.size
            ))
            .remedy("feed inputs of the sizes that the model's weights are made for")
            .into());
        }
        Ok(inputs)
    }
}

impl TypedOp for KnownSize {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(self.axis < inputs[0].rank(), "axis {} of a tensor of rank {}", self.axis, inputs[0].rank());
        let mut fact = inputs[0].clone();
        fact.shape.set(self.axis, self.size.to_dim());
        Ok(tvec!(fact))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::evaluate;
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn sizes() {
        let code = |error: TractError| error.downcast_ref::<Error>().map(|error| error.code);
        let cases = [
            (vec![2, 3], Ok(())),
            (vec![3, 2], Err(Some(ErrorCode::InvalidInput))),
            (vec![3], Err(Some(ErrorCode::InvalidInput))),
        ];
        for (shape, expected) in cases {
            let tensor = Tensor::zero::<f32>(&shape).unwrap();
            let result = evaluate(&KnownSize { axis: 1, size: 3 }, std::slice::from_ref(&tensor));
            assert_eq!(result.map(|output| assert_eq!(output, tensor)).map_err(code), expected, "{shape:?}");
        }
    }
}
