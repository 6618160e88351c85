//! `RotateAndCache`: what a decoder does to queries, keys and values of new tokens before they meet in the attention. Queries and
//! keys are rotated as by [`RotaryEmbedding`]; keys and values come behind those of earlier tokens as by [`AppendToCache`]. The
//! keys are rotated straight into their rows of the cache.
//!
//! Inputs: queries, keys and values, f32, each in its layout, or in columns of a wider tensor; cosines, sines and positions, as
//! `RotaryEmbedding` takes them, of both queries and keys; then, as `AppendToCache` takes them, with `past` the earlier keys and
//! the earlier values; with a `buffer` `key_lengths` and `total`, of both.
//!
//! Outputs: the rotated queries, f32 in their layout; the keys, and the values, of all tokens, f32
//! `[batch, heads, length, dim]`.
//!
//! Errors: those of the two operators, and queries and keys of other tokens.

use super::{AppendToCache, RotaryEmbedding};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotateAndCache {
    /// What is done to the queries.
    pub query: RotaryEmbedding,
    /// What is done to the keys once they are rotated, in the way of the queries; layout and columns are those before.
    pub keys: AppendToCache,
    /// What is done to the values; past and buffer are those of the keys.
    pub values: AppendToCache,
}

impl RotateAndCache {
    /// The rotation of the keys alone.
    fn key(&self) -> RotaryEmbedding {
        let AppendToCache { heads, layout, columns, .. } = self.keys;
        RotaryEmbedding { heads: Some(heads), layout, columns, ..self.query.clone() }
    }

    /// Number of inputs.
    fn arity(&self) -> usize {
        3 + self.query.tables() + 2 * (self.keys.past as usize + self.keys.buffer.is_some() as usize)
    }

    /// The inputs behind queries, keys and values: of the rotations, of the past, of the buffer.
    fn parts<'a, T>(&self, inputs: &'a [T]) -> [&'a [T]; 3] {
        let (tables, cached) = inputs[3..].split_at(self.query.tables());
        let (past, lengths) = cached.split_at(2 * self.keys.past as usize);
        [tables, past, lengths]
    }
}

impl Op for RotateAndCache {
    fn name(&self) -> StaticName {
        "RotateAndCache".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.query.info()
    }

    fn mints_runtime_symbols(&self) -> bool {
        self.keys.mints_runtime_symbols()
    }

    op_as_typed_op!();
}

impl EvalOp for RotateAndCache {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let [tables, past, lengths] = self.parts(&inputs);
        let query = self.query.vectors(&inputs[0], tables)?;
        let key = self.key().vectors(&inputs[1], tables)?;
        let value = self.values.new_tokens(&inputs[2])?;
        let [queries, keys] = [&query, &key].map(|vectors| [vectors.operand.batch, vectors.operand.positions]);
        ensure!(queries == keys, "queries of {queries:?} sequences and tokens, keys of {keys:?}");
        let rotation = self.query.rotation(&query.operand, tables)?;
        let rotate = |place: usize, out: &mut [f32]| rotation.rotate_head(&key, place, out);
        let copy = |place: usize, out: &mut [f32]| value.copy_head(place, out);
        let queries = self.query.rotated(&query, &rotation)?;
        let keys = self.keys.appended(&key.operand, past.first(), lengths, rotate)?;
        let values = self.values.appended(&value.operand, past.last(), lengths, copy)?;
        Ok(tvec!(queries, keys.into_tvalue(), values.into_tvalue()))
    }
}

impl TypedOp for RotateAndCache {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let arity = self.arity();
        ensure!(inputs.len() == arity, "RotateAndCache takes {arity} inputs");
        let like_keys = self.values.past == self.keys.past && self.values.buffer == self.keys.buffer;
        ensure!(like_keys, "the caches of keys and values differ");
        let [tables, past, lengths] = self.parts(inputs);
        let rotated = |rotary: &RotaryEmbedding, x| rotary.output_facts(&[&[x], tables].concat());
        let appended = |append: &AppendToCache, x, past: Option<&&TypedFact>| {
            let past = past.copied().into_iter();
            append.output_facts(&[x].into_iter().chain(past).chain(lengths.iter().copied()).collect::<TVec<_>>())
        };
        rotated(&self.key(), inputs[1])?;
        let facts = [
            rotated(&self.query, inputs[0])?,
            appended(&self.keys, inputs[1], past.first())?,
            appended(&self.values, inputs[2], past.last())?,
        ];
        Ok(facts.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tensor;
    use super::super::{Buffer, Columns, HeadLayout, Positions, f32_slice, i64_slice};
    use super::*;

    /// Sizes: two sequences of two tokens; two heads of queries and one of keys and values, all of four elements.
    const BATCH: usize = 2;
    const TOKENS: usize = 2;
    const HEADS: [usize; 3] = [2, 1, 1];
    const DIM: usize = 4;

    /// Different numbers for different seeds.
    fn numbers(shape: &[usize], seed: usize) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|at| ((at + seed) * 31 % 17) as f32 - 8.0).collect();
        tensor(shape, &values)
    }

    fn int64(shape: &[usize], values: &[i64]) -> Tensor {
        Tensor::from_shape(shape, values).unwrap()
    }

    fn evaluated(operator: &dyn TypedOp, inputs: &[&[Tensor]]) -> TractResult<TVec<TValue>> {
        let inputs = inputs.concat().into_iter().map(Tensor::into_tvalue).collect();
        operator.eval(&EvalContext::out_of_plan(), inputs)
    }

    fn promised(operator: &dyn TypedOp, inputs: &[&[Tensor]]) -> TractResult<TVec<TypedFact>> {
        let facts: Vec<TypedFact> = inputs.concat().iter().map(TypedFact::shape_and_dt_of).collect();
        operator.output_facts(&facts.iter().collect::<Vec<_>>())
    }

    struct Case {
        what: &'static str,
        layout: HeadLayout,
        /// Whether queries, keys and values are columns of one tensor.
        columns: bool,
        interleaved: bool,
        positions: Positions,
        /// Cosines or sines.
        caches: &'static [usize],
        places: Vec<Tensor>,
        /// Earlier tokens of keys and of values.
        past: Option<[usize; 2]>,
        /// Key lengths and total.
        lengths: Vec<Tensor>,
        /// Words of an error.
        error: Option<&'static str>,
    }

    impl Case {
        fn operator(&self) -> RotateAndCache {
            let columns =
                [(0, 8), (8, 4), (12, 4)].map(|(first, count)| self.columns.then_some(Columns { first, count }));
            let capacity = self.past.map_or(0, |past| past[0] as i64);
            let length = |total: &Tensor| capacity.max(i64_slice(total).unwrap()[0]).to_dim();
            let buffer = self.lengths.get(1).map(|total| Buffer { length: length(total), minted: false });
            let layout = self.layout;
            let append = |operand: usize| AppendToCache {
                heads: HEADS[operand],
                layout,
                columns: columns[operand],
                past: self.past.is_some(),
                buffer: buffer.clone(),
            };
            let query = RotaryEmbedding {
                heads: Some(HEADS[0]),
                layout,
                columns: columns[0],
                interleaved: self.interleaved,
                positions: self.positions,
            };
            RotateAndCache { query, keys: append(1), values: append(2) }
        }

        /// Queries, keys and values.
        fn operands(&self) -> [Tensor; 3] {
            let shape = |heads: usize| match self.layout {
                HeadLayout::Packed => vec![BATCH, TOKENS, heads * DIM],
                HeadLayout::PositionMajor => vec![BATCH, TOKENS, heads, DIM],
                HeadLayout::HeadMajor => vec![BATCH, heads, TOKENS, DIM],
            };
            if self.columns {
                [(); 3].map(|()| numbers(&shape(4), 1))
            } else {
                HEADS.map(|heads| numbers(&shape(heads), heads))
            }
        }

        fn tables(&self) -> Vec<Tensor> {
            let caches = [2, 3].map(|seed| numbers(self.caches, seed));
            caches.into_iter().chain(self.places.iter().cloned()).collect()
        }

        /// Of keys and of values.
        fn pasts(&self) -> Vec<Tensor> {
            let past = |length: usize| numbers(&[BATCH, HEADS[1], length, DIM], 4);
            self.past.map(|lengths| lengths.map(past)).into_iter().flatten().collect()
        }

        /// What the operators give that the node stands for.
        fn one_by_one(&self) -> TractResult<TVec<TValue>> {
            let RotateAndCache { query, keys, values } = self.operator();
            let key = RotaryEmbedding { heads: Some(keys.heads), columns: keys.columns, ..query.clone() };
            let keys = AppendToCache { columns: None, ..keys };
            let ([q, k, v], tables, pasts) = (self.operands(), self.tables(), self.pasts());
            let past = |which: usize| pasts.get(which..=which).unwrap_or_default();
            let mut outputs = evaluated(&query, &[&[q], &tables])?;
            let key = evaluated(&key, &[&[k], &tables])?.remove(0).into_tensor();
            outputs.extend(evaluated(&keys, &[&[key], past(0), &self.lengths])?);
            outputs.extend(evaluated(&values, &[&[v], past(1), &self.lengths])?);
            Ok(outputs)
        }

        fn check(&self) {
            let inputs = [&self.operands()[..], &self.tables(), &self.pasts(), &self.lengths];
            match (evaluated(&self.operator(), &inputs), self.error) {
                (Ok(outputs), None) => {
                    let facts = promised(&self.operator(), &inputs).unwrap();
                    assert_eq!((outputs.len(), facts.len()), (3, 3), "{}", self.what);
                    for ((output, expected), fact) in outputs.iter().zip(self.one_by_one().unwrap()).zip(facts) {
                        assert_eq!(f32_slice(output).unwrap(), f32_slice(&expected).unwrap(), "{}", self.what);
                        let shapes = (output.shape(), fact.shape.as_concrete());
                        assert_eq!(shapes, (expected.shape(), Some(expected.shape())), "{}", self.what);
                    }
                }
                (Err(error), Some(words)) => {
                    assert!(error.to_string().contains(words), "{}: {error}", self.what);
                    assert!(self.one_by_one().is_err(), "{}", self.what);
                }
                (result, _) => panic!("{}: {result:?}", self.what),
            }
        }
    }

    /// A call that each case differs from in something.
    fn usual(what: &'static str) -> Case {
        Case {
            what,
            layout: HeadLayout::Packed,
            columns: false,
            interleaved: false,
            positions: Positions::PerToken,
            caches: &[4, 2],
            places: vec![int64(&[2, 2], &[2, 3, 0, 1])],
            past: Some([1, 1]),
            lengths: vec![],
            error: None,
        }
    }

    #[test]
    fn as_the_operators_one_after_the_other() {
        let lengths = |lengths: &[i64; 2], total: i64| vec![int64(&[2], lengths), int64(&[], &[total])];
        let cases = [
            usual("packed"),
            Case { columns: true, ..usual("columns of one tensor") },
            Case { layout: HeadLayout::PositionMajor, ..usual("heads behind positions") },
            Case { layout: HeadLayout::HeadMajor, interleaved: true, ..usual("heads before positions, neighbours") },
            Case { caches: &[4, 1], ..usual("half of each vector") },
            Case { past: None, ..usual("no past") },
            Case { past: Some([0, 0]), ..usual("an empty past") },
            Case { past: Some([2, 1]), ..usual("more earlier keys than values") },
            Case { positions: Positions::InOrder, caches: &[2, 2, 2], places: vec![], ..usual("in order") },
            Case { positions: Positions::Following, places: vec![int64(&[1], &[2])], ..usual("following") },
            Case {
                positions: Positions::PerTokenButInPrompt,
                places: vec![int64(&[2, 2], &[1, 3, 0, 0]), int64(&[], &[2])],
                ..usual("a prompt")
            },
            Case { lengths: lengths(&[3, 3], 3), ..usual("a buffer that grows") },
            Case { lengths: lengths(&[3, 2], 3), columns: true, ..usual("a buffer that grows, with padding") },
            Case { lengths: lengths(&[3, 2], 3), past: Some([3, 3]), ..usual("room in the buffer") },
            Case { lengths: lengths(&[2, 1], 2), past: None, ..usual("a padded first prompt") },
            Case { places: vec![int64(&[2, 2], &[2, 4, 0, 1])], error: Some("no row"), ..usual("a position beyond") },
            Case { places: vec![int64(&[1, 2], &[2, 3])], error: Some("do not fit"), ..usual("too few positions") },
            Case { caches: &[4, 3], error: Some("cannot be rotated"), ..usual("more pairs than elements") },
            Case { lengths: lengths(&[3, 2], 2), error: Some("neither"), ..usual("no room in the buffer") },
            Case { lengths: lengths(&[4, 2], 3), error: Some("do not fit into"), ..usual("a length beyond the total") },
            Case {
                lengths: vec![int64(&[1], &[3]), int64(&[], &[3])],
                error: Some("1 lengths"),
                ..usual("too few lengths")
            },
        ];
        cases.iter().for_each(Case::check);
    }

    #[test]
    fn operands_that_do_not_fit() {
        let case = usual("");
        let ([q, k, v], tables, pasts) = (case.operands(), case.tables(), case.pasts());
        let wide = numbers(&[BATCH, 2, 1, DIM], 0);
        let cases: [(&str, [&Tensor; 5]); 3] = [
            ("a token more in the keys", [&q, &numbers(&[BATCH, 3, DIM], 0), &v, &pasts[0], &pasts[1]]),
            ("earlier keys of more heads", [&q, &k, &v, &wide, &pasts[1]]),
            ("earlier values of more heads", [&q, &k, &v, &pasts[0], &wide]),
        ];
        for (what, [q, k, v, keys, values]) in cases {
            let inputs = [&[q.clone(), k.clone(), v.clone()][..], &tables, &[keys.clone(), values.clone()]];
            assert!(evaluated(&case.operator(), &inputs).is_err(), "{what}");
        }
        let RotateAndCache { query, keys, values } = case.operator();
        let operator = RotateAndCache { query, keys, values: AppendToCache { past: false, ..values } };
        let inputs = [&[q, k, v][..], &tables, &pasts];
        assert!(promised(&operator, &inputs).is_err(), "a past of the keys only");
    }

    #[test]
    fn a_token_after_the_other() {
        let case = usual("");
        let ([q, k, v], tables) = (case.operands(), case.tables());
        let mut pasts = case.pasts();
        let mut memory = vec![];
        for _ in 0..2 {
            let outputs = evaluated(&case.operator(), &[&[q.clone(), k.clone(), v.clone()], &tables, &pasts]).unwrap();
            pasts = outputs[1..].iter().map(|present| present.clone().into_tensor()).collect();
            memory.push([0, 1].map(|which| rows(&pasts[which])));
        }
        assert_eq!(memory[0], memory[1], "rows are appended in place");
        assert_eq!(pasts[0].shape(), [BATCH, HEADS[1], 1 + 2 * TOKENS, DIM]);
    }

    /// Where the rows of a cache lie.
    fn rows(cache: &Tensor) -> *const f32 {
        super::super::cache_tensor::CacheStorage::of(cache).unwrap().read().elements().as_ptr()
    }
}
