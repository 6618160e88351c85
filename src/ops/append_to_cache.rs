//! `AppendToCache`: keys or values of new tokens behind those of earlier ones.
//!
//! Inputs: `new` f32 in its [`HeadLayout`], or in [`Columns`] of a wider tensor; with `past` also f32 `[batch, heads, capacity, dim]`; with a `buffer` also
//! `key_lengths` int64 `[batch]`, tokens of each sequence, the new ones included, and `total` int64, one element.
//!
//! Output: f32 `[batch, heads, length, dim]`: all of `past`, then `new`. With a buffer, as com.microsoft
//! `GroupQueryAttention` keeps it, `length` is `max(total, capacity)`, and of each sequence come the first
//! `max(key_length - tokens, 0)` of `past`, then `new`, then zeros.
//!
//! Where all of `past` stays, the output has room for more: see [`CacheStorage`].

use super::attention::{Columns, HeadLayout, HeadVectors, Operand, operand_shape};
use super::cache_tensor::CacheStorage;
use super::{f32_slice, f32_tensor, i64_slice};
use tract_core::internal::*;

/// The length of a buffer that may hold more than the tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// The output's `max(total, capacity)`.
    pub length: TDim,
    /// Whether `length` is a symbol that nothing but this output's size tells.
    pub minted: bool,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AppendToCache {
    /// Heads.
    pub heads: usize,
    /// Layout of the new tokens.
    pub layout: HeadLayout,
    /// Where packed new tokens are columns of their input.
    pub columns: Option<Columns>,
    /// Whether there are earlier tokens.
    pub past: bool,
    /// Where sequences end before the cache does.
    pub buffer: Option<Buffer>,
}

impl AppendToCache {
    fn arity(&self) -> usize {
        1 + self.past as usize + 2 * self.buffer.is_some() as usize
    }

    /// The new tokens in the first input.
    pub(super) fn new_tokens<'a>(&self, new: &'a Tensor) -> TractResult<HeadVectors<'a>> {
        HeadVectors::of(new, self.layout, self.columns, self.heads)
    }

    /// The output for new tokens of these sizes; `lengths` are the buffer's inputs. `write` is given the place of a head, counted
    /// over all sequences, and the memory of its new rows.
    pub(super) fn appended(
        &self,
        new: &Operand<usize>,
        past: Option<&TValue>,
        lengths: &[TValue],
        mut write: impl FnMut(usize, &mut [f32]),
    ) -> TractResult<Tensor> {
        let Operand { batch, heads, positions: tokens, dim } = *new;
        let capacity = past.map_or(0, |past| past.shape()[2]);
        let past_fits = past.is_none_or(|past| past.shape() == [batch, heads, capacity, dim]);
        let new_shape = [batch, heads, tokens, dim];
        ensure!(past_fits, "new tokens of {new_shape:?} do not fit a past of {:?}", past.map(|past| past.shape()));
        let (length, earlier) = rows(lengths, batch, tokens, capacity)?;
        if let Some(past) = past
            && length == capacity + tokens
            && earlier.iter().all(|earlier| *earlier == capacity)
        {
            return CacheStorage::appended(past, tokens, write);
        }
        let past = past.map(|past| f32_slice(past)).transpose()?.unwrap_or(&[]);
        f32_tensor(&[batch, heads, length, dim], |out| {
            for place in 0..batch * heads {
                let out = &mut out[place * length * dim..][..length * dim];
                let (before, after) = out.split_at_mut(earlier[place / heads] * dim);
                before.copy_from_slice(&past[place * capacity * dim..][..before.len()]);
                write(place, &mut after[..tokens * dim]);
            }
            Ok(())
        })
    }
}

/// The output's length, and how many earlier tokens each sequence has; `lengths` are the buffer's inputs.
fn rows(lengths: &[TValue], batch: usize, tokens: usize, capacity: usize) -> TractResult<(usize, TVec<usize>)> {
    let [key_lengths, total] = lengths else { return Ok((capacity + tokens, TVec::from_elem(capacity, batch))) };
    let (key_lengths, total) = (i64_slice(key_lengths)?, i64_slice(total)?);
    ensure!(key_lengths.len() == batch, "{} lengths for {batch} sequences", key_lengths.len());
    let total = total.first().and_then(|total| usize::try_from(*total).ok());
    let total = total.context("the total sequence length is missing or negative")?;
    let grows = total == capacity + tokens;
    ensure!(grows || total <= capacity, "{total} tokens are neither {capacity} and {tokens} nor fewer");
    let length = total.max(capacity);
    let earlier = |key_length: &i64| {
        let earlier = usize::try_from(*key_length).unwrap_or(0).saturating_sub(tokens);
        let fits = earlier <= capacity && earlier + tokens <= length;
        ensure!(fits, "{tokens} tokens behind {earlier} of {capacity} do not fit into {length}");
        Ok(earlier)
    };
    Ok((length, key_lengths.iter().map(earlier).collect::<TractResult<_>>()?))
}

impl Op for AppendToCache {
    fn name(&self) -> StaticName {
        "AppendToCache".into()
    }

    fn mints_runtime_symbols(&self) -> bool {
        self.buffer.as_ref().is_some_and(|buffer| buffer.minted)
    }

    op_as_typed_op!();
}

impl EvalOp for AppendToCache {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let new = self.new_tokens(&inputs[0])?;
        let (past, lengths) = inputs[1..].split_at(self.past as usize);
        let copy = |place: usize, out: &mut [f32]| new.copy_head(place, out);
        Ok(tvec!(self.appended(&new.operand, past.first(), lengths, copy)?.into_tvalue()))
    }
}

impl TypedOp for AppendToCache {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == self.arity(), "AppendToCache takes {} inputs", self.arity());
        let tokens = 1 + self.past as usize;
        let (float, int) = (f32::datum_type(), i64::datum_type());
        ensure!(inputs[..tokens].iter().all(|fact| fact.datum_type == float), "AppendToCache takes float32");
        ensure!(inputs[tokens..].iter().all(|fact| fact.datum_type == int), "lengths are int64");
        let shape = operand_shape(self.columns, &inputs[0].shape.to_tvec())?;
        let mut new = self.layout.operand(&shape, self.heads)?;
        if self.past {
            ensure!(inputs[1].rank() == 4, "the past must have rank 4, not {}", inputs[1].rank());
            new.positions += &inputs[1].shape[2];
            if new.dim.to_usize().is_err() {
                new.dim = inputs[1].shape[3].clone();
            }
        }
        if let Some(buffer) = &self.buffer {
            new.positions = buffer.length.clone();
        }
        Ok(tvec!(f32::fact(HeadLayout::HeadMajor.shape(new))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn tokens_follow_each_sequences_own() {
        struct Case {
            what: &'static str,
            /// Of two sequences with one head and one element.
            past: Option<&'static [f32]>,
            new: &'static [f32],
            /// Key lengths and total.
            lengths: Option<([i64; 2], i64)>,
            expected: Option<&'static [f32]>,
        }
        let case = |what, past, new, lengths, expected| Case { what, past, new, lengths, expected };
        let cases = [
            case("no buffer", Some(&[1., 2.]), &[3., 4.], None, Some(&[1., 3., 2., 4.])),
            case("neither past nor buffer", None, &[3., 4.], None, Some(&[3., 4.])),
            case("a padded first prompt", None, &[1., 2., 3., 4.], Some(([2, 1], 2)), Some(&[1., 2., 3., 4.])),
            case(
                "a step that makes the cache grow",
                Some(&[1., 2., 3., 4.]),
                &[5., 6.],
                Some(([3, 2], 3)),
                Some(&[1., 2., 5., 3., 6., 0.]),
            ),
            case(
                "a step into a larger buffer",
                Some(&[1., 2., 8., 3., 4., 9.]),
                &[5., 6.],
                Some(([3, 2], 3)),
                Some(&[1., 2., 5., 3., 6., 0.]),
            ),
            case("more earlier tokens than there are", Some(&[1., 2.]), &[5., 6.], Some(([3, 2], 2)), None),
            case("no room", Some(&[1., 2., 3., 4.]), &[5., 6.], Some(([3, 2], 2)), None),
            case("a negative total", None, &[5., 6.], Some(([1, 1], -1)), None),
            case("a total beyond all tokens", None, &[5., 6.], Some(([1, 1], 3)), None),
        ];
        for case in cases {
            let rows = |values: &[f32]| tensor(&[2, 1, values.len() / 2, 1], values);
            let mut inputs = vec![rows(case.new)];
            inputs.extend(case.past.map(rows));
            if let Some((lengths, total)) = case.lengths {
                inputs.push(Tensor::from_shape(&[2], &lengths).unwrap());
                inputs.push(Tensor::from_shape(&[], &[total]).unwrap());
            }
            let buffer = case.lengths.map(|_| Buffer { length: 0.to_dim(), minted: false });
            let layout = HeadLayout::HeadMajor;
            let operator = AppendToCache { heads: 1, layout, columns: None, past: case.past.is_some(), buffer };
            match (evaluate(&operator, &inputs), case.expected) {
                (Ok(output), Some(expected)) => {
                    assert_close(case.what, &output, &[2, 1, expected.len() / 2, 1], expected);
                }
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{}", case.what),
            }
        }
    }

    #[test]
    fn packed_tokens_become_head_major() {
        let layout = HeadLayout::Packed;
        let operator = AppendToCache { heads: 2, layout, columns: None, past: false, buffer: None };
        let output = evaluate(&operator, &[tensor(&[1, 2, 2], &[1., 2., 3., 4.])]).unwrap();
        assert_close("packed", &output, &[1, 2, 2, 1], &[1., 3., 2., 4.]);
        let operator = AppendToCache { columns: Some(Columns { first: 1, count: 2 }), ..operator };
        let output = evaluate(&operator, &[tensor(&[1, 2, 4], &[0., 1., 2., 0., 0., 3., 4., 0.])]).unwrap();
        assert_close("columns", &output, &[1, 2, 2, 1], &[1., 3., 2., 4.]);
    }
}
