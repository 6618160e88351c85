//! Scaled dot-product attention.
#![allow(unsafe_code)]

use super::panel::{LeftRows, PANEL, PanelRow, Target, multiply_panel};
use super::parallel::{SharedOutput, for_each};
use super::score_steps::{ScoreStep, ScoreSteps, StepMask};
use super::simd::{F32x4, largest_of, map_in_place, sum_of, zip_in_place};
use crate::attention::{
    AttentionCall, AttentionOperands, AttentionShape, HeadStrides, MaskStrides, ScoreStage, Sequence, Window,
};
use std::ops::Range;

/// Queries whose scores are held at a time.
const QUERY_BLOCK: usize = 8;

/// Runs the call: `out = softmax(cap(scale · Q·Kᵀ) + mask) · V` for every sequence and head. Elements of `out` that the
/// call's strides skip are left as they are. A query that sees no key gets zeros.
///
/// # Panics
/// When the heads are no multiple of the key/value heads, when an operand does not reach as far as its strides say, when
/// two results would share an element of `out`, or when an optional operand is given though the call does not say so, or
/// the other way round.
pub fn attention(call: &AttentionCall, operands: &AttentionOperands, out: &mut [f32]) {
    run(call, operands, None, out);
}

/// Runs the call with `steps` in the place of scale, cap, mask and softmax: `out = steps(Q·Kᵀ) · V`.
///
/// # Panics
/// As [`attention`]; and when the call has more than operands, when there is not one mask for each step that reads one, or
/// one does not reach as far as its strides say.
pub fn attention_by_steps(
    call: &AttentionCall,
    operands: &AttentionOperands,
    steps: &[ScoreStep],
    masks: &[StepMask],
    out: &mut [f32],
) {
    let AttentionShape { batch, heads, queries, keys, .. } = call.shape;
    let plain = call.window == Window::default() && !call.sequences && !call.sinks && call.mask.is_none();
    assert!(plain, "steps stand in the place of windows, sequences, sinks and the mask");
    for StepMask { elements, strides } in masks {
        let axes = [(batch, strides.batch), (heads, strides.head), (queries, strides.query), (keys, strides.key)];
        assert!(elements.len() >= reach(&axes, 1), "a mask reaches as far as its strides");
    }
    run(call, operands, Some(&ScoreSteps::new(steps, masks, keys)), out);
}

fn run(call: &AttentionCall, operands: &AttentionOperands, steps: Option<&ScoreSteps>, out: &mut [f32]) {
    check_operands(call, operands, out);
    let shape = &call.shape;
    let heads = shape.batch * shape.heads;
    let work =
        [shape.queries, shape.keys, shape.head_dim + shape.value_dim].into_iter().fold(heads, usize::saturating_mul);
    let out = SharedOutput::new(out);
    for_each(
        heads,
        work,
        || Scratch::new(call),
        |scratch, task| {
            let head = Head { steps, ..Head::new(call, operands, task) };
            head.pack(scratch);
            for first in (0..shape.queries).step_by(QUERY_BLOCK) {
                let rows = QUERY_BLOCK.min(shape.queries - first);
                // SAFETY: every task has its own head, and results share no element.
                unsafe { head.attend(first, rows, &out, scratch) };
            }
        },
    );
}

/// [`attention`] by its definition, in f64 apart from the sum of score and mask, which is rounded to f32 as it is in f32
/// models: masks near the lowest f32 must swallow the scores.
///
/// # Panics
/// As [`attention`].
pub fn attention_reference(call: &AttentionCall, operands: &AttentionOperands, out: &mut [f32]) {
    check_operands(call, operands, out);
    let shape = &call.shape;
    for task in 0..shape.batch * shape.heads {
        let head = Head::new(call, operands, task);
        for query in 0..shape.queries {
            let probabilities = head.scores(query, ScoreStage::Probabilities);
            let visible = head.visible(query);
            for n in 0..shape.value_dim {
                let element = |key: usize| f64::from(head.value(key)[n]);
                let sum: f64 = visible.clone().map(|key| probabilities[key] * element(key)).sum();
                out[head.start(&call.output, head.head, query) + n] = sum as f32;
            }
        }
    }
}

/// [`attention_by_steps`] by its definition, with products in f64 that are rounded to f32 before each step, as in f32 models.
///
/// # Panics
/// As [`attention_by_steps`].
pub fn attention_by_steps_reference(
    call: &AttentionCall,
    operands: &AttentionOperands,
    steps: &[ScoreStep],
    masks: &[StepMask],
    out: &mut [f32],
) {
    check_operands(call, operands, out);
    let shape = &call.shape;
    let steps = ScoreSteps::new(steps, masks, shape.keys);
    for task in 0..shape.batch * shape.heads {
        let head = Head::new(call, operands, task);
        for query in 0..shape.queries {
            let mut weights: Vec<f32> = head.products(query).map(|product| product as f32).collect();
            steps.apply(&mut weights, |mask| head.start_in(mask, query));
            for n in 0..shape.value_dim {
                let element = |key: usize| f64::from(head.value(key)[n]);
                let sum: f64 = (0..shape.keys).map(|key| f64::from(weights[key]) * element(key)).sum();
                out[head.start(&call.output, head.head, query) + n] = sum as f32;
            }
        }
    }
}

/// The scores of a call, `[batch, heads, queries, keys]`, by their definition: for models that show them.
///
/// # Panics
/// As [`attention`], and when `scores` has another length.
pub fn attention_scores(call: &AttentionCall, operands: &AttentionOperands, stage: ScoreStage, scores: &mut [f32]) {
    check_reads(call, operands);
    let AttentionShape { batch, heads, queries, keys, .. } = call.shape;
    assert_eq!(scores.len(), batch * heads * queries * keys, "there is a score for each query and key");
    if scores.is_empty() {
        return;
    }
    for (task, scores) in scores.chunks_exact_mut(queries * keys).enumerate() {
        let head = Head::new(call, operands, task);
        for (query, scores) in scores.chunks_exact_mut(keys).enumerate() {
            for (score, exact) in scores.iter_mut().zip(head.scores(query, stage)) {
                *score = exact as f32;
            }
        }
    }
}

/// What one thread needs for one head.
struct Scratch {
    /// Kᵀ: for each eight keys, `head_dim` rows.
    keys: Vec<PanelRow>,
    /// V: for each eight elements of a value vector, `keys` rows.
    values: Vec<PanelRow>,
    /// `QUERY_BLOCK` rows of `keys` scores.
    scores: Vec<f32>,
}

impl Scratch {
    fn new(call: &AttentionCall) -> Scratch {
        let shape = &call.shape;
        Scratch {
            keys: vec![[0.0; PANEL]; shape.keys.div_ceil(PANEL) * shape.head_dim],
            values: vec![[0.0; PANEL]; shape.value_dim.div_ceil(PANEL) * shape.keys],
            scores: vec![0.0; QUERY_BLOCK.min(shape.queries) * shape.keys],
        }
    }
}

/// One head of one sequence of a call.
struct Head<'a> {
    call: &'a AttentionCall,
    operands: &'a AttentionOperands<'a>,
    batch: usize,
    head: usize,
    kv_head: usize,
    sequence: Sequence,
    /// What stands in the place of scale, cap, mask and softmax.
    steps: Option<&'a ScoreSteps<'a>>,
}

impl<'a> Head<'a> {
    /// The `task`th head, counted over all sequences.
    fn new(call: &'a AttentionCall, operands: &'a AttentionOperands<'a>, task: usize) -> Head<'a> {
        let shape = &call.shape;
        let (batch, head) = (task / shape.heads, task % shape.heads);
        let everything = Sequence { first_position: 0, keys: shape.keys, padded: false };
        let sequence = operands.sequences.map_or(everything, |sequences| sequences[batch]);
        Head { call, operands, batch, head, kv_head: head / (shape.heads / shape.kv_heads), sequence, steps: None }
    }

    /// Where a position's vector starts.
    fn start(&self, strides: &HeadStrides, head: usize, position: usize) -> usize {
        self.batch * strides.batch + head * strides.head + position * strides.position
    }

    fn key(&self, position: usize) -> &[f32] {
        &self.operands.key[self.start(&self.call.key, self.kv_head, position)..][..self.call.shape.head_dim]
    }

    fn value(&self, position: usize) -> &[f32] {
        &self.operands.value[self.start(&self.call.value, self.kv_head, position)..][..self.call.shape.value_dim]
    }

    /// Where the part of a mask that is a query's starts.
    fn start_in(&self, mask: &MaskStrides, query: usize) -> usize {
        self.batch * mask.batch + self.head * mask.head + query * mask.query
    }

    /// Where the mask of a query starts; 0 where there is no mask.
    fn mask_start(&self, query: usize) -> usize {
        self.call.mask.map_or(0, |mask| self.start_in(&mask, query))
    }

    /// Elements of the mask from one key to the next; 0 where there is no mask.
    fn mask_step(&self) -> usize {
        self.call.mask.map_or(0, |mask| mask.key)
    }

    fn sink(&self) -> Option<f32> {
        self.operands.sinks.map(|sinks| sinks[self.head])
    }

    /// The keys that a query sees.
    fn visible(&self, query: usize) -> Range<usize> {
        self.sequence.visible(query, self.call.window)
    }

    /// Every key that one of the queries sees: both ends of what a query sees only grow with the query.
    fn visible_to(&self, queries: Range<usize>) -> Range<usize> {
        match queries.end.checked_sub(1) {
            Some(last) => self.visible(queries.start).start..self.visible(last).end,
            None => 0..0,
        }
    }

    /// Packs those of the head's keys and values into panels that a query sees.
    fn pack(&self, scratch: &mut Scratch) {
        let shape = &self.call.shape;
        for index in self.visible_to(0..shape.queries) {
            let panel = &mut scratch.keys[index / PANEL * shape.head_dim..][..shape.head_dim];
            for (row, element) in panel.iter_mut().zip(self.key(index)) {
                row[index % PANEL] = *element;
            }
            for (panel, elements) in self.value(index).chunks(PANEL).enumerate() {
                scratch.values[panel * shape.keys + index][..elements.len()].copy_from_slice(elements);
            }
        }
    }

    /// Writes the results of queries `first..first + rows`.
    ///
    /// # Safety
    /// As long as this runs, no one else may use these results' elements of `out`.
    unsafe fn attend(&self, first: usize, rows: usize, out: &SharedOutput<'_>, scratch: &mut Scratch) {
        let shape = &self.call.shape;
        let keys = self.visible_to(first..first + rows);
        self.score(first, rows, keys.clone(), scratch);
        let mut sums = [None; QUERY_BLOCK];
        for (row, sum) in sums[..rows].iter_mut().enumerate() {
            let visible = self.visible(first + row);
            let scores = &mut scratch.scores[row * shape.keys..][..shape.keys];
            *sum = self.weigh(first + row, visible.start, &mut scores[visible.clone()]);
            scores[keys.start..visible.start].fill(0.0);
            scores[visible.end.max(keys.start)..keys.end].fill(0.0);
        }
        let left = LeftRows { values: &scratch.scores[keys.start..], rows, stride: shape.keys };
        for column in (0..shape.value_dim).step_by(PANEL) {
            let target = Target {
                buffer: out,
                start: self.start(&self.call.output, self.head, first) + column,
                stride: self.call.output.position,
                columns: PANEL.min(shape.value_dim - column),
                accumulate: false,
            };
            let panel = &scratch.values[column / PANEL * shape.keys..][keys.clone()];
            // SAFETY: elements of these queries' results, which the caller keeps for this call.
            unsafe { multiply_panel(left, panel, target) };
        }
        for (row, sum) in sums[..rows].iter().enumerate() {
            // SAFETY: one of these queries' results, which the caller keeps for this call.
            let result = unsafe { out.slice(self.start(&self.call.output, self.head, first + row), shape.value_dim) };
            match sum {
                Some(sum) => map_in_place(result, |element| element / F32x4::splat(*sum)),
                None => result.fill(0.0),
            }
        }
    }

    /// Q·Kᵀ of queries `first..first + rows` and the panels in which these keys lie.
    fn score(&self, first: usize, rows: usize, keys: Range<usize>, scratch: &mut Scratch) {
        let shape = &self.call.shape;
        let start = self.start(&self.call.query, self.head, first);
        let left = LeftRows { values: &self.operands.query[start..], rows, stride: self.call.query.position };
        let scores = SharedOutput::new(&mut scratch.scores);
        for index in (keys.start / PANEL * PANEL..keys.end).step_by(PANEL) {
            let target = Target {
                buffer: &scores,
                start: index,
                stride: shape.keys,
                columns: PANEL.min(shape.keys - index),
                accumulate: false,
            };
            let panel = &scratch.keys[index / PANEL * shape.head_dim..][..shape.head_dim];
            // SAFETY: the scores are this thread's own.
            unsafe { multiply_panel(left, panel, target) };
        }
    }

    /// Makes weights of the scores of a query with the keys from `first_key` on. Gives what to divide the weighted sum of
    /// values by, or `None` where the query's result shall be zeros.
    fn weigh(&self, query: usize, first_key: usize, scores: &mut [f32]) -> Option<f32> {
        let Some(steps) = self.steps else { return self.exponentiate(query, first_key, scores) };
        steps.apply(scores, |mask| self.start_in(mask, query));
        Some(1.0)
    }

    /// Scales and caps the scores of a query with the keys from `first_key` on, adds the mask and replaces each by
    /// e^(score - largest). Gives their sum, by which to divide, or `None` where the query's result shall be zeros.
    fn exponentiate(&self, query: usize, first_key: usize, scores: &mut [f32]) -> Option<f32> {
        if scores.is_empty() {
            return None;
        }
        let scale = F32x4::splat(self.call.scale);
        if self.call.softcap != 0.0 {
            scores.iter_mut().for_each(|score| *score = self.cap(*score * self.call.scale));
        }
        let factor = if self.call.softcap == 0.0 { scale } else { F32x4::splat(1.0) };
        let start = self.mask_start(query) + first_key * self.mask_step();
        match self.operands.mask {
            None => map_in_place(scores, |score| score * factor),
            Some(mask) if self.mask_step() == 1 => {
                zip_in_place(scores, &mask[start..][..scores.len()], |score, mask| score * factor + mask);
            }
            Some(mask) => {
                map_in_place(scores, |score| score * factor);
                for (index, score) in scores.iter_mut().enumerate() {
                    *score += mask[start + index * self.mask_step()];
                }
            }
        }
        if self.call.zero_when_all_masked && all_masked(scores) {
            return None;
        }
        let largest = self.sink().map_or(largest_of(scores), |sink| sink.max(largest_of(scores)));
        let shift = F32x4::splat(largest);
        map_in_place(scores, |score| (score - shift).exp());
        Some(sum_of(scores, |weight| weight) + self.sink().map_or(0.0, |sink| (sink - largest).exp()))
    }

    fn cap(&self, score: f32) -> f32 {
        self.call.softcap * (score / self.call.softcap).tanh()
    }

    /// The products of a query with all keys, by their definition.
    fn products(&self, query: usize) -> impl Iterator<Item = f64> {
        let shape = &self.call.shape;
        let vector = &self.operands.query[self.start(&self.call.query, self.head, query)..][..shape.head_dim];
        (0..shape.keys)
            .map(move |key| vector.iter().zip(self.key(key)).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum())
    }

    /// The scores of a query with all keys, by their definition.
    fn scores(&self, query: usize, stage: ScoreStage) -> Vec<f64> {
        let mut scores: Vec<f64> =
            self.products(query).map(|product: f64| product * f64::from(self.call.scale)).collect();
        if stage != ScoreStage::Scaled && self.call.softcap != 0.0 {
            let softcap = f64::from(self.call.softcap);
            scores.iter_mut().for_each(|score| *score = softcap * (*score / softcap).tanh());
        }
        if matches!(stage, ScoreStage::Scaled | ScoreStage::Capped) {
            return scores;
        }
        let visible = self.visible(query);
        for (key, score) in scores.iter_mut().enumerate() {
            let place = self.mask_start(query) + key * self.mask_step();
            let masked = *score as f32 + self.operands.mask.map_or(0.0, |mask| mask[place]);
            *score = if visible.contains(&key) { f64::from(masked) } else { f64::NEG_INFINITY };
        }
        if stage == ScoreStage::Probabilities {
            self.normalise(&mut scores, visible);
        }
        scores
    }

    /// The softmax over the keys that a query sees, by its definition.
    fn normalise(&self, scores: &mut [f64], visible: Range<usize>) {
        let masked = |scores: &[f64]| scores.iter().all(|score| *score == f64::NEG_INFINITY);
        let zero = visible.is_empty() || (self.call.zero_when_all_masked && masked(&scores[visible.clone()]));
        let sink = self.sink().map(f64::from);
        let largest = scores.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
        scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
        let total: f64 = scores[visible.clone()].iter().sum::<f64>() + sink.map_or(0.0, |sink| (sink - largest).exp());
        for (key, score) in scores.iter_mut().enumerate() {
            *score = if zero || !visible.contains(&key) { 0.0 } else { *score / total };
        }
    }
}

fn all_masked(scores: &[f32]) -> bool {
    scores.iter().all(|score| *score == f32::NEG_INFINITY)
}

fn check_operands(call: &AttentionCall, operands: &AttentionOperands, out: &[f32]) {
    check_reads(call, operands);
    let AttentionShape { batch, heads, queries, value_dim, .. } = call.shape;
    let axes = [(batch, call.output.batch), (heads, call.output.head), (queries, call.output.position)];
    assert!(out.len() >= reach(&axes, value_dim), "out reaches as far as its strides");
    assert_disjoint(axes, value_dim);
}

fn check_reads(call: &AttentionCall, operands: &AttentionOperands) {
    let AttentionShape { batch, heads, kv_heads, queries, keys, head_dim, value_dim } = call.shape;
    assert!(heads == 0 || (kv_heads > 0 && heads.is_multiple_of(kv_heads)), "heads are a multiple of kv_heads");
    let reach_of_heads = |heads: usize, positions: usize, strides: &HeadStrides, len: usize| {
        reach(&[(batch, strides.batch), (heads, strides.head), (positions, strides.position)], len)
    };
    let AttentionOperands { query, key, value, mask, sequences, sinks } = operands;
    assert!(
        query.len() >= reach_of_heads(heads, queries, &call.query, head_dim),
        "the query reaches as far as its strides"
    );
    assert!(key.len() >= reach_of_heads(kv_heads, keys, &call.key, head_dim), "the key reaches as far as its strides");
    assert!(
        value.len() >= reach_of_heads(kv_heads, keys, &call.value, value_dim),
        "the value reaches as far as its strides"
    );
    assert_eq!(mask.is_some(), call.mask.is_some(), "a mask comes with its strides");
    if let (Some(mask), Some(strides)) = (mask, call.mask) {
        let axes = [(batch, strides.batch), (heads, strides.head), (queries, strides.query), (keys, strides.key)];
        assert!(mask.len() >= reach(&axes, 1), "the mask reaches as far as its strides");
    }
    assert_eq!(sequences.map(<[_]>::len), call.sequences.then_some(batch), "each sequence has its place");
    let fits = |sequence: &Sequence| sequence.keys <= keys;
    assert!(sequences.is_none_or(|sequences| sequences.iter().all(fits)), "a sequence has no more keys than there are");
    assert_eq!(sinks.map(<[_]>::len), call.sinks.then_some(heads), "each head has its sink");
}

/// Elements that a buffer needs for vectors of `len` elements along axes of (size, stride).
fn reach(axes: &[(usize, usize)], len: usize) -> usize {
    if axes.iter().any(|(size, _)| *size == 0) {
        return 0;
    }
    axes.iter()
        .try_fold(len, |reach, (size, stride)| (size - 1).checked_mul(*stride)?.checked_add(reach))
        .expect("operands can be addressed")
}

/// Panics when two of the vectors of `len` elements along axes of (size, stride) share an element. An axis must step
/// over everything that the axes of smaller stride cover.
fn assert_disjoint(mut axes: [(usize, usize); 3], len: usize) {
    if axes.iter().any(|(size, _)| *size == 0) {
        return;
    }
    axes.sort_by_key(|(_, stride)| *stride);
    let mut covered = len;
    for (size, stride) in axes.into_iter().filter(|(size, _)| *size > 1) {
        assert!(stride >= covered, "no two results share an element");
        covered += (size - 1) * stride;
    }
}

#[cfg(any(test, feature = "selftest"))]
#[allow(clippy::excessive_precision, reason = "recorded values stand as they were printed")]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};
    use crate::kernels::steps::{QuantizedSoftmax, Step};

    const MASKED: f32 = f32::NEG_INFINITY;
    const LOWEST: f32 = f32::MIN;
    const NAN: f32 = f32::NAN;

    /// Holds the kernel, and its twin, against recorded results, and the kernel against its twin at many sizes, layouts
    /// and masks.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = failures_of_recorded();
        failures.extend(failures_of_steps());
        for (queries, keys) in [(1, 1), (3, 7), (8, 8), (9, 33), (17, 70), (5, 0), (0, 5)] {
            for (head_dim, value_dim) in [(1, 1), (5, 3), (8, 16), (32, 32), (64, 40)] {
                for (batch, heads, kv_heads) in [(1, 1, 1), (2, 3, 3), (2, 4, 2), (1, 6, 1)] {
                    let shape = AttentionShape { batch, heads, kv_heads, queries, keys, head_dim, value_dim };
                    failures.extend(failures_of_shape(shape));
                }
            }
        }
        failures
    }

    /// `[batch, heads, positions, len]`, row-major.
    fn heads_first(heads: usize, positions: usize, len: usize) -> HeadStrides {
        HeadStrides { batch: heads * positions * len, head: positions * len, position: len }
    }

    /// `[batch, positions, heads, len]`, row-major.
    fn positions_first(heads: usize, positions: usize, len: usize) -> HeadStrides {
        HeadStrides { batch: positions * heads * len, head: len, position: heads * len }
    }

    fn call(shape: AttentionShape, layout: fn(usize, usize, usize) -> HeadStrides) -> AttentionCall {
        let AttentionShape { heads, kv_heads, queries, keys, head_dim, value_dim, .. } = shape;
        AttentionCall {
            shape,
            scale: 0.5,
            softcap: 0.0,
            window: Window::default(),
            sequences: false,
            sinks: false,
            query: layout(heads, queries, head_dim),
            key: layout(kv_heads, keys, head_dim),
            value: layout(kv_heads, keys, value_dim),
            output: layout(heads, queries, value_dim),
            mask: None,
            zero_when_all_masked: false,
        }
    }

    fn failures_of_shape(shape: AttentionShape) -> Vec<String> {
        let AttentionShape { batch, heads, queries, keys, .. } = shape;
        // Whole; the same for all heads and queries; the same for all sequences, transposed; one number for all.
        let masks = [
            None,
            Some(MaskStrides { batch: heads * queries * keys, head: queries * keys, query: keys, key: 1 }),
            Some(MaskStrides { batch: keys, head: 0, query: 0, key: 1 }),
            Some(MaskStrides { batch: 0, head: 0, query: 1, key: queries }),
            Some(MaskStrides { batch: 0, head: 0, query: 0, key: 0 }),
        ];
        let mut failures = Vec::new();
        for layout in [heads_first, positions_first] {
            for mask in masks {
                let call = AttentionCall { mask, ..call(shape, layout) };
                let elements = mask.map(|_| {
                    let mut elements = numbers(batch * heads * queries * keys.max(1), 4);
                    elements.iter_mut().skip(1).step_by(3).for_each(|element| *element = MASKED);
                    elements.iter_mut().skip(2).step_by(5).for_each(|element| *element = LOWEST);
                    elements
                });
                failures.extend(difference_from_twin(&call, elements.as_deref()));
                let zero = AttentionCall { zero_when_all_masked: true, ..call };
                failures.extend(difference_from_twin(&zero, elements.as_deref()));
                let causal = Window { left: None, right: Some(0) };
                let sliding = Window { left: Some(2), right: Some(1) };
                for (window, sequences) in [(causal, false), (causal, true), (sliding, true), (Window::default(), true)]
                {
                    let call = AttentionCall { window, sequences, sinks: sequences, softcap: 1.5, ..zero };
                    failures.extend(difference_from_twin(&call, elements.as_deref()));
                }
            }
        }
        failures
    }

    fn difference_from_twin(call: &AttentionCall, mask: Option<&[f32]>) -> Option<String> {
        let vectors = operands(call);
        let places = sequences(call);
        let sinks = numbers(call.shape.heads, 6);
        let operands = AttentionOperands {
            mask,
            sequences: call.sequences.then_some(&*places),
            sinks: call.sinks.then_some(&*sinks),
            ..vectors.each_ref().into()
        };
        let got = run(attention, call, &operands);
        let expected = run(attention_reference, call, &operands);
        difference(format!("{call:?}"), &got, &expected, 2e-6)
    }

    /// Holds [`attention_by_steps`] against its twin, and against [`attention`] where steps do what a call does.
    fn failures_of_steps() -> Vec<String> {
        let pair = |scale: f32, zero_point: f32| {
            let range = [0.0, 255.0];
            let quantize = Step::quantize(scale, zero_point, range).into_iter();
            quantize.chain(Step::dequantize(scale, zero_point)).map(ScoreStep::Each).collect::<Vec<_>>()
        };
        let scaled = ScoreStep::Each(Step::Multiply(0.5));
        let integers = QuantizedSoftmax { scale: 0.1, out_scale: 1.0 / 256.0, zero_point: 0.0, highest: 255.0 };
        let range = Step::Saturate { lowest: 0.0, highest: 255.0 };
        let to_integers = [Step::Divide(0.1), Step::Round, Step::Add(100.0), range].map(ScoreStep::Each);
        let lists = [
            ("as a call", vec![scaled, ScoreStep::AddMask, ScoreStep::Softmax]),
            ("rounded", [&pair(0.125, 100.0)[..], &[scaled, ScoreStep::Softmax], &pair(0.0039, 0.0)].concat()),
            ("two masks", vec![ScoreStep::AddMask, scaled, ScoreStep::AddMask, ScoreStep::Softmax]),
            ("replaced where 0", vec![ScoreStep::Replace { kept: true, value: MASKED }, ScoreStep::Softmax]),
            ("replaced elsewhere", vec![ScoreStep::Replace { kept: false, value: -2.0 }, ScoreStep::Softmax]),
            ("no key left", vec![ScoreStep::Each(Step::Add(MASKED)), ScoreStep::Softmax, ScoreStep::ZeroForNan]),
            (
                "integers",
                [&to_integers[..], &[ScoreStep::QuantizedSoftmax(integers), ScoreStep::Each(Step::Divide(256.0))]]
                    .concat(),
            ),
        ];
        let mut failures = Vec::new();
        for (queries, keys) in [(1, 1), (9, 33), (5, 0)] {
            let shape = AttentionShape { batch: 2, heads: 4, kv_heads: 2, queries, keys, head_dim: 5, value_dim: 3 };
            for (what, steps) in &lists {
                failures.extend(difference_of_steps(what, shape, steps));
            }
        }
        failures
    }

    fn difference_of_steps(what: &str, shape: AttentionShape, steps: &[ScoreStep]) -> Option<String> {
        let AttentionShape { batch, heads, queries, keys, value_dim, .. } = shape;
        let call = call(shape, positions_first);
        let vectors = operands(&call);
        let operands: AttentionOperands = vectors.each_ref().into();
        let mut elements = numbers(batch * heads * queries * keys, 4);
        elements.iter_mut().step_by(3).for_each(|element| *element = 0.0);
        // Whole; the same for all heads, transposed.
        let strides = [
            MaskStrides { batch: heads * queries * keys, head: queries * keys, query: keys, key: 1 },
            MaskStrides { batch: queries * keys, head: 0, query: 1, key: queries },
        ];
        let masks = strides.map(|strides| StepMask { elements: &elements, strides });
        let masks = &masks[..steps.iter().filter(|step| step.reads_mask()).count()];
        let [mut got, mut expected] = [(); 2].map(|()| vec![12345.0; batch * heads * queries * value_dim]);
        attention_by_steps(&call, &operands, steps, masks, &mut got);
        if what == "as a call" {
            let call = AttentionCall { mask: Some(strides[0]), ..call };
            attention(&call, &AttentionOperands { mask: Some(&elements), ..operands }, &mut expected);
        } else {
            attention_by_steps_reference(&call, &operands, steps, masks, &mut expected);
        }
        difference(format!("steps, {what}, {shape:?}"), &got, &expected, 2e-6)
    }

    fn operands(call: &AttentionCall) -> [Vec<f32>; 3] {
        let AttentionShape { batch, heads, kv_heads, queries, keys, head_dim, value_dim } = call.shape;
        [
            numbers(batch * heads * queries * head_dim, 1),
            numbers(batch * kv_heads * keys * head_dim, 2),
            numbers(batch * kv_heads * keys * value_dim, 3),
        ]
    }

    impl<'a> From<[&'a Vec<f32>; 3]> for AttentionOperands<'a> {
        fn from([query, key, value]: [&'a Vec<f32>; 3]) -> AttentionOperands<'a> {
            AttentionOperands::new(query, key, value)
        }
    }

    /// The first with all keys and its queries behind them, the second with fewer keys and queries before the first.
    fn sequences(call: &AttentionCall) -> Vec<Sequence> {
        let AttentionShape { batch, queries, keys, .. } = call.shape;
        let late = Sequence { first_position: keys as i64 - queries as i64, keys, padded: false };
        let early = Sequence { first_position: -2, keys: keys / 2, padded: true };
        (0..batch).map(|batch| if batch == 0 { late } else { early }).collect()
    }

    type Attention = fn(&AttentionCall, &AttentionOperands, &mut [f32]);

    fn run(attention: Attention, call: &AttentionCall, operands: &AttentionOperands) -> Vec<f32> {
        let AttentionShape { batch, heads, queries, value_dim, .. } = call.shape;
        let mut out = vec![12345.0; batch * heads * queries * value_dim];
        attention(call, operands, &mut out);
        out
    }

    struct Recorded {
        what: &'static str,
        heads: usize,
        scale: f32,
        /// `[queries, keys]`, the same for all heads.
        mask: Option<Vec<f32>>,
        zero_when_all_masked: bool,
        expected: &'static [f32],
    }

    /// From ONNX Runtime 1.32: `MatMul`, `Mul`, `Add`, `Softmax` and `MatMul`, and for grouped heads `Attention` of opset
    /// 23: one sequence, 2 key/value heads, 3 queries, 5 keys, vectors of 4, values of 3.
    fn recorded() -> Vec<Recorded> {
        const UNMASKED: [f32; 18] = [
            0.063071996,
            -0.04120754,
            -0.00641683,
            0.018439207,
            -0.13175343,
            -0.10550339,
            0.02157856,
            -0.07853426,
            -0.017605748,
            0.1641299,
            0.12811528,
            -0.36287117,
            -0.034828153,
            -0.015581592,
            -0.26435617,
            0.07032877,
            0.110096306,
            -0.36447838,
        ];
        let rows = |rows: [[f32; 5]; 3]| Some(rows.concat());
        let one_row = || rows([[0.0; 5], [MASKED; 5], [0.0; 5]]);
        let plain = |what, mask, zero_when_all_masked, expected| Recorded {
            what,
            heads: 2,
            scale: 0.5,
            mask,
            zero_when_all_masked,
            expected,
        };
        vec![
            plain("no mask", None, false, &UNMASKED),
            plain("a mask of zeros", rows([[0.0; 5]; 3]), true, &UNMASKED),
            plain(
                "some keys with minus infinity, all or some with the lowest number",
                rows([[0.0, 0.0, 0.0, MASKED, MASKED], [LOWEST; 5], [LOWEST, LOWEST, LOWEST, LOWEST, 0.0]]),
                true,
                &[
                    0.28371087,
                    -0.06278097,
                    0.32218537,
                    -0.020703124,
                    -0.1701172,
                    -0.120312504,
                    -0.15820312,
                    0.3955078,
                    -0.7294922,
                    0.24936214,
                    -0.019710321,
                    -0.19872057,
                    -0.026757814,
                    -0.03417969,
                    -0.23535156,
                    -0.5390625,
                    -0.5107422,
                    0.07324219,
                ],
            ),
            plain(
                "a row of minus infinity gives NaN",
                one_row(),
                false,
                &[
                    0.063071996,
                    -0.04120754,
                    -0.00641683,
                    NAN,
                    NAN,
                    NAN,
                    0.02157856,
                    -0.07853426,
                    -0.017605748,
                    0.1641299,
                    0.12811528,
                    -0.36287117,
                    NAN,
                    NAN,
                    NAN,
                    0.07032877,
                    0.110096306,
                    -0.36447838,
                ],
            ),
            plain(
                "a row of minus infinity gives zeros",
                one_row(),
                true,
                &[
                    0.063071996,
                    -0.04120754,
                    -0.00641683,
                    0.0,
                    0.0,
                    0.0,
                    0.02157856,
                    -0.07853426,
                    -0.017605748,
                    0.1641299,
                    0.12811528,
                    -0.36287117,
                    0.0,
                    0.0,
                    0.0,
                    0.07032877,
                    0.110096306,
                    -0.36447838,
                ],
            ),
            Recorded {
                what: "grouped heads",
                heads: 4,
                scale: 0.7,
                mask: Some(numbers(15, 5)),
                zero_when_all_masked: false,
                expected: &[
                    0.013580319,
                    0.124313615,
                    -0.1490757,
                    0.18489893,
                    -0.14552504,
                    -0.03333084,
                    -0.14739074,
                    -0.057490245,
                    -0.4223777,
                    0.06665828,
                    0.009346235,
                    -0.24051489,
                    0.20347193,
                    -0.35189933,
                    -0.0355729,
                    -0.11564229,
                    -0.13888068,
                    -0.48752484,
                    -0.27517605,
                    -0.27603376,
                    -0.03294631,
                    -0.10040985,
                    -0.1264556,
                    -0.21876371,
                    -0.10259581,
                    -0.17428789,
                    -0.059146643,
                    0.048645977,
                    -0.05459469,
                    -0.16882706,
                    0.17664167,
                    0.042597227,
                    -0.3447273,
                    -0.11557694,
                    -0.22211577,
                    -0.044888206,
                ],
            },
        ]
    }

    fn failures_of_recorded() -> Vec<String> {
        let failures = recorded().into_iter().flat_map(|case| {
            let shape = AttentionShape {
                batch: 1,
                heads: case.heads,
                kv_heads: 2,
                queries: 3,
                keys: 5,
                head_dim: 4,
                value_dim: 3,
            };
            let call = AttentionCall {
                scale: case.scale,
                mask: case.mask.as_ref().map(|_| MaskStrides { batch: 0, head: 0, query: 5, key: 1 }),
                zero_when_all_masked: case.zero_when_all_masked,
                ..call(shape, heads_first)
            };
            let vectors = operands(&call);
            let operands = AttentionOperands { mask: case.mask.as_deref(), ..vectors.each_ref().into() };
            [("kernel", attention as Attention), ("twin", attention_reference)].map(|(name, attention)| {
                let got = run(attention, &call, &operands);
                difference(format!("{name}, {}", case.what), &got, case.expected, 1e-6)
            })
        });
        failures.flatten().collect()
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }

    #[cfg(test)]
    const SMALL: AttentionShape =
        AttentionShape { batch: 2, heads: 2, kv_heads: 1, queries: 3, keys: 5, head_dim: 4, value_dim: 2 };

    #[test]
    fn nan_in_the_operands_is_not_taken_for_a_mask() {
        let call = AttentionCall { zero_when_all_masked: true, ..call(SMALL, heads_first) };
        let mut vectors = operands(&call);
        vectors[0][0] = NAN;
        for attention in [attention, attention_reference] {
            let got = run(attention, &call, &vectors.each_ref().into());
            assert!(got[..2].iter().all(|element| element.is_nan()));
            assert!(got[2..].iter().all(|element| element.is_finite()));
        }
    }

    #[test]
    fn operands_that_do_not_fit_panic() {
        let good = call(SMALL, positions_first);
        let masked = MaskStrides { batch: 0, head: 0, query: 5, key: 1 };
        struct Case {
            what: &'static str,
            call: AttentionCall,
            /// Elements of query, key, value and out.
            lengths: [usize; 4],
            mask: Option<usize>,
            sequences: Option<&'static [Sequence]>,
            fits: bool,
        }
        const TWO: &[Sequence] = &[Sequence { first_position: 0, keys: 5, padded: false }; 2];
        let fitting =
            || Case { what: "good", call: good, lengths: [48, 40, 20, 24], mask: None, sequences: None, fits: true };
        let placed = AttentionCall { sequences: true, ..good };
        let with = |change: fn(&mut AttentionCall)| {
            let mut call = good;
            change(&mut call);
            call
        };
        let cases = [
            fitting(),
            Case { what: "masked", call: AttentionCall { mask: Some(masked), ..good }, mask: Some(15), ..fitting() },
            Case { what: "short query", lengths: [47, 40, 20, 24], fits: false, ..fitting() },
            Case { what: "short key", lengths: [48, 39, 20, 24], fits: false, ..fitting() },
            Case { what: "short value", lengths: [48, 40, 19, 24], fits: false, ..fitting() },
            Case { what: "short out", lengths: [48, 40, 20, 23], fits: false, ..fitting() },
            Case {
                what: "short mask",
                call: AttentionCall { mask: Some(masked), ..good },
                mask: Some(14),
                fits: false,
                ..fitting()
            },
            Case { what: "sequences", call: placed, sequences: Some(TWO), ..fitting() },
            Case { what: "one sequence of two", call: placed, sequences: Some(&TWO[1..]), fits: false, ..fitting() },
            Case {
                what: "more keys than there are",
                call: placed,
                sequences: Some(&[Sequence { first_position: 0, keys: 6, padded: false }; 2]),
                fits: false,
                ..fitting()
            },
            Case { what: "sequences unannounced", sequences: Some(TWO), fits: false, ..fitting() },
            Case { what: "sinks missing", call: AttentionCall { sinks: true, ..good }, fits: false, ..fitting() },
            Case { what: "mask without strides", mask: Some(15), fits: false, ..fitting() },
            Case {
                what: "strides without mask",
                call: AttentionCall { mask: Some(masked), ..good },
                fits: false,
                ..fitting()
            },
            Case { what: "results on one another", call: with(|call| call.output.head = 1), fits: false, ..fitting() },
            Case {
                what: "all results in one place",
                call: with(|call| call.output.batch = 0),
                fits: false,
                ..fitting()
            },
            Case { what: "uneven groups", call: with(|call| call.shape.kv_heads = 3), fits: false, ..fitting() },
            Case { what: "no key heads", call: with(|call| call.shape.kv_heads = 0), fits: false, ..fitting() },
            Case {
                what: "strides beyond memory",
                call: with(|call| call.key.batch = usize::MAX),
                fits: false,
                ..fitting()
            },
        ];
        for case in cases {
            let [query, key, value, mut out] = case.lengths.map(|length| vec![0.0; length]);
            let mask = case.mask.map(|length| vec![0.0; length]);
            let operands = AttentionOperands {
                mask: mask.as_deref(),
                sequences: case.sequences,
                ..AttentionOperands::new(&query, &key, &value)
            };
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                attention(&case.call, &operands, &mut out);
            }));
            assert_eq!(result.is_ok(), case.fits, "{}", case.what);
        }
    }
}
