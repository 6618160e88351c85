//! `Attention`: `softmax(cap(scale · Q·Kᵀ) + mask) · V` for every sequence and head, where
//! `cap(x) = softcap · tanh(x / softcap)`, and the softmax is over the keys that a query sees.
//! Vaswani et al., "Attention Is All You Need", section 3.2; ONNX `Attention` (25).
//!
//! Inputs: query, key, value, f32, each in its [`HeadLayout`], or in [`Columns`] of a wider tensor; then those of the following
//! that the fields name:
//! - `mask`: f32, broadcasts to `[batch, heads, queries, keys]`, added to the scores;
//! - `first_positions`: int64 `[batch]` or `[1]`, where each sequence's first query stands among its keys; else at 0;
//! - `key_lengths`: int64 `[batch]`, how many keys of each sequence there are; else all;
//! - `sinks`: f32 `[heads]`, a score for each head that belongs to no key and takes its part of the softmax.
//!
//! Quantised models round between these operations. Theirs are then `steps`, which stand in the place of scale, cap, mask and
//! softmax: `steps(Q·Kᵀ) · V`. Nothing optional goes with them; for each step that reads a mask there is an input, as `mask`.
//!
//! Outputs: f32 in its own layout; with `scores` also f32 `[batch, heads, queries, keys]`.

use super::cache_tensor::{CacheRows, CacheStorage};
use super::spare::written;
use super::{f32_slice, i64_slice};
use crate::attention::{
    AttentionCall, AttentionOperands, AttentionShape, HeadStrides, MaskStrides, ScoreStage, Sequence, Window,
};
use crate::kernels::attention::{attention, attention_scores};
use crate::kernels::attention_by_steps::attention_by_steps;
use crate::kernels::score_steps::{ScoreStep, StepMask};
use tract_core::internal::*;

/// How the heads of an operand lie in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum HeadLayout {
    /// `[batch, position, heads * dim]`
    Packed,
    /// `[batch, position, heads, dim]`
    PositionMajor,
    /// `[batch, heads, position, dim]`
    HeadMajor,
}

/// Columns of a wider tensor, `[batch, position, width]`, in which the heads of an operand lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Columns {
    /// The first of them.
    pub first: usize,
    /// How many there are.
    pub count: usize,
}

impl Columns {
    /// The shape of the operand in a tensor of this shape.
    fn shape<D: DimLike>(self, shape: &[D]) -> TractResult<TVec<D>> {
        let (Some(width), 3) = (shape.last(), shape.len()) else { bail!("columns of {shape:?}, not of rank 3") };
        let within = width.to_usize().is_ok_and(|width| self.first + self.count <= width);
        ensure!(within, "{} columns from {} on of {width}", self.count, self.first);
        Ok(tvec!(shape[0].clone(), shape[1].clone(), self.count.into()))
    }

    /// Where the packed operand of these strides lies in a tensor of this shape.
    pub(super) fn within(self, shape: &[usize], strides: HeadStrides) -> HeadStrides {
        HeadStrides { start: self.first, batch: shape[1] * shape[2], position: shape[2], ..strides }
    }
}

/// The shape of an operand that is a tensor of this shape, or columns of it.
pub(super) fn operand_shape<D: DimLike>(columns: Option<Columns>, shape: &[D]) -> TractResult<TVec<D>> {
    columns.map_or_else(|| Ok(shape.into()), |columns| columns.shape(shape))
}

/// Sizes of an operand.
#[derive(Clone, Copy)]
pub(super) struct Operand<D> {
    pub(super) batch: D,
    pub(super) heads: D,
    pub(super) positions: D,
    pub(super) dim: D,
}

impl HeadLayout {
    fn rank(self) -> usize {
        if self == HeadLayout::Packed { 3 } else { 4 }
    }

    /// The axis of positions.
    pub fn position_axis(self) -> usize {
        if self == HeadLayout::HeadMajor { 2 } else { 1 }
    }

    pub(super) fn operand<D: DimLike>(self, shape: &[D], heads: usize) -> TractResult<Operand<D>> {
        ensure!(shape.len() == self.rank(), "Attention takes rank {}, not {shape:?}", self.rank());
        let [batch, second, third] = [shape[0].clone(), shape[1].clone(), shape[2].clone()];
        let (heads, positions, dim) = match self {
            HeadLayout::Packed => {
                let dim = third.clone() / heads;
                let whole = (dim.clone() * heads).compatible_with(&third);
                ensure!(whole, "{third} columns cannot hold {heads} heads");
                (heads.into(), second, dim)
            }
            HeadLayout::PositionMajor => (third, second, shape[3].clone()),
            HeadLayout::HeadMajor => (second, third, shape[3].clone()),
        };
        Ok(Operand { batch, heads, positions, dim })
    }

    pub(super) fn shape<D: DimLike>(self, operand: Operand<D>) -> TVec<D> {
        let Operand { batch, heads, positions, dim } = operand;
        match self {
            HeadLayout::Packed => tvec!(batch, positions, heads * dim),
            HeadLayout::PositionMajor => tvec!(batch, positions, heads, dim),
            HeadLayout::HeadMajor => tvec!(batch, heads, positions, dim),
        }
    }

    pub(super) fn strides(self, operand: &Operand<usize>) -> HeadStrides {
        let Operand { heads, positions, dim, .. } = *operand;
        let (head, position) = match self {
            HeadLayout::Packed | HeadLayout::PositionMajor => (dim, heads * dim),
            HeadLayout::HeadMajor => (positions * dim, dim),
        };
        HeadStrides { start: 0, batch: heads * positions * dim, head, position }
    }
}

/// The vectors of an operand.
pub(super) struct HeadVectors<'a> {
    pub(super) operand: Operand<usize>,
    /// How they lie in `elements`.
    pub(super) strides: HeadStrides,
    pub(super) elements: &'a [f32],
}

impl<'a> HeadVectors<'a> {
    /// Of an operand that is a tensor in that layout, or columns of one.
    pub(super) fn of(
        tensor: &'a Tensor,
        layout: HeadLayout,
        columns: Option<Columns>,
        heads: usize,
    ) -> TractResult<HeadVectors<'a>> {
        let operand = layout.operand(&operand_shape(columns, tensor.shape())?, heads)?;
        let strides = layout.strides(&operand);
        let strides = columns.map_or(strides, |columns| columns.within(tensor.shape(), strides));
        Ok(HeadVectors { operand, strides, elements: f32_slice(tensor)? })
    }

    /// From the first vector of a head on; `place` counts the heads of all sequences.
    pub(super) fn head(&self, place: usize) -> &'a [f32] {
        let (batch, head) = (place / self.operand.heads, place % self.operand.heads);
        let HeadStrides { start, batch: sequence, head: vectors, .. } = self.strides;
        self.elements.get(start + batch * sequence + head * vectors..).unwrap_or_default()
    }

    /// Copies the vectors of a head, which lie without gaps in `out`.
    pub(super) fn copy_head(&self, place: usize, out: &mut [f32]) {
        let Operand { positions, dim, .. } = self.operand;
        let vectors = self.head(place);
        for position in 0..positions {
            out[position * dim..][..dim].copy_from_slice(&vectors[position * self.strides.position..][..dim]);
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Factor on the scores; 1 / √head_dim where there is none.
    pub scale: Option<f32>,
    /// Bound on the scaled scores' size; 0 for none.
    pub softcap: f32,
    /// Which keys a query sees, by position.
    pub window: Window,
    /// Layout of the query.
    pub query: HeadLayout,
    /// Layout of the key.
    pub key: HeadLayout,
    /// Layout of the value.
    pub value: HeadLayout,
    /// Where packed queries, keys and values are columns of their inputs.
    pub columns: [Option<Columns>; 3],
    /// Layout of the output.
    pub output: HeadLayout,
    /// Whether there is a mask.
    pub mask: bool,
    /// Whether there are first positions.
    pub first_positions: bool,
    /// Whether there are key lengths.
    pub key_lengths: bool,
    /// Whether there are sinks.
    pub sinks: bool,
    /// The stage of the scores that is the second output, where there is one.
    pub scores: Option<ScoreStage>,
    /// What a query gets whose every key is masked with minus infinity: zeros if set, NaN if not.
    pub zero_when_all_masked: bool,
    /// What stands in the place of scale, cap, mask and softmax; nothing if empty.
    pub steps: Vec<ScoreStep>,
}

impl Eq for Attention {}

impl Attention {
    /// With all operands in one layout, and without anything optional.
    pub fn new(heads: usize, kv_heads: usize, scale: Option<f32>, layout: HeadLayout) -> Attention {
        Attention {
            heads,
            kv_heads,
            scale,
            softcap: 0.0,
            window: Window::default(),
            query: layout,
            key: layout,
            value: layout,
            columns: [None; 3],
            output: layout,
            mask: false,
            first_positions: false,
            key_lengths: false,
            sinks: false,
            scores: None,
            zero_when_all_masked: false,
            steps: vec![],
        }
    }

    /// Number of inputs.
    fn arity(&self) -> usize {
        let optional = [self.mask, self.first_positions, self.key_lengths, self.sinks];
        3 + self.masks_of_steps() + optional.map(usize::from).iter().sum::<usize>()
    }

    /// Number of masks that steps read.
    fn masks_of_steps(&self) -> usize {
        self.steps.iter().filter(|step| step.reads_mask()).count()
    }

    /// Layouts of query, key and value.
    pub fn layouts(&self) -> [HeadLayout; 3] {
        [self.query, self.key, self.value]
    }

    /// The sizes of query, key or value, the `at`th operand, in an input of this shape.
    fn operand<D: DimLike>(&self, at: usize, shape: &[D]) -> TractResult<Operand<D>> {
        let (layout, heads) = (self.layouts()[at], [self.heads, self.kv_heads, self.kv_heads][at]);
        match self.columns[at] {
            Some(columns) => layout.operand(&columns.shape(shape)?, heads),
            None => layout.operand(shape, heads),
        }
    }

    /// Where the `at`th operand lies in an input of this shape.
    fn strides(&self, at: usize, operand: &Operand<usize>, shape: &[usize]) -> HeadStrides {
        let strides = self.layouts()[at].strides(operand);
        self.columns[at].map_or(strides, |columns| columns.within(shape, strides))
    }

    /// The geometry of a call on operands of these shapes, and the output's shape.
    ///
    /// # Errors
    /// When the shapes do not fit each other.
    pub fn call(&self, shapes: &[&[usize]]) -> TractResult<(AttentionCall, TVec<usize>)> {
        let query = self.operand(0, shapes[0])?;
        let key = self.operand(1, shapes[1])?;
        let value = self.operand(2, shapes[2])?;
        ensure!(
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads),
            "{} heads cannot share {} key/value heads",
            self.heads,
            self.kv_heads
        );
        let fits = query.batch == key.batch
            && key.batch == value.batch
            && (query.heads, key.heads, value.heads) == (self.heads, self.kv_heads, self.kv_heads)
            && query.dim == key.dim
            && key.positions == value.positions;
        ensure!(fits, "operands of Attention do not fit each other: {shapes:?}");
        let shape = AttentionShape {
            batch: query.batch,
            heads: self.heads,
            kv_heads: self.kv_heads,
            queries: query.positions,
            keys: key.positions,
            head_dim: query.dim,
            value_dim: value.dim,
        };
        let mask = self.mask.then(|| mask_strides(shapes[3], &shape)).transpose()?;
        let output = Operand { batch: query.batch, heads: self.heads, positions: query.positions, dim: value.dim };
        let call = AttentionCall {
            shape,
            scale: self.scale.unwrap_or_else(|| 1.0 / (query.dim as f32).sqrt()),
            softcap: self.softcap,
            window: self.window,
            sequences: self.first_positions || self.key_lengths,
            sinks: self.sinks,
            query: self.strides(0, &query, shapes[0]),
            key: self.strides(1, &key, shapes[1]),
            value: self.strides(2, &value, shapes[2]),
            output: self.output.strides(&output),
            mask,
            zero_when_all_masked: self.zero_when_all_masked,
        };
        Ok((call, self.output.shape(output)))
    }
}

fn mask_strides(mask: &[usize], shape: &AttentionShape) -> TractResult<MaskStrides> {
    let target = [shape.batch, shape.heads, shape.queries, shape.keys];
    ensure!(mask.len() <= 4, "the mask of Attention has rank 4 at most, not {mask:?}");
    let mut strides = [0; 4];
    let mut stride = 1;
    for (axis, dim) in mask.iter().enumerate().rev() {
        let axis = axis + 4 - mask.len();
        ensure!(*dim == 1 || *dim == target[axis], "a mask of {mask:?} does not broadcast to {target:?}");
        if *dim != 1 {
            strides[axis] = stride;
        }
        stride *= dim;
    }
    let [batch, head, query, key] = strides;
    Ok(MaskStrides { batch, head, query, key })
}

fn step_masks<'a>(masks: &'a [TValue], shape: &AttentionShape) -> TractResult<Vec<StepMask<'a>>> {
    let mask =
        |mask: &'a TValue| Ok(StepMask { elements: f32_slice(mask)?, strides: mask_strides(mask.shape(), shape)? });
    masks.iter().map(mask).collect()
}

/// Where the queries of each sequence stand.
///
/// `padded`: see [`Sequence`].
fn sequences(
    shape: &AttentionShape,
    first_positions: Option<&[i64]>,
    key_lengths: Option<&[i64]>,
    padded: bool,
) -> TractResult<Vec<Sequence>> {
    let AttentionShape { batch, keys, .. } = *shape;
    ensure!(
        first_positions.is_none_or(|positions| [1, batch].contains(&positions.len())),
        "a first position is needed for each of {batch} sequences, or one for all"
    );
    ensure!(
        key_lengths.is_none_or(|lengths| lengths.len() == batch),
        "a number of keys is needed for each of {batch} sequences"
    );
    let sequence = |batch: usize| {
        let length = key_lengths.map_or(keys as i64, |lengths| lengths[batch]);
        ensure!((0..=keys as i64).contains(&length), "sequence {batch} cannot have {length} keys, there are {keys}");
        let first_position = first_positions.map_or(0, |positions| positions[batch % positions.len()]);
        Ok(Sequence { first_position, keys: length as usize, padded })
    };
    (0..batch).map(sequence).collect()
}

/// Keys or values, side by side or in a cache.
enum Rows<'a> {
    Plain(&'a [f32]),
    Cached(CacheRows<'a>),
}

impl<'a> Rows<'a> {
    /// Those of a tensor; in a cache there is room behind each head's, which changes the strides.
    fn of(tensor: &'a Tensor, layout: HeadLayout, strides: &mut HeadStrides) -> TractResult<Rows<'a>> {
        let cache = CacheStorage::of(tensor).filter(|_| layout == HeadLayout::HeadMajor);
        let Some(cache) = cache else { return Ok(Rows::Plain(f32_slice(tensor)?)) };
        let rows = cache.read();
        strides.head = rows.capacity * strides.position;
        strides.batch = tensor.shape()[1] * strides.head;
        Ok(Rows::Cached(rows))
    }

    fn elements(&self) -> &[f32] {
        match self {
            Rows::Plain(elements) => elements,
            Rows::Cached(rows) => rows.elements(),
        }
    }
}

impl Op for Attention {
    fn name(&self) -> StaticName {
        "Attention".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let Attention { heads, kv_heads, scale, softcap, window, mask, sinks, .. } = self;
        let mut info = format!("{heads} heads, {kv_heads} kv heads");
        if let Some(scale) = scale {
            info += &format!(", scale {scale}");
        }
        if *softcap != 0.0 {
            info += &format!(", softcap {softcap}");
        }
        if let Some(keys) = window.left {
            info += &format!(", {keys} keys before");
        }
        if let Some(keys) = window.right {
            info += &format!(", {keys} keys after");
        }
        for (present, what) in
            [(*mask, ", mask"), (*sinks, ", sinks"), (!self.steps.is_empty(), ", rounded at each step")]
        {
            info += if present { what } else { "" };
        }
        Ok(vec![info])
    }

    op_as_typed_op!();
}

impl EvalOp for Attention {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shapes: TVec<&[usize]> = inputs.iter().map(|input| input.shape()).collect();
        let (mut call, output_shape) = self.call(&shapes)?;
        let key = Rows::of(&inputs[1], self.key, &mut call.key)?;
        let value = Rows::of(&inputs[2], self.value, &mut call.value)?;
        let mut optional = inputs[3..].iter();
        let mut next = |present: bool| if present { optional.next() } else { None };
        let mask = next(self.mask).map(|mask| f32_slice(mask)).transpose()?;
        let first_positions = next(self.first_positions).map(|positions| i64_slice(positions)).transpose()?;
        let key_lengths = next(self.key_lengths).map(|lengths| i64_slice(lengths)).transpose()?;
        let sinks = next(self.sinks).map(|sinks| f32_slice(sinks)).transpose()?;
        ensure!(
            sinks.is_none_or(|sinks| sinks.len() == self.heads),
            "a sink is needed for each of {} heads",
            self.heads
        );
        // What ONNX Runtime 1.32 gives the padding of a first prompt depends on which of its kernels takes the call.
        let padded = self.key_lengths && (self.softcap != 0.0 || self.sinks);
        let sequences = sequences(&call.shape, first_positions, key_lengths, padded)?;
        let operands = AttentionOperands {
            query: f32_slice(&inputs[0])?,
            key: key.elements(),
            value: value.elements(),
            mask,
            sequences: call.sequences.then_some(&*sequences),
            sinks,
        };
        let mut outputs = tvec!();
        let output = written(&output_shape, |out| {
            if self.steps.is_empty() {
                attention(&call, &operands, out);
            } else {
                attention_by_steps(&call, &operands, &self.steps, &step_masks(&inputs[3..], &call.shape)?, out);
            }
            Ok(())
        })?;
        outputs.push(output);
        if let Some(stage) = self.scores {
            let AttentionShape { batch, heads, queries, keys, .. } = call.shape;
            let scores = written(&[batch, heads, queries, keys], |out| {
                attention_scores(&call, &operands, stage, out);
                Ok(())
            })?;
            outputs.push(scores);
        }
        Ok(outputs)
    }
}

impl TypedOp for Attention {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == self.arity(), "Attention takes {} inputs", self.arity());
        let float = f32::datum_type();
        ensure!(inputs[..3].iter().all(|input| input.datum_type == float), "Attention takes float32");
        let floats = vec![(true, float); self.masks_of_steps()];
        ensure!(
            floats.is_empty() || inputs.len() == 3 + floats.len(),
            "steps stand in the place of everything optional"
        );
        let optional = [(self.mask, float), (self.first_positions, i64::datum_type())]
            .into_iter()
            .chain([(self.key_lengths, i64::datum_type()), (self.sinks, float)])
            .chain(floats);
        for (input, (_, expected)) in inputs[3..].iter().zip(optional.filter(|(present, _)| *present)) {
            ensure!(input.datum_type == expected, "an optional input of Attention is no {expected:?}");
        }
        let query = self.operand(0, &inputs[0].shape.to_tvec())?;
        let key = self.operand(1, &inputs[1].shape.to_tvec())?;
        let value = self.operand(2, &inputs[2].shape.to_tvec())?;
        let scores = [query.batch.clone(), self.heads.to_dim(), query.positions.clone(), key.positions];
        let output =
            Operand { batch: query.batch, heads: self.heads.to_dim(), positions: query.positions, dim: value.dim };
        let mut facts = tvec!(f32::fact(self.output.shape(output)));
        facts.extend(self.scores.map(|_| f32::fact(scores)));
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn layouts_and_masks() {
        struct Case {
            what: &'static str,
            layout: HeadLayout,
            value: &'static [f32],
            mask: Option<(&'static [usize], &'static [f32])>,
            expected: Option<&'static [f32]>,
        }
        const INF: f32 = f32::INFINITY;
        // Two heads of one dimension, one query, two keys; equal scores, so that the answer is the mean of what is left.
        let cases = [
            Case {
                what: "packed, [key][head]",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: None,
                expected: Some(&[2., 20.]),
            },
            Case {
                what: "head major, [head][key]",
                layout: HeadLayout::HeadMajor,
                value: &[1., 10., 3., 30.],
                mask: None,
                expected: Some(&[5.5, 16.5]),
            },
            Case {
                what: "mask on the second key",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: Some((&[1, 1, 1, 2], &[0., -INF])),
                expected: Some(&[1., 10.]),
            },
            Case {
                what: "mask by head",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: Some((&[2, 1, 2], &[0., -INF, -INF, 0.])),
                expected: Some(&[1., 30.]),
            },
            Case {
                what: "all masked",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: Some((&[1, 2], &[-INF, -INF])),
                expected: Some(&[0., 0.]),
            },
            Case {
                what: "mask of a wrong shape",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: Some((&[1, 3], &[0.; 3])),
                expected: None,
            },
        ];
        for case in cases {
            let operator = Attention {
                output: HeadLayout::Packed,
                mask: case.mask.is_some(),
                zero_when_all_masked: true,
                ..Attention::new(2, 2, Some(1.0), case.layout)
            };
            let packed = case.layout == HeadLayout::Packed;
            let shape = |positions| if packed { vec![1, positions, 2] } else { vec![1, 2, positions, 1] };
            let mut inputs =
                vec![tensor(&shape(1), &[0., 0.]), tensor(&shape(2), &[1., 2., 3., 4.]), tensor(&shape(2), case.value)];
            inputs.extend(case.mask.map(|(shape, values)| tensor(shape, values)));
            match (evaluate(&operator, &inputs), case.expected) {
                (Ok(output), Some(expected)) => assert_close(case.what, &output, &[1, 1, 2], expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{}", case.what),
            }
        }
    }

    #[test]
    fn operands_in_one_tensor() {
        let columns = |first, count| Some(Columns { first, count });
        struct Case {
            what: &'static str,
            columns: [Option<Columns>; 3],
            layout: HeadLayout,
            fits: bool,
        }
        let whole = [columns(0, 2), columns(2, 2), columns(4, 2)];
        let case = |what, columns, layout, fits| Case { what, columns, layout, fits };
        let cases = [
            case("side by side", whole, HeadLayout::Packed, true),
            case("beyond the end", [columns(0, 2), columns(2, 2), columns(5, 2)], HeadLayout::Packed, false),
            case("of other sizes", [columns(0, 2), columns(2, 4), columns(4, 2)], HeadLayout::Packed, false),
            case("not packed", whole, HeadLayout::PositionMajor, false),
        ];
        // Two heads of one dimension, two positions; equal scores, so that the answer is the mean of the values.
        let inputs = [(); 3].map(|()| tensor(&[1, 2, 6], &[0., 0., 1., 2., 1., 10., 0., 0., 3., 4., 3., 30.]));
        let empty = [(); 3].map(|()| tensor(&[0, 2, 6], &[]));
        for case in cases {
            let operator = Attention { columns: case.columns, ..Attention::new(2, 2, Some(1.0), case.layout) };
            match evaluate(&operator, &inputs) {
                Ok(output) if case.fits => assert_close(case.what, &output, &[1, 2, 2], &[2., 20., 2., 20.]),
                result => assert_eq!(result.is_ok(), case.fits, "{}", case.what),
            }
            assert_eq!(evaluate(&operator, &empty).is_ok(), case.fits, "{}, of no sequence", case.what);
        }
    }
}
