//! `PaddingMask`: the `mask_index` of com.microsoft `Attention`, and `key_padding_mask` of `MultiHeadAttention`, as a mask
//! that is added to scores.
//!
//! Input: int64, one of
//! - `[batch]` or `[3 * batch + 2]`: how many keys of each sequence are kept, then other things;
//! - `[2 * batch]`: where each sequence's kept keys end, then where they start;
//! - `[batch, keys]` or `[batch, queries, keys]`: above 0 where the key is kept;
//! - `[batch, 1]` or `[1, 1]`: keeps every key.
//!
//! Output: f32 `[batch, 1, 1, keys]`, for rank 3 `[batch, 1, queries, keys]`: 0 where the key is kept, else `filter`.

use super::{f32_tensor, i64_slice};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct PaddingMask {
    /// Number of sequences.
    pub batch: TDim,
    /// Number of keys.
    pub keys: TDim,
    /// What a key that is not kept gets.
    pub filter: f32,
}

impl Eq for PaddingMask {}

impl Op for PaddingMask {
    fn name(&self) -> StaticName {
        "PaddingMask".into()
    }

    op_as_typed_op!();
}

impl EvalOp for PaddingMask {
    not_out_of_plan!();

    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let size = |dim: &TDim| dim.eval(context.symbols).to_usize();
        let (batch, keys) = (size(&self.batch)?, size(&self.keys)?);
        let (values, shape) = (i64_slice(&inputs[0])?, inputs[0].shape());
        let queries = if shape.len() == 3 { shape[1] } else { 1 };
        let key = |index: usize| index as i64;
        let kept = |sequence: usize, query: usize, index: usize| match *shape {
            [_] => {
                let start = if values.len() == 2 * batch { values[batch + sequence] } else { 0 };
                (start..values[sequence]).contains(&key(index))
            }
            [rows, columns] if (rows, columns) == (batch, keys) => values[sequence * keys + index] > 0,
            [_, _] => true,
            _ => values[(sequence * queries + query) * keys + index] > 0,
        };
        let fits = match *shape {
            [len] => [batch, 2 * batch, 3 * batch + 2].contains(&len),
            [rows, columns] => (rows, columns) == (batch, keys) || (columns == 1 && (rows == batch || rows == 1)),
            [rows, _, columns] => (rows, columns) == (batch, keys),
            _ => false,
        };
        ensure!(fits, "a mask of {shape:?} does not fit {batch} sequences of {keys} keys");
        let output = f32_tensor(&[batch, 1, queries, keys], |out| {
            for (place, out) in out.iter_mut().enumerate() {
                let (row, index) = (place / keys, place % keys);
                *out = if kept(row / queries, row % queries, index) { 0.0 } else { self.filter };
            }
            Ok(())
        })?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for PaddingMask {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 1 && inputs[0].datum_type == i64::datum_type(), "PaddingMask takes one int64 tensor");
        let queries = match inputs[0].rank() {
            1 | 2 => 1.to_dim(),
            3 => inputs[0].shape[1].clone(),
            rank => bail!("PaddingMask takes rank 1 to 3, not {rank}"),
        };
        Ok(tvec!(f32::fact([self.batch.clone(), 1.to_dim(), queries, self.keys.clone()])))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate};
    use super::*;

    #[test]
    fn one_key_for_all() {
        let operator = PaddingMask { batch: 2.to_dim(), keys: 1.to_dim(), filter: -9.0 };
        let output = evaluate(&operator, &[Tensor::from_shape(&[1, 1], &[0_i64]).unwrap()]).unwrap();
        assert_close("[1, 1]", &output, &[2, 1, 1, 1], &[0., 0.]);
    }

    #[test]
    fn every_form() {
        // Two sequences of three keys, as ONNX Runtime 1.32 applies them.
        type Case<'a> = (&'a [usize], &'a [i64], Option<&'a [f32]>);
        let cases: [Case; 9] = [
            (&[2], &[2, 3], Some(&[0., 0., -9., 0., 0., 0.])),
            (&[4], &[2, 3, 0, 1], Some(&[0., 0., -9., -9., 0., 0.])),
            (&[8], &[2, 0, 0, 0, 0, 0, 0, 0], Some(&[0., 0., -9., -9., -9., -9.])),
            (&[2, 3], &[1, 0, 1, 0, 0, 2], Some(&[0., -9., 0., -9., -9., 0.])),
            (&[2, 1], &[0, 0], Some(&[0.; 6])),
            (&[1, 1], &[0], Some(&[0.; 6])),
            (&[2, 1, 3], &[1, 0, 1, 0, 0, 1], Some(&[0., -9., 0., -9., -9., 0.])),
            (&[3], &[1, 1, 1], None),
            (&[2, 4], &[1; 8], None),
        ];
        for (shape, values, expected) in cases {
            let operator = PaddingMask { batch: 2.to_dim(), keys: 3.to_dim(), filter: -9.0 };
            match (evaluate(&operator, &[Tensor::from_shape(shape, values).unwrap()]), expected) {
                (Ok(output), Some(expected)) => assert_close(&format!("{shape:?}"), &output, &[2, 1, 1, 3], expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{shape:?}"),
            }
        }
    }
}
