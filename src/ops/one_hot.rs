//! `OneHot`: ONNX `OneHot` (9 to 28).
//!
//! Inputs: `indices` of any number type; `values`, two elements of any type, the value elsewhere and the one at each index.
//! Output: `values`' type, `indices`' shape with an axis of `depth` inserted. An index in `-depth..0` counts from the end;
//! one outside the axis marks nothing.

use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OneHot {
    /// Place of the new axis.
    pub axis: usize,
    /// Its size.
    pub depth: usize,
}

impl OneHot {
    fn mark<T: Datum + Copy>(&self, indices: &[f64], shape: &[usize], values: &Tensor) -> TractResult<Tensor> {
        let values = values.try_as_plain_ram()?.as_slice::<T>()?;
        let mut output = vec![values[0]; indices.len() * self.depth];
        let inner: usize = shape[self.axis + 1..].iter().product();
        for (position, index) in indices.iter().enumerate() {
            let index = if *index < 0. { index + self.depth as f64 } else { *index };
            if (0.0..self.depth as f64).contains(&index) {
                output[(position / inner * self.depth + index as usize) * inner + position % inner] = values[1];
            }
        }
        Tensor::from_shape(shape, &output)
    }
}

impl Op for OneHot {
    fn name(&self) -> StaticName {
        "OneHot".into()
    }

    op_as_typed_op!();
}

impl EvalOp for OneHot {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        ensure!(inputs[1].len() == 2, "OneHot takes two values, not {}", inputs[1].len());
        let indices = inputs[0].cast_to::<f64>()?;
        let mut shape: TVec<usize> = inputs[0].shape().into();
        shape.insert(self.axis, self.depth);
        let indices = indices.try_as_plain_ram()?.as_slice::<f64>()?;
        let output = dispatch_copy!(Self::mark(inputs[1].datum_type())(self, indices, &shape, &inputs[1]))?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for OneHot {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.to_tvec();
        ensure!(self.axis <= shape.len(), "axis {} of a tensor of rank {}", self.axis, shape.len() + 1);
        shape.insert(self.axis, self.depth.to_dim());
        Ok(tvec!(inputs[1].datum_type.fact(shape)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_within_and_outside() {
        struct Case {
            axis: usize,
            expected: &'static [i64],
        }
        // Indices [1, -1, 3, -4] of an axis of 3.
        let cases = [
            Case { axis: 1, expected: &[5, 7, 5, 5, 5, 7, 5, 5, 5, 5, 5, 5] },
            Case { axis: 0, expected: &[5, 5, 5, 5, 7, 5, 5, 5, 5, 7, 5, 5] },
        ];
        for case in cases {
            let operator = OneHot { axis: case.axis, depth: 3 };
            let inputs = tvec!(tensor1(&[1i32, -1, 3, -4]).into_tvalue(), tensor1(&[5i64, 7]).into_tvalue());
            let output = operator.eval(&EvalContext::out_of_plan(), inputs).unwrap().remove(0);
            assert_eq!(output.try_as_plain_ram().unwrap().as_slice::<i64>().unwrap(), case.expected);
        }
    }
}
