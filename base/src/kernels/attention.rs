//! Scaled dot-product attention.
//!
//! Scores are never held for more than a block of queries and a block of keys: each query carries the largest score and the
//! sum of weights so far, and its result is scaled down whenever a larger score comes (the online softmax of Milakov and
//! Gimelshein, arXiv 1805.02867). The query heads that share a key/value head are computed together, so that a block of its
//! keys and values is packed once for all of them. A few queries on their own read keys and values where they lie.
#![allow(unsafe_code)]

use super::activation::TanhLanes;
use super::dot::multiply_by_rows;
use super::panel::{LeftRows, PANEL, PanelRow, Target, multiply_panel, pack_columns};
use super::parallel::{SharedOutput, for_each};
use super::pool;
use super::simd::{F32x4, LANES, largest_of, largest_of_mapped, largest_of_zipped, map_in_place};
use super::softmax::Softmax;
use super::weighted_rows::{Sums, add_weighted_rows};
use crate::attention::{
    AttentionCall, AttentionOperands, AttentionShape, HeadStrides, MaskStrides, ScoreStage, Sequence,
};
use std::array::from_fn;
use std::hint::black_box;
use std::ops::Range;

/// Rows of scores that are held at a time: whole tiles of every size.
const ROW_BLOCK: usize = 36;

/// Keys whose scores are held at a time; a multiple of a panel's columns.
const KEY_BLOCK: usize = 128;

/// The same where keys and values are read in place.
const KEY_BLOCK_IN_PLACE: usize = 512;

/// Elements of a cache line.
const CACHE_LINE: usize = 16;

/// Most queries of one task, which packs the keys and values that they see.
const TASK_QUERIES: usize = 8 * ROW_BLOCK;

/// Tasks for each of several threads, where there are as many queries: later ones see more keys.
const TASKS_OF_A_THREAD: usize = 4;

/// Queries for which it does not pay to pack.
const FEW_QUERIES: usize = 4;

/// Runs the call: `out = softmax(cap(scale · Q·Kᵀ) + mask) · V` for every sequence and head. Elements of `out` that the
/// call's strides skip are left as they are. A query that sees no key gets zeros.
///
/// # Panics
/// When the heads are no multiple of the key/value heads, when an operand does not reach as far as its strides say, when
/// two results would share an element of `out`, or when an optional operand is given though the call does not say so, or
/// the other way round.
pub fn attention(call: &AttentionCall, operands: &AttentionOperands, out: &mut [f32]) {
    check_operands(call, operands, out);
    let shape = &call.shape;
    if shape.heads == 0 {
        return;
    }
    // The mask of texts that are not padded is all zeros.
    let masks = operands.mask.is_some_and(|mask| mask.iter().any(|mask| *mask != 0.0));
    let (call, operands) = match masks {
        true => (call, operands),
        false => (&AttentionCall { mask: None, ..*call }, &AttentionOperands { mask: None, ..*operands }),
    };
    attend_in_tasks(call, operands, task_queries(shape, call.window.left.is_none(), pool::threads()), out);
}

/// [`attention`] with so many queries in a task.
fn attend_in_tasks(call: &AttentionCall, operands: &AttentionOperands, task_queries: usize, out: &mut [f32]) {
    let shape = &call.shape;
    let parts = shape.queries.div_ceil(task_queries);
    let work = [shape.batch, shape.heads, shape.queries, shape.keys, shape.head_dim + shape.value_dim];
    let out = SharedOutput::new(out);
    for_each(
        shape.batch * shape.kv_heads * parts,
        work.into_iter().fold(1, usize::saturating_mul),
        || Scratch::new(call),
        |scratch, task| {
            let group = Group::new(call, operands, task / parts);
            let first = task % parts * task_queries;
            let queries = first..shape.queries.min(first + task_queries);
            // SAFETY: every task has its own heads and queries, and results share no element.
            unsafe { group.attend(queries, &out, scratch) };
        },
    );
}

/// Queries of a task. Where queries do not see the first keys, blocks of keys begin with a task's first query: then threads have no say, so
/// that results are the same with any number of them.
fn task_queries(shape: &AttentionShape, sees_first_keys: bool, threads: usize) -> usize {
    if threads < 2 || !sees_first_keys {
        return TASK_QUERIES;
    }
    let parts = (TASKS_OF_A_THREAD * threads).div_ceil((shape.batch * shape.kv_heads).max(1));
    shape.queries.div_ceil(parts).next_multiple_of(ROW_BLOCK).clamp(1, TASK_QUERIES)
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
            let visible = head.group.visible(query);
            for n in 0..shape.value_dim {
                let element = |key: usize| f64::from(head.group.value(key)[n]);
                let sum: f64 = visible.clone().map(|key| probabilities[key] * element(key)).sum();
                out[head.result_start(query) + n] = sum as f32;
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

/// What one thread needs.
struct Scratch {
    /// Keys of a block, the most there are; a multiple of a panel's columns.
    key_block: usize,
    /// Kᵀ: for each eight keys, `head_dim` rows.
    keys: Vec<PanelRow>,
    /// V: for each eight elements of a value vector, `key_block` rows.
    values: Vec<PanelRow>,
    /// `ROW_BLOCK` rows of `key_block` scores.
    scores: Vec<f32>,
    /// For each head of a group, one for each query of the task.
    softmaxes: Vec<Softmax>,
    /// The first key of all queries of the task: with its values results are written, not added to. Without it they begin as zeros.
    first_key: Option<usize>,
}

impl Scratch {
    fn new(call: &AttentionCall) -> Scratch {
        let AttentionShape { heads, kv_heads, queries, keys, head_dim, value_dim, .. } = call.shape;
        let in_place = reads_in_place(&call.shape);
        let key_block = if in_place { KEY_BLOCK_IN_PLACE } else { KEY_BLOCK }.min(keys.next_multiple_of(PANEL));
        let group = heads / kv_heads;
        let (key_rows, value_rows) = match in_place {
            true => (0, 0),
            false => (key_block / PANEL * head_dim, value_dim.div_ceil(PANEL) * key_block),
        };
        Scratch {
            key_block,
            keys: vec![[0.0; PANEL]; key_rows],
            values: vec![[0.0; PANEL]; value_rows],
            scores: vec![0.0; ROW_BLOCK.min(queries.max(group)) * key_block],
            softmaxes: Vec::with_capacity(group * queries.min(TASK_QUERIES)),
            first_key: None,
        }
    }
}

/// Whether keys and values are read where they lie: for few queries, and vectors that are read whole.
fn reads_in_place(shape: &AttentionShape) -> bool {
    shape.queries <= FEW_QUERIES && shape.head_dim.is_multiple_of(LANES) && shape.value_dim.is_multiple_of(PANEL)
}

/// The query heads of one sequence that share a key/value head.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    call: &'a AttentionCall,
    operands: &'a AttentionOperands<'a>,
    batch: usize,
    kv_head: usize,
    sequence: Sequence,
}

/// Rows of a block of scores: some queries of one head, or one query of some heads.
#[derive(Clone, Copy)]
struct Rows {
    head: usize,
    query: usize,
    count: usize,
    across_heads: bool,
}

impl Rows {
    fn head_and_query(&self, row: usize) -> (usize, usize) {
        if self.across_heads { (self.head + row, self.query) } else { (self.head, self.query + row) }
    }

    fn queries(&self) -> Range<usize> {
        self.query..self.query + if self.across_heads { 1 } else { self.count }
    }

    /// Elements from one row to the next.
    fn stride(&self, strides: &HeadStrides) -> usize {
        if self.across_heads { strides.head } else { strides.position }
    }
}

impl<'a> Group<'a> {
    /// The `index`th group, counted over all sequences.
    fn new(call: &'a AttentionCall, operands: &'a AttentionOperands<'a>, index: usize) -> Group<'a> {
        let (batch, kv_head) = (index / call.shape.kv_heads, index % call.shape.kv_heads);
        let everything = Sequence { first_position: 0, keys: call.shape.keys, padded: false };
        let sequence = operands.sequences.map_or(everything, |sequences| sequences[batch]);
        Group { call, operands, batch, kv_head, sequence }
    }

    /// Its query heads.
    fn heads(&self) -> Range<usize> {
        let count = self.call.shape.heads / self.call.shape.kv_heads;
        self.kv_head * count..(self.kv_head + 1) * count
    }

    fn head(&self, head: usize) -> Head<'a> {
        Head { group: *self, head }
    }

    /// Where a position's vector starts.
    pub(super) fn start(&self, strides: &HeadStrides, head: usize, position: usize) -> usize {
        strides.start + self.batch * strides.batch + head * strides.head + position * strides.position
    }

    pub(super) fn key(&self, position: usize) -> &'a [f32] {
        &self.operands.key[self.start(&self.call.key, self.kv_head, position)..][..self.call.shape.head_dim]
    }

    /// Its keys at these positions.
    pub(super) fn keys(&self, positions: Range<usize>) -> LeftRows<'a> {
        let start = self.start(&self.call.key, self.kv_head, positions.start);
        LeftRows { values: &self.operands.key[start..], rows: positions.len(), stride: self.call.key.position }
    }

    pub(super) fn value(&self, position: usize) -> &'a [f32] {
        &self.operands.value[self.start(&self.call.value, self.kv_head, position)..][..self.call.shape.value_dim]
    }

    /// Its values at these positions.
    fn values(&self, positions: Range<usize>) -> LeftRows<'a> {
        let start = self.start(&self.call.value, self.kv_head, positions.start);
        LeftRows { values: &self.operands.value[start..], rows: positions.len(), stride: self.call.value.position }
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

    /// The first key that these queries see, where it is the same for all, and values are packed.
    fn first_key(&self, queries: Range<usize>) -> Option<usize> {
        let [first, last] = [queries.start, queries.end.checked_sub(1)?].map(|query| self.visible(query).start);
        (first == last && !reads_in_place(&self.call.shape)).then_some(first)
    }

    /// Writes the results of all heads for these queries.
    ///
    /// # Safety
    /// As long as this runs, no one else may use these results' elements of `out`.
    unsafe fn attend(&self, queries: Range<usize>, out: &SharedOutput<'_>, scratch: &mut Scratch) {
        let keys = self.visible_to(queries.clone());
        scratch.softmaxes.clear();
        scratch.first_key = self.first_key(queries.clone());
        for head in self.heads() {
            let softmax = Softmax::new(self.head(head).sink());
            scratch.softmaxes.extend(queries.clone().map(|_| softmax));
            if scratch.first_key.is_none() {
                for query in queries.clone() {
                    // SAFETY: one of these queries' results, which the caller keeps for this call.
                    unsafe { self.result(head, query, out) }.fill(0.0);
                }
            }
        }
        for first in keys.clone().step_by(scratch.key_block.max(1)) {
            let block = first..keys.end.min(first + scratch.key_block);
            // SAFETY: the caller keeps the results for this call.
            unsafe { self.attend_to_keys(queries.clone(), block, out, scratch) };
        }
        for (index, softmax) in scratch.softmaxes.iter().enumerate() {
            let (head, query) = (self.heads().start + index / queries.len(), queries.start + index % queries.len());
            // SAFETY: one of these queries' results, which the caller keeps for this call.
            let result = unsafe { self.result(head, query, out) };
            if self.visible(query).is_empty() || softmax.is_all_masked() && self.call.zero_when_all_masked {
                result.fill(0.0);
            } else if softmax.is_all_masked() {
                result.fill(f32::NAN);
            } else {
                map_in_place(result, |element| element / F32x4::splat(softmax.sum));
            }
        }
    }

    /// The result of one head and query.
    ///
    /// # Safety
    /// As long as it lives, no one else may use its elements of `out`.
    #[allow(clippy::mut_from_ref)]
    unsafe fn result<'o>(&self, head: usize, query: usize, out: &'o SharedOutput<'_>) -> &'o mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { out.slice(self.start(&self.call.output, head, query), self.call.shape.value_dim) }
    }

    /// Adds what these keys contribute to the queries' results.
    ///
    /// # Safety
    /// As long as this runs, no one else may use these results' elements of `out`.
    unsafe fn attend_to_keys(
        &self,
        queries: Range<usize>,
        keys: Range<usize>,
        out: &SharedOutput<'_>,
        scratch: &mut Scratch,
    ) {
        let across_heads = reads_in_place(&self.call.shape);
        if across_heads {
            self.fetch(keys.clone());
        }
        // The weight 0 of a key that only other queries of the block see does not hide a value that is not finite.
        let rows_at_once = if across_heads || self.pack(keys.clone(), scratch) { ROW_BLOCK } else { 1 };
        let (outer, inner) =
            if across_heads { (queries.clone(), self.heads()) } else { (self.heads(), queries.clone()) };
        for outer in outer {
            for first in inner.clone().step_by(rows_at_once) {
                let count = rows_at_once.min(inner.end - first);
                let (head, query) = if across_heads { (first, outer) } else { (outer, first) };
                let rows = Rows { head, query, count, across_heads };
                let softmax = (head - self.heads().start) * queries.len() + query - queries.start;
                // SAFETY: the caller keeps the results for this call.
                unsafe { self.attend_rows(rows, softmax, queries.len(), keys.clone(), out, scratch) };
            }
        }
    }

    /// Brings these keys and values from memory, a line of each in turns as long as both go on: it gives two streams more than one.
    fn fetch(&self, keys: Range<usize>) {
        let lines = |key: &[f32], value: &[f32]| {
            let lines = key.chunks(CACHE_LINE).zip(value.chunks(CACHE_LINE));
            lines.fold(0, |bits, (key, value)| bits | key[0].to_bits() | value[0].to_bits())
        };
        let AttentionCall { shape, key, value, .. } = self.call;
        let bits = if [key.position, value.position] == [shape.head_dim, shape.value_dim] {
            // Side by side, all vectors are like one.
            let [first_key, first_value] = [key, value].map(|strides| self.start(strides, self.kv_head, keys.start));
            lines(
                &self.operands.key[first_key..][..keys.len() * shape.head_dim],
                &self.operands.value[first_value..][..keys.len() * shape.value_dim],
            )
        } else {
            keys.fold(0, |bits, position| bits | lines(self.key(position), self.value(position)))
        };
        black_box(bits);
    }

    /// Packs keys and values into panels. Gives whether all values are finite.
    fn pack(&self, keys: Range<usize>, scratch: &mut Scratch) -> bool {
        let shape = &self.call.shape;
        for (panel, first) in keys.clone().step_by(PANEL).enumerate() {
            // A last panel of fewer keys repeats the last one.
            let rows = from_fn(|n| self.key(keys.end.min(first + n + 1) - 1));
            pack_columns(rows, &mut scratch.keys[panel * shape.head_dim..][..shape.head_dim]);
        }
        let mut zeros = [F32x4::splat(0.0); 2];
        for (index, key) in keys.enumerate() {
            let (whole, rest) = self.value(key).as_chunks::<PANEL>();
            for (panel, elements) in whole.iter().enumerate() {
                scratch.values[panel * scratch.key_block + index] = *elements;
                for (zeros, elements) in zeros.iter_mut().zip(elements.as_chunks().0) {
                    // Infinity times zero is NaN.
                    *zeros = F32x4::load(elements).mul_add(F32x4::splat(0.0), *zeros);
                }
            }
            if !rest.is_empty() {
                let elements: PanelRow = from_fn(|n| rest.get(n).copied().unwrap_or(0.0));
                scratch.values[whole.len() * scratch.key_block + index] = elements;
                zeros[0] = zeros[0] + F32x4::splat(elements.iter().map(|element| element * 0.0).sum());
            }
        }
        (zeros[0] + zeros[1]).sum() == 0.0
    }

    /// Adds what some of these keys contribute to the rows' results. The rows' softmaxes are that of number `softmax` and
    /// those behind it, which are `queries` apart from one head to the next.
    ///
    /// # Safety
    /// As long as this runs, no one else may use these results' elements of `out`.
    unsafe fn attend_rows(
        &self,
        rows: Rows,
        softmax: usize,
        queries: usize,
        block: Range<usize>,
        out: &SharedOutput<'_>,
        scratch: &mut Scratch,
    ) {
        let seen = self.visible_to(rows.queries());
        let keys = seen.start.max(block.start)..seen.end.min(block.end);
        if keys.is_empty() {
            return;
        }
        self.score(rows, keys.clone(), block.start, scratch);
        for row in 0..rows.count {
            let (head, query) = rows.head_and_query(row);
            let visible = self.visible(query);
            let end = visible.end.clamp(keys.start, keys.end);
            let start = visible.start.clamp(keys.start, end);
            let softmax = &mut scratch.softmaxes[softmax + row * if rows.across_heads { queries } else { 1 }];
            let scores =
                &mut scratch.scores[row * scratch.key_block..][keys.start - block.start..keys.end - block.start];
            let (before, rest) = scores.split_at_mut(start - keys.start);
            let (scores, behind) = rest.split_at_mut(end - start);
            let factor = self.head(head).weigh(query, start, scores, softmax);
            before.fill(0.0);
            behind.fill(0.0);
            if factor != 1.0 && scratch.first_key != Some(keys.start) {
                // SAFETY: one of these queries' results, which the caller keeps for this call.
                map_in_place(unsafe { self.result(head, query, out) }, |element| element * F32x4::splat(factor));
            }
        }
        // SAFETY: the caller keeps the results for this call.
        unsafe { self.add_weighted_values(rows, keys, block.start, out, scratch) };
    }

    /// Q·Kᵀ of the rows, with these keys at least. Scores and panels start with key number `first`.
    fn score(&self, rows: Rows, keys: Range<usize>, first: usize, scratch: &mut Scratch) {
        let shape = &self.call.shape;
        let (start, stride) = (self.start(&self.call.query, rows.head, rows.query), rows.stride(&self.call.query));
        let left = LeftRows { values: &self.operands.query[start..], rows: rows.count, stride };
        let (local, key_block) = (keys.start - first..keys.end - first, scratch.key_block);
        if reads_in_place(shape) {
            multiply_by_rows(left, self.keys(keys), shape.head_dim, &mut scratch.scores[local.start..], key_block);
            return;
        }
        let scores = SharedOutput::new(&mut scratch.scores);
        for panel in local.start / PANEL..local.end.div_ceil(PANEL) {
            let start = panel * PANEL;
            let target =
                Target { buffer: &scores, start, stride: key_block, columns: PANEL, accumulate: false, finish: None };
            // SAFETY: the scores are this thread's own.
            unsafe { multiply_panel(left, &scratch.keys[panel * shape.head_dim..][..shape.head_dim], target) };
        }
    }

    /// Adds the values of these keys to the rows' results, each times its weight; the values of the first key make them. Weights and
    /// panels start with key number `first`.
    ///
    /// # Safety
    /// As long as this runs, no one else may use these results' elements of `out`.
    unsafe fn add_weighted_values(
        &self,
        rows: Rows,
        keys: Range<usize>,
        first: usize,
        out: &SharedOutput<'_>,
        scratch: &Scratch,
    ) {
        let shape = &self.call.shape;
        let local = keys.start - first..keys.end - first;
        let left = LeftRows { values: &scratch.scores[local.start..], rows: rows.count, stride: scratch.key_block };
        let (start, stride) = (self.start(&self.call.output, rows.head, rows.query), rows.stride(&self.call.output));
        if reads_in_place(shape) {
            let sums = Sums { buffer: out, start, stride };
            // SAFETY: these queries' results, which share no element and which the caller keeps for this call.
            return unsafe { add_weighted_rows(left, self.values(keys), shape.value_dim, sums) };
        }
        for column in (0..shape.value_dim).step_by(PANEL) {
            let columns = PANEL.min(shape.value_dim - column);
            let start = start + column;
            let accumulate = scratch.first_key != Some(keys.start);
            let target = Target { buffer: out, start, stride, columns, accumulate, finish: None };
            let panel = &scratch.values[column / PANEL * scratch.key_block..][local.clone()];
            // SAFETY: elements of these queries' results, which the caller keeps for this call.
            unsafe { multiply_panel(left, panel, target) };
        }
    }
}

/// One query head of a group.
pub(super) struct Head<'a> {
    pub(super) group: Group<'a>,
    head: usize,
}

impl<'a> Head<'a> {
    /// The `task`th head, counted over all sequences.
    pub(super) fn new(call: &'a AttentionCall, operands: &'a AttentionOperands<'a>, task: usize) -> Head<'a> {
        let shape = &call.shape;
        let (batch, head) = (task / shape.heads, task % shape.heads);
        let kv_head = head / (shape.heads / shape.kv_heads);
        Group::new(call, operands, batch * shape.kv_heads + kv_head).head(head)
    }

    /// Its query vector of a position.
    pub(super) fn query(&self, position: usize) -> &'a [f32] {
        let Group { call, operands, .. } = self.group;
        &operands.query[self.group.start(&call.query, self.head, position)..][..call.shape.head_dim]
    }

    /// Where the result of a query starts.
    pub(super) fn result_start(&self, query: usize) -> usize {
        self.group.start(&self.group.call.output, self.head, query)
    }

    /// Where the part of a mask that is a query's starts.
    pub(super) fn start_in(&self, mask: &MaskStrides, query: usize) -> usize {
        self.group.batch * mask.batch + self.head * mask.head + query * mask.query
    }

    /// Where the mask of a query starts; 0 where there is no mask.
    fn mask_start(&self, query: usize) -> usize {
        self.group.call.mask.map_or(0, |mask| self.start_in(&mask, query))
    }

    /// Elements of the mask from one key to the next; 0 where there is no mask.
    fn mask_step(&self) -> usize {
        self.group.call.mask.map_or(0, |mask| mask.key)
    }

    fn sink(&self) -> Option<f32> {
        self.group.operands.sinks.map(|sinks| sinks[self.head])
    }

    /// Makes weights of the scores of a query with the keys from `first_key` on, and adds them to its softmax. Gives the
    /// factor by which the weights of earlier keys shrink.
    fn weigh(&self, query: usize, first_key: usize, scores: &mut [f32], softmax: &mut Softmax) -> f32 {
        if scores.is_empty() {
            return 1.0;
        }
        let (largest, factor) = self.complete(query, first_key, scores);
        softmax.add(scores, factor, largest)
    }

    /// Caps the scores of a query with the keys from `first_key` on, and adds the mask. Gives the largest, which may have passed over a
    /// NaN, and the factor by which all are still to be multiplied.
    fn complete(&self, query: usize, first_key: usize, scores: &mut [f32]) -> (f32, f32) {
        let AttentionCall { mut scale, softcap, .. } = *self.group.call;
        if softcap != 0.0 {
            let (factor, cap, tanh) = (F32x4::splat(scale), F32x4::splat(softcap), TanhLanes::new());
            map_in_place(scores, |score| cap * tanh.of(score * factor / cap));
            scale = 1.0;
        }
        let factor = F32x4::splat(scale);
        let start = self.mask_start(query) + first_key * self.mask_step();
        let largest = match self.group.operands.mask {
            None if scale >= 0.0 => return (largest_of(scores) * scale, scale),
            None => largest_of_mapped(scores, |score| score * factor),
            Some(mask) if self.mask_step() == 1 => {
                largest_of_zipped(scores, &mask[start..][..scores.len()], |score, mask| score * factor + mask)
            }
            Some(mask) => {
                map_in_place(scores, |score| score * factor);
                for (index, score) in scores.iter_mut().enumerate() {
                    *score += mask[start + index * self.mask_step()];
                }
                largest_of(scores)
            }
        };
        (largest, 1.0)
    }

    /// The scores of a query with all keys, by their definition.
    fn scores(&self, query: usize, stage: ScoreStage) -> Vec<f64> {
        let Group { call, operands, .. } = self.group;
        let vector = self.query(query);
        let mut scores: Vec<f64> = (0..call.shape.keys)
            .map(|key| vector.iter().zip(self.group.key(key)).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>())
            .map(|score| score * f64::from(call.scale))
            .collect();
        if stage != ScoreStage::Scaled && call.softcap != 0.0 {
            let softcap = f64::from(call.softcap);
            scores.iter_mut().for_each(|score| *score = softcap * (*score / softcap).tanh());
        }
        if matches!(stage, ScoreStage::Scaled | ScoreStage::Capped) {
            return scores;
        }
        let visible = self.group.visible(query);
        for (key, score) in scores.iter_mut().enumerate() {
            let place = self.mask_start(query) + key * self.mask_step();
            let masked = *score as f32 + operands.mask.map_or(0.0, |mask| mask[place]);
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
        let zero = visible.is_empty() || (self.group.call.zero_when_all_masked && masked(&scores[visible.clone()]));
        let sink = self.sink().map(f64::from);
        let largest = scores.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
        scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
        let total: f64 = scores[visible.clone()].iter().sum::<f64>() + sink.map_or(0.0, |sink| (sink - largest).exp());
        for (key, score) in scores.iter_mut().enumerate() {
            *score = if zero || !visible.contains(&key) { 0.0 } else { *score / total };
        }
    }
}

pub(super) fn check_operands(call: &AttentionCall, operands: &AttentionOperands, out: &[f32]) {
    check_reads(call, operands);
    let AttentionShape { batch, heads, queries, value_dim, .. } = call.shape;
    let HeadStrides { start, batch: next_batch, head, position } = call.output;
    let axes = [(batch, next_batch), (heads, head), (queries, position)];
    assert!(out.len() >= reach(&axes, value_dim.saturating_add(start)), "out reaches as far as its strides");
    assert_disjoint(axes, value_dim);
}

fn check_reads(call: &AttentionCall, operands: &AttentionOperands) {
    let AttentionShape { batch, heads, kv_heads, queries, keys, head_dim, value_dim } = call.shape;
    assert!(heads == 0 || (kv_heads > 0 && heads.is_multiple_of(kv_heads)), "heads are a multiple of kv_heads");
    let reach_of_heads = |heads: usize, positions: usize, strides: &HeadStrides, len: usize| {
        let axes = [(batch, strides.batch), (heads, strides.head), (positions, strides.position)];
        reach(&axes, len.saturating_add(strides.start))
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
pub(super) fn reach(axes: &[(usize, usize)], len: usize) -> usize {
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
    use crate::attention::Window;
    use crate::kernels::self_test::{difference, numbers};

    const MASKED: f32 = f32::NEG_INFINITY;
    const LOWEST: f32 = f32::MIN;
    const NAN: f32 = f32::NAN;

    /// Holds the kernel, and its twin, against recorded results, and the kernel against its twin at many sizes, layouts
    /// and masks.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = failures_of_recorded();
        failures.extend([1.0, -1.0, 1.1e8, -1.1e8].into_iter().filter_map(failure_of_large_scores));
        for (queries, keys) in [(1, 1), (3, 7), (8, 8), (9, 33), (17, 70), (5, 0), (0, 5)] {
            for (head_dim, value_dim) in [(1, 1), (5, 3), (8, 16), (32, 32), (64, 40)] {
                for (batch, heads, kv_heads) in [(1, 1, 1), (2, 3, 3), (2, 4, 2), (1, 6, 1)] {
                    let shape = AttentionShape { batch, heads, kv_heads, queries, keys, head_dim, value_dim };
                    failures.extend(failures_of_shape(shape));
                }
            }
        }
        // More keys than a block, read in place and packed; more queries than a task.
        for (queries, keys) in [(2, KEY_BLOCK_IN_PLACE + 44), (40, KEY_BLOCK + 172), (TASK_QUERIES + 4, 9)] {
            for (head_dim, value_dim) in [(8, 8), (5, 3)] {
                let shape = AttentionShape { batch: 1, heads: 4, kv_heads: 2, queries, keys, head_dim, value_dim };
                failures.extend(failures_of_shape(shape));
                failures.extend(failures_of_masked_blocks(shape));
                failures.extend(failures_of_infinite_values(shape));
            }
        }
        failures
    }

    /// Of scores that lie so far apart that the largest takes everything.
    fn failure_of_large_scores(scale: f32) -> Option<String> {
        let shape = AttentionShape { batch: 1, heads: 1, kv_heads: 1, queries: 1, keys: 3, head_dim: 1, value_dim: 1 };
        let (query, key, value) = (vec![1.0], vec![-200.3, 0.0, 200.3], vec![1.0, 2.0, 3.0]);
        let call = AttentionCall { scale, ..call(shape, heads_first) };
        let got = run(attention, &call, &[&query, &key, &value].into());
        difference(format!("a scale of {scale}"), &got, &[if scale < 0.0 { 1.0 } else { 3.0 }], 0.0)
    }

    /// With whole blocks of keys masked: the first ones, the last ones, all.
    fn failures_of_masked_blocks(shape: AttentionShape) -> Vec<String> {
        let keys = shape.keys;
        let mut failures = Vec::new();
        for masked in [0..keys / 2, keys / 2..keys, 0..keys] {
            for (mask, sinks) in [(MASKED, false), (LOWEST, false), (MASKED, true)] {
                let mut elements = vec![0.0; keys];
                elements[masked.clone()].fill(mask);
                for zero_when_all_masked in [false, true] {
                    let strides = MaskStrides { batch: 0, head: 0, query: 0, key: 1 };
                    let call = call(shape, positions_first);
                    let call = AttentionCall { mask: Some(strides), sinks, zero_when_all_masked, ..call };
                    failures.extend(difference_from_twin(&call, Some(&elements)));
                }
            }
        }
        failures
    }

    /// A value that is not finite reaches the queries that see it, and no other.
    fn failures_of_infinite_values(shape: AttentionShape) -> Vec<String> {
        let window = Window { left: None, right: Some(0) };
        let call = AttentionCall { window, ..call(shape, heads_first) };
        let mut failures = Vec::new();
        for value in [NAN, f32::INFINITY] {
            for key in [0, shape.queries.min(shape.keys) - 1] {
                let mut vectors = operands(&call);
                vectors[2][key * shape.value_dim] = value;
                let operands = vectors.each_ref().into();
                let got = run(attention, &call, &operands);
                let expected = run(attention_reference, &call, &operands);
                failures.extend(difference(format!("{value} as a value, {call:?}"), &got, &expected, 2e-6));
            }
        }
        failures
    }

    /// `[batch, heads, positions, len]`, row-major.
    fn heads_first(heads: usize, positions: usize, len: usize) -> HeadStrides {
        HeadStrides { start: 0, batch: heads * positions * len, head: positions * len, position: len }
    }

    /// `[batch, positions, heads, len]`, row-major.
    pub(in crate::kernels) fn positions_first(heads: usize, positions: usize, len: usize) -> HeadStrides {
        HeadStrides { start: 0, batch: positions * heads * len, head: len, position: heads * len }
    }

    /// `[batch, positions, heads, len]` in a wider tensor, with three elements before each position's and two behind them.
    pub(in crate::kernels) fn columns(heads: usize, positions: usize, len: usize) -> HeadStrides {
        let width = 3 + heads * len + 2;
        HeadStrides { start: 3, batch: positions * width, head: len, position: width }
    }

    pub(in crate::kernels) fn call(
        shape: AttentionShape,
        layout: fn(usize, usize, usize) -> HeadStrides,
    ) -> AttentionCall {
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
        for layout in [heads_first, positions_first, columns] {
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

    pub(in crate::kernels) fn operands(call: &AttentionCall) -> [Vec<f32>; 3] {
        let AttentionShape { heads, kv_heads, queries, keys, head_dim, value_dim, .. } = call.shape;
        [
            numbers(elements(call, &call.query, [heads, queries, head_dim]), 1),
            numbers(elements(call, &call.key, [kv_heads, keys, head_dim]), 2),
            numbers(elements(call, &call.value, [kv_heads, keys, value_dim]), 3),
        ]
    }

    /// Elements of an operand, those between its vectors included.
    pub(in crate::kernels) fn elements(
        call: &AttentionCall,
        strides: &HeadStrides,
        [heads, positions, len]: [usize; 3],
    ) -> usize {
        let axes = [(call.shape.batch, strides.batch), (heads, strides.head), (positions, strides.position)];
        reach(&axes, len + strides.start)
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
        let AttentionShape { heads, queries, value_dim, .. } = call.shape;
        let mut out = vec![12345.0; elements(call, &call.output, [heads, queries, value_dim])];
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
    fn several_threads_have_tasks_enough() {
        // Sequences, key/value heads, queries, whether these see the first keys, threads.
        for ((batch, kv_heads, queries, sees_first_keys, threads), expected) in [
            ((1, 3, 256, true, 1), TASK_QUERIES),
            ((1, 3, 256, false, 2), TASK_QUERIES),
            ((1, 3, 256, true, 2), 108),
            ((1, 12, 128, true, 2), 144),
            ((1, 1, 3000, true, 4), 216),
            ((1, 1, 5000, true, 2), TASK_QUERIES),
            ((1, 3, 1, true, 2), ROW_BLOCK),
            ((0, 3, 0, true, 2), 1),
        ] {
            let (heads, keys, head_dim, value_dim) = (kv_heads, 9, 8, 8);
            let shape = AttentionShape { batch, heads, kv_heads, queries, keys, head_dim, value_dim };
            assert_eq!(task_queries(&shape, sees_first_keys, threads), expected, "{shape:?}, {threads} threads");
        }
    }

    #[test]
    fn results_do_not_depend_on_tasks() {
        let shape =
            AttentionShape { batch: 1, heads: 2, kv_heads: 1, queries: 203, keys: 203, head_dim: 8, value_dim: 8 };
        for right in [None, Some(0), Some(5)] {
            let call = AttentionCall { window: Window { left: None, right }, ..call(shape, heads_first) };
            let (query, key, value) = (numbers(2 * 203 * 8, 1), numbers(203 * 8, 2), numbers(203 * 8, 3));
            let operands = AttentionOperands::new(&query, &key, &value);
            let results = [TASK_QUERIES, 3 * ROW_BLOCK, ROW_BLOCK].map(|task_queries| {
                let mut out = vec![0.0; 2 * 203 * 8];
                attend_in_tasks(&call, &operands, task_queries, &mut out);
                out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            });
            assert!(results[1..].iter().all(|result| *result == results[0]), "up to {right:?} keys ahead");
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
            Case { what: "a query further on", call: with(|call| call.query.start = 1), fits: false, ..fitting() },
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
            Case { what: "results further on", call: with(|call| call.output.start = 1), fits: false, ..fitting() },
            Case {
                what: "a start beyond memory",
                call: with(|call| call.value.start = usize::MAX),
                fits: false,
                ..fitting()
            },
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
