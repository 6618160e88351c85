//! Matrix products of 8-bit integers, exact, and what commonly follows them.
#![allow(unsafe_code)]

use super::activation::Activation;
use super::block_weights::BlockWeights;
use super::byte_products::{Block, ByteProducts, Multiplication, Way, halved, has_large_pair, has_least_pair};
use super::finish::{Finish, Joined};
use super::integer_panel::{
    BLOCKS, Extras, LeftTiles, MOST_ROWS, PANEL, Panel, PanelRows, PanelSums, TileSums, Written, multiply_panel,
    tile_rows,
};
use super::narrow_panel::{self, LEAST_ROWS, LeftBytes, PanelGroups, ZERO_POINTS};
use super::packed::{Packed, Parts, misfit, take};
use super::parallel::{SharedOutput, for_each};
use super::quantize::{Quantization, Quantizer, STEP, quantize};
use super::simd::F32x4;
use super::simd::bytes::I32x4;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::array::from_fn;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Rows that go through all weights together: few enough to stay in the second-level cache, and whole tiles of every size.
const ROW_BLOCK: usize = 180;

/// Fours of rows behind the first tile from which on it pays that this one goes through a task's weights ahead of them.
const LATER_FOURS: usize = 1 << 10;

/// Multiply-adds that take as long as to quantise an element.
const QUANTISING_WORK: usize = 32;

/// Columns that one task computes.
const COLUMN_BLOCK: usize = 6 * PANEL;

/// The part of all blocks, one in so many, that may have extras: multiplying these, too, then still takes less than products that need
/// none.
const MOST_EXTRAS: usize = 3;

/// The matrix `[inputs, outputs]` of 8-bit integers less their zero points, packed for the kernel.
#[derive(Clone, PartialEq)]
pub struct IntegerWeights {
    inputs: usize,
    outputs: usize,
    /// The integers, as many fours of rows a panel as [`IntegerWeights::fours`] says. What fills up a panel is 0.
    panels: Vec<PanelRows>,
    /// Whether some block has a least pair.
    has_least_pair: bool,
    /// Whether some block has a large pair.
    has_large_pair: bool,
    /// What is to be added to blocks, so that these have no large pair.
    extras: AllExtras,
    /// A panel's sums over the rows of integers less their zero points.
    sums: Vec<PanelOf<i32>>,
    /// A panel's zero points; nothing where all are 0.
    zero_points: Vec<PanelOf<i32>>,
    /// Of each panel; found when they are first needed.
    groups: OnceLock<Vec<PanelGroups>>,
}

/// [`Extras`] of all panels.
#[derive(Clone, PartialEq, Default)]
struct AllExtras {
    /// The number of them up to each four columns, and with it; nothing where there are none.
    ends: Vec<u32>,
    fours: Vec<u32>,
    blocks: Vec<Block>,
}

impl AllExtras {
    /// Takes what is too large from the blocks of panels of so many fours of rows each.
    fn split_from(panels: &mut [PanelRows], panel_fours: usize) -> AllExtras {
        let mut extras = AllExtras::default();
        for panel in panels.chunks_exact_mut(panel_fours) {
            for column in 0..BLOCKS {
                for (four, rows) in panel.iter_mut().enumerate() {
                    if has_large_pair(&rows[column]) {
                        let [half, extra] = halved(&rows[column]);
                        rows[column] = half;
                        extras.fours.push(four as u32);
                        extras.blocks.push(extra);
                    }
                }
                extras.ends.push(extras.fours.len() as u32);
            }
        }
        if extras.fours.is_empty() { AllExtras::default() } else { extras }
    }

    /// Those of each four columns, from the first ones on.
    fn joined<'a>(columns: impl Iterator<Item = Extras<'a>>) -> AllExtras {
        let mut all = AllExtras::default();
        for Extras { fours, blocks } in columns {
            all.fours.extend(fours);
            all.blocks.extend(blocks);
            all.ends.push(all.fours.len() as u32);
        }
        if all.fours.is_empty() {
            return AllExtras::default();
        }
        // Columns that fill up the last panel have none.
        all.ends.resize(all.ends.len().next_multiple_of(BLOCKS), all.fours.len() as u32);
        all
    }

    /// Reads so many of so many panels, which have so many fours of rows each.
    fn read(parts: &mut dyn Parts, panels: usize, panel_fours: usize, count: usize) -> Result<AllExtras> {
        let ends: Vec<u32> = take(parts, panels.checked_mul(BLOCKS))?;
        let (fours, blocks): (Vec<u32>, _) = (take(parts, Some(count))?, take(parts, Some(count))?);
        let is_whole = ends.is_sorted() && ends.last().is_some_and(|end| *end as usize == count);
        if !is_whole || fours.iter().any(|four| *four as usize >= panel_fours) {
            return Err(misfit("extras of columns or rows that are not there".into()));
        }
        Ok(AllExtras { ends, fours, blocks })
    }

    /// Those of some four columns of a panel.
    fn of(&self, panel: usize, block: usize) -> Extras<'_> {
        let index = panel * BLOCKS + block;
        let Some(end) = self.ends.get(index) else { return Extras::default() };
        let own = if index == 0 { 0 } else { self.ends[index - 1] as usize }..*end as usize;
        Extras { fours: &self.fours[own.clone()], blocks: &self.blocks[own] }
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.ends) + size_of_val(&*self.fours) + size_of_val(&*self.blocks)
    }
}

/// One element for each column of a panel.
type PanelOf<T> = [[T; 4]; BLOCKS];

impl IntegerWeights {
    /// Packs weights: element `[k, n]` is `q[k * outputs + n]`. There is one zero point, one for each output, or none, which
    /// means 0. Unsigned integers come with 128 subtracted, and their zero points likewise.
    ///
    /// # Errors
    /// `InvalidModel` when the number of zero points does not fit.
    ///
    /// # Panics
    /// When `q` is not `[inputs, outputs]`.
    pub fn new(q: &[i8], inputs: usize, outputs: usize, zero_points: &[i8]) -> Result<IntegerWeights> {
        assert_eq!(Some(q.len()), inputs.checked_mul(outputs), "q is [inputs, outputs]");
        let count = zero_points.len();
        if count > 1 && count != outputs {
            return Err(Error::invalid_model(format!("{count} zero points where 1 or {outputs} are expected"))
                .remedy("export or quantise the model again"));
        }
        let zero_point = |column: usize| match zero_points {
            [] => 0,
            [one] => i32::from(*one),
            each => each.get(column).copied().map_or(0, i32::from),
        };
        let panel_count = outputs.div_ceil(PANEL);
        let mut weights = IntegerWeights {
            inputs,
            outputs,
            panels: Vec::with_capacity(panel_count * inputs.div_ceil(4).max(1)),
            has_least_pair: false,
            has_large_pair: false,
            extras: AllExtras::default(),
            sums: Vec::with_capacity(panel_count),
            zero_points: Vec::new(),
            groups: OnceLock::new(),
        };
        for first in (0..outputs).step_by(PANEL) {
            let sums = weights.pack_panel(q, first);
            let zero_points = of_columns(|column| zero_point(first + column));
            weights.sums.push(of_columns(|column| {
                sums[column].wrapping_sub((inputs as i32).wrapping_mul(zero_point(first + column)))
            }));
            weights.zero_points.push(zero_points);
        }
        if zero_points.iter().all(|zero_point| *zero_point == 0) {
            weights.zero_points.clear();
        }
        weights.has_least_pair = weights.panels.as_flattened().iter().any(has_least_pair);
        weights.has_large_pair = weights.panels.as_flattened().iter().any(has_large_pair);
        let splits = Way::of_this_machine() == Way::BoundedQuads && weights.few_are_large();
        Ok(if splits { weights.without_large_pairs() } else { weights })
    }

    /// Whether so few blocks have large pairs that keeping these apart costs less than it saves.
    fn few_are_large(&self) -> bool {
        let blocks = self.panels.as_flattened();
        blocks.iter().filter(|block| has_large_pair(block)).count() <= blocks.len() / MOST_EXTRAS
    }

    /// The same, with what is too large in large pairs kept apart.
    fn without_large_pairs(mut self) -> IntegerWeights {
        if self.has_large_pair {
            let fours = self.fours();
            self.extras = AllExtras::split_from(&mut self.panels, fours);
            self.has_large_pair = false;
        }
        self
    }

    /// A panel.
    fn panel(&self, panel: usize) -> Panel<'_> {
        let fours = self.fours();
        let extras = from_fn(|block| self.extras.of(panel, block));
        Panel { rows: &self.panels[panel * fours..][..fours], extras }
    }

    fn groups(&self) -> &[PanelGroups] {
        self.groups.get_or_init(|| self.panels.chunks_exact(self.fours()).map(PanelGroups::new).collect())
    }

    /// Weights with a multiple of so many outputs can have others [joined](IntegerWeights::joined) behind them.
    pub const WHOLE_OUTPUTS: usize = 4;

    /// Weights side by side.
    ///
    /// # Panics
    /// When there are none, their inputs differ, or the outputs of some but the last are no multiple of
    /// [`IntegerWeights::WHOLE_OUTPUTS`].
    pub fn joined(parts: &[&IntegerWeights]) -> IntegerWeights {
        let inputs = parts[0].inputs;
        let fits = |part: &&IntegerWeights| part.outputs.is_multiple_of(IntegerWeights::WHOLE_OUTPUTS);
        assert!(parts[..parts.len() - 1].iter().all(fits), "others can be joined behind the weights");
        assert!(parts.iter().all(|part| part.inputs == inputs), "weights that are joined have the same inputs");
        let columns: Vec<FourColumns> = parts.iter().flat_map(|part| part.columns()).collect();
        let fours = parts[0].fours();
        let mut joined = IntegerWeights {
            inputs,
            outputs: parts.iter().map(|part| part.outputs).sum(),
            panels: Vec::with_capacity(columns.len().div_ceil(BLOCKS) * fours),
            has_least_pair: parts.iter().any(|part| part.has_least_pair),
            has_large_pair: parts.iter().any(|part| part.has_large_pair),
            extras: AllExtras::joined(columns.iter().map(FourColumns::extras)),
            sums: Vec::new(),
            zero_points: Vec::new(),
            groups: OnceLock::new(),
        };
        let has_zero_points = parts.iter().any(|part| !part.zero_points.is_empty());
        for columns in columns.chunks(BLOCKS) {
            joined.panels.extend((0..fours).map(|four| panel_of_blocks(columns, |columns| columns.rows(four))));
            joined.sums.push(panel_of_blocks(columns, |columns| columns.sums()));
            if has_zero_points {
                joined.zero_points.push(panel_of_blocks(columns, |columns| columns.zero_points()));
            }
        }
        joined
    }

    /// Its blocks, the last of which may have fewer columns.
    fn columns(&self) -> impl Iterator<Item = FourColumns<'_>> {
        let blocks = 0..self.outputs.div_ceil(4);
        blocks.map(|block| FourColumns { weights: self, panel: block / BLOCKS, block: block % BLOCKS })
    }

    /// Packs the panel that begins with column `first`. Gives the sums of its columns.
    fn pack_panel(&mut self, q: &[i8], first: usize) -> [i32; PANEL] {
        let columns = PANEL.min(self.outputs - first);
        let mut sums = [0i32; PANEL];
        for k in (0..4 * self.fours()).step_by(4) {
            let mut rows = [[0; PANEL]; 4];
            for (row, elements) in rows.iter_mut().zip(q[k * self.outputs..].chunks(self.outputs)) {
                match elements[first..].first_chunk() {
                    Some(whole) => *row = *whole,
                    None => row[..columns].copy_from_slice(&elements[first..]),
                }
            }
            for (column, sum) in sums.iter_mut().enumerate() {
                *sum = rows.iter().fold(*sum, |sum, row| sum.wrapping_add(i32::from(row[column])));
            }
            let block = |block: usize| from_fn(|at| rows[at % 4][4 * block + at / 4]);
            self.panels.push(from_fn(block));
        }
        sums
    }

    /// Fours of rows, at least one.
    fn fours(&self) -> usize {
        self.inputs.div_ceil(4).max(1)
    }

    /// Rows of the matrix.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Columns of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes that the weights take.
    pub fn bytes(&self) -> usize {
        let panels = size_of_val(&*self.panels) + size_of_val(&*self.sums) + size_of_val(&*self.zero_points);
        panels + self.extras.bytes()
    }
}

/// A block of a panel.
#[derive(Clone, Copy)]
struct FourColumns<'a> {
    weights: &'a IntegerWeights,
    panel: usize,
    block: usize,
}

impl FourColumns<'_> {
    fn rows(&self, four: usize) -> Block {
        self.weights.panels[self.panel * self.weights.fours() + four][self.block]
    }

    fn extras(&self) -> Extras<'_> {
        self.weights.extras.of(self.panel, self.block)
    }

    fn sums(&self) -> [i32; 4] {
        self.weights.sums[self.panel][self.block]
    }

    fn zero_points(&self) -> [i32; 4] {
        self.weights.zero_points.get(self.panel).map_or([0; 4], |zero_points| zero_points[self.block])
    }
}

/// What the blocks have that make a panel, and zeros for those that fill it up.
fn panel_of_blocks<T: Default>(blocks: &[FourColumns<'_>], of: impl Fn(&FourColumns<'_>) -> T) -> [T; BLOCKS] {
    from_fn(|block| blocks.get(block).map(&of).unwrap_or_default())
}

/// What is stored of [`IntegerWeights`] beside their elements.
#[derive(Serialize, Deserialize)]
pub struct IntegerForm {
    inputs: usize,
    outputs: usize,
    has_least_pair: bool,
    has_large_pair: bool,
    has_zero_points: bool,
    extras: usize,
}

impl Packed for IntegerWeights {
    type Form = IntegerForm;

    fn form(&self) -> IntegerForm {
        let IntegerWeights { inputs, outputs, has_least_pair, has_large_pair, .. } = *self;
        let (has_zero_points, extras) = (!self.zero_points.is_empty(), self.extras.fours.len());
        IntegerForm { inputs, outputs, has_least_pair, has_large_pair, has_zero_points, extras }
    }

    fn parts(&self) -> Vec<&[u8]> {
        let AllExtras { ends, fours, blocks } = &self.extras;
        let extras = [bytemuck::cast_slice(ends), bytemuck::cast_slice(fours), bytemuck::cast_slice(blocks)];
        let zero_points = bytemuck::cast_slice(&self.zero_points);
        let optional = [zero_points].into_iter().chain(extras).filter(|part: &&[u8]| !part.is_empty());
        [bytemuck::cast_slice(&self.panels), bytemuck::cast_slice(&self.sums)].into_iter().chain(optional).collect()
    }

    fn from_parts(form: IntegerForm, _: Option<Arc<BlockWeights>>, parts: &mut dyn Parts) -> Result<IntegerWeights> {
        let IntegerForm { inputs, outputs, has_least_pair, has_large_pair, has_zero_points, extras: extra_count } =
            form;
        let panel_count = outputs.div_ceil(PANEL);
        let rows = panel_count.checked_mul(inputs.div_ceil(4).max(1));
        let (panels, sums) = (take(parts, rows)?, take(parts, Some(panel_count))?);
        let zero_points = if has_zero_points { take(parts, Some(panel_count))? } else { vec![] };
        let extras = match extra_count {
            0 => AllExtras::default(),
            count => AllExtras::read(parts, panel_count, inputs.div_ceil(4).max(1), count)?,
        };
        let groups = OnceLock::new();
        Ok(IntegerWeights {
            inputs,
            outputs,
            panels,
            has_least_pair,
            has_large_pair,
            extras,
            sums,
            zero_points,
            groups,
        })
    }
}

fn of_columns(element: impl Fn(usize) -> i32) -> PanelOf<i32> {
    from_fn(|block| from_fn(|lane| element(4 * block + lane)))
}

/// 8-bit integers.
#[derive(Debug, Clone, Copy)]
pub enum Bytes<'a> {
    /// int8
    Signed(&'a [i8]),
    /// uint8
    Unsigned(&'a [u8]),
}

impl Bytes<'_> {
    /// Those in a range.
    ///
    /// # Panics
    /// When they are not all there.
    pub fn part(self, range: Range<usize>) -> Self {
        match self {
            Bytes::Signed(values) => Bytes::Signed(&values[range]),
            Bytes::Unsigned(values) => Bytes::Unsigned(&values[range]),
        }
    }

    fn len(self) -> usize {
        match self {
            Bytes::Signed(values) => values.len(),
            Bytes::Unsigned(values) => values.len(),
        }
    }
}

/// The elements of a left-hand matrix.
#[derive(Debug, Clone, Copy)]
pub enum LeftValues<'a> {
    /// 8-bit integers.
    Integers(Bytes<'a>),
    /// Numbers, and what stands for them: they become uint8 as [`dynamic_quantize`](super::quantize::dynamic_quantize) makes them, on the
    /// way to the product.
    Numbers(&'a [f32], Quantization),
}

impl<'a> From<Bytes<'a>> for LeftValues<'a> {
    fn from(bytes: Bytes<'a>) -> LeftValues<'a> {
        LeftValues::Integers(bytes)
    }
}

impl LeftValues<'_> {
    fn len(self) -> usize {
        match self {
            LeftValues::Integers(values) => values.len(),
            LeftValues::Numbers(values, _) => values.len(),
        }
    }
}

/// A left-hand matrix of 8-bit integers, `[rows, inputs]`, row-major.
#[derive(Debug, Clone, Copy)]
pub struct IntegerRows<'a> {
    /// The integers, or what becomes integers.
    pub values: LeftValues<'a>,
    /// Rows of the matrix.
    pub rows: usize,
    /// What is subtracted from the integers: one number, or one for each row.
    pub zero_points: &'a [i32],
}

/// What becomes of the sums of a product.
#[derive(Debug, Clone, Copy)]
pub struct Dequantisation<'a> {
    /// `[outputs]`.
    pub scales: &'a [f32],
    /// `[outputs]`.
    pub bias: Option<&'a [f32]>,
    /// Applied after the bias.
    pub activation: Activation,
    /// Joined after the activation.
    pub joined: Option<Joined<'a>>,
}

/// `out[r, n] = Σ_k (x[r, k] - zero_point) · w[k, n]`, with `out` `[rows, outputs]`, row-major. Sums wrap.
///
/// # Panics
/// When a length does not fit.
pub fn integer_linear(x: IntegerRows<'_>, weights: &IntegerWeights, out: &mut [i32]) {
    integer_linear_by::<false>(Way::of_this_machine(), x, weights, out);
}

fn integer_linear_by<const IN_TILES: bool>(way: Way, x: IntegerRows<'_>, weights: &IntegerWeights, out: &mut [i32]) {
    let write = |_: usize| {
        |sums: &PanelSums, out: &mut [i32; PANEL]| {
            out.as_chunks_mut().0.iter_mut().zip(sums).for_each(|(out, sums)| sums.store(out));
        }
    };
    let finish = None::<fn(usize, usize, &mut [i32])>;
    let product = Product::<_, _, _, IN_TILES> { x, weights, out, write, finish };
    way.for_weights(weights.has_least_pair, weights.has_large_pair).run(product);
}

/// `out[r, n] = activation(f32(Σ_k (x[r, k] - zero_point) · w[k, n]) · scales[n] + bias[n])`, joined with an operand, with `out`
/// `[rows, outputs]`, row-major. Each operation rounds, on every machine: the results are the same everywhere.
///
/// # Panics
/// When a length does not fit.
pub fn quantized_linear(x: IntegerRows<'_>, weights: &IntegerWeights, then: Dequantisation<'_>, out: &mut [f32]) {
    let Dequantisation { scales, bias, activation, joined } = then;
    let outputs = weights.outputs;
    assert_eq!(scales.len(), outputs, "scales are [outputs]");
    assert!(bias.is_none_or(|bias| bias.len() == outputs), "bias is [outputs]");
    assert!(joined.is_none_or(|joined| joined.values.len() == out.len()), "the joined operand is [rows, outputs]");
    let write = |first_column: usize| {
        let scales = panel_of(scales, first_column);
        // Whatever -0 is added to stays as it is.
        let bias = bias.map_or([F32x4::splat(-0.0); BLOCKS], |bias| panel_of(bias, first_column));
        move |sums: &PanelSums, out: &mut [f32; PANEL]| {
            let scaled = |block: usize| sums[block].to_f32() * scales[block] + bias[block];
            out.as_chunks_mut().0.iter_mut().enumerate().for_each(|(block, out)| scaled(block).store(out));
        }
    };
    let rest = Finish { bias: None, activation, joined };
    let finish = |row: usize, column: usize, out: &mut [f32]| rest.apply(out, column, row * outputs + column);
    let finish = (!rest.is_nothing()).then_some(finish);
    let product = Product::<_, _, _, true> { x, weights, out, write, finish };
    Way::of_this_machine().for_weights(weights.has_least_pair, weights.has_large_pair).run(product);
}

/// The elements of the columns of a panel, from the given one on; zeros beyond the last.
fn panel_of(values: &[f32], first_column: usize) -> [F32x4; BLOCKS] {
    from_fn(|block| {
        let values = values.get(first_column + 4 * block..).unwrap_or_default();
        values.first_chunk().map_or_else(|| F32x4::load_partial(values), F32x4::load)
    })
}

/// A product under way. `IN_TILES` says whether tiles write whole panels' rows themselves, which is faster and takes more code.
struct Product<'a, T, Write, FinishRow, const IN_TILES: bool> {
    x: IntegerRows<'a>,
    weights: &'a IntegerWeights,
    /// `[rows, outputs]`.
    out: &'a mut [T],
    /// Given the first column of a panel, gives what writes the sums of a row's part in it.
    write: Write,
    /// Called with row, first column and elements of a part of a row, once these are written, if there is something to do.
    finish: Option<FinishRow>,
}

impl<T, Write, WriteSums, FinishRow, const IN_TILES: bool> Multiplication for Product<'_, T, Write, FinishRow, IN_TILES>
where
    T: Copy + Default + Send,
    Write: Fn(usize) -> WriteSums + Sync + Send,
    WriteSums: Fn(&PanelSums, &mut [T; PANEL]),
    FinishRow: Fn(usize, usize, &mut [T]) + Sync + Send,
{
    fn run<P: ByteProducts>(self) {
        // So many rows are cut into tiles of all the rows that these may have: a block ends with a tile.
        const { assert!(ROW_BLOCK.is_multiple_of(P::TILE_ROWS) && ROW_BLOCK >= P::TILE_ROWS * P::TILE_ROWS) };
        let Product { x, weights, out, write, finish } = self;
        let (rows, outputs) = (x.rows, weights.outputs);
        assert_eq!(Some(x.values.len()), rows.checked_mul(weights.inputs), "x is [rows, inputs]");
        assert_eq!(Some(out.len()), rows.checked_mul(outputs), "out is [rows, outputs]");
        assert!(x.zero_points.len() == 1 || x.zero_points.len() == rows, "zero points are one or [rows]");
        let left = PackedRows::<P>::new(x, weights);
        let column_blocks = outputs.div_ceil(COLUMN_BLOCK);
        let tasks = rows.div_ceil(ROW_BLOCK) * column_blocks;
        let work = rows.saturating_mul(weights.inputs).saturating_mul(outputs);
        let out = SharedOutput::new(out);
        for_each(
            tasks,
            work,
            || (),
            |(), task| {
                let (first_row, first_column) = (task / column_blocks * ROW_BLOCK, task % column_blocks * COLUMN_BLOCK);
                let rows = first_row..rows.min(first_row + ROW_BLOCK);
                let columns = first_column..outputs.min(first_column + COLUMN_BLOCK);
                // One loop for the first tile and for the others: written out twice, the products of few rows are slower.
                let mut next = rows.start;
                while next < rows.end {
                    let later_fours = rows.len().saturating_sub(left.tile_rows) * weights.fours();
                    let goes_ahead = next == rows.start && later_fours > LATER_FOURS;
                    let end = if goes_ahead { next + left.tile_rows } else { rows.end };
                    for panel in columns.start / PANEL..columns.end.div_ceil(PANEL) {
                        // SAFETY: every task has its own rows and columns of the output.
                        unsafe {
                            multiply::<P, T, IN_TILES>(&left, next..end, weights, panel, &out, write(panel * PANEL))
                        };
                    }
                    next = end;
                }
                let Some(finish) = &finish else { return };
                for row in rows {
                    // SAFETY: as above.
                    let out = unsafe { out.slice(row * outputs + columns.start, columns.len()) };
                    finish(row, columns.start, out);
                }
            },
        );
    }
}

/// Writes some rows of the columns of one panel.
///
/// # Safety
/// As long as this runs, no one else may use these elements of `out`.
#[inline(always)]
unsafe fn multiply<P: ByteProducts, T: Copy + Default, const IN_TILES: bool>(
    left: &PackedRows<P>,
    rows: Range<usize>,
    weights: &IntegerWeights,
    panel: usize,
    out: &SharedOutput<'_, T>,
    write: impl Fn(&PanelSums, &mut [T; PANEL]),
) {
    let outputs = weights.outputs;
    let (sums, zero_points) = (weights.sums[panel].map(|sums| I32x4::load(&sums)), weights.zero_points.get(panel));
    let first_column = panel * PANEL;
    let columns = PANEL.min(outputs - first_column);
    let of_zero_point = |zero_point: i32| sums.map(|sum| I32x4::splat(zero_point) * sum);
    let write_rows = |products: &[PanelSums], rows: Range<usize>| {
        for (products, row) in products.iter().zip(rows) {
            let less: PanelSums = of_zero_point(left.one_zero_point.unwrap_or_else(|| left.zero_points[row]));
            let mut products: PanelSums = from_fn(|block| products[block] - less[block]);
            if let Some(zero_points) = zero_points {
                let sum = I32x4::splat(left.sums[row]);
                products = from_fn(|block| products[block] - sum * I32x4::load(&zero_points[block]));
            }
            // SAFETY: these columns of a row belong to the panel's, which the caller keeps for this call.
            let out = unsafe { out.slice(row * outputs + first_column, columns) };
            match out.as_mut_array() {
                Some(whole) => write(&products, whole),
                None => {
                    let mut whole = [T::default(); PANEL];
                    write(&products, &mut whole);
                    out.copy_from_slice(&whole[..columns]);
                }
            }
        }
    };
    if let (true, Some(zero_point), None, PANEL) = (IN_TILES, left.one_zero_point, zero_points, columns) {
        // SAFETY: as above.
        let out = unsafe { out.rows(rows.start * outputs + first_column, rows.len(), outputs) };
        let mut written = Written { out, less: of_zero_point(zero_point), write };
        sum_up(left, rows, weights, panel, &mut written, |_, _| {});
    } else {
        let mut kept = [[I32x4::splat(0); BLOCKS]; MOST_ROWS];
        sum_up(left, rows, weights, panel, &mut kept, |kept, rows| write_rows(kept, rows));
    }
}

/// Puts every tile's sums over the panel's rows into `sums`, and calls `then(sums, rows)` with the tile's rows.
#[inline(always)]
fn sum_up<P: ByteProducts, S: TileSums>(
    left: &PackedRows<P>,
    rows: Range<usize>,
    weights: &IntegerWeights,
    panel: usize,
    sums: &mut S,
    then: impl Fn(&S, Range<usize>),
) {
    let PackedRows { values, tile_rows, lengths, zero_points, .. } = left;
    let (stride, tile_rows, weights_panel) = (weights.fours(), *tile_rows, weights.panel(panel));
    match P::narrow(values).filter(|_| left.is_centred()) {
        Some(values) => {
            let left = LeftBytes { values, stride, tile_rows, lengths, zero_points };
            narrow_panel::multiply_panel(left, rows, weights_panel, &weights.groups()[panel], sums, then);
        }
        None => multiply_panel(LeftTiles::<P> { values, stride, tile_rows }, rows, weights_panel, sums, then),
    }
}

/// The left-hand matrix as the products want it.
struct PackedRows<P: ByteProducts> {
    /// As [`LeftTiles`] has them; what fills up a row's last four is 0.
    values: Vec<[P::Element; 4]>,
    tile_rows: usize,
    /// Of each row.
    zero_points: Vec<i32>,
    /// What is still to be subtracted from every element, if that is the same for all rows: 0 where these are
    /// [centred](PackedRows::is_centred).
    one_zero_point: Option<i32>,
    /// As [`LeftBytes`] has them; nothing where products are not made that way.
    lengths: Vec<f32>,
    /// Sum of each row, [centred](PackedRows::is_centred) or not; nothing where the weights have no zero points.
    sums: Vec<i32>,
}

impl<P: ByteProducts> PackedRows<P> {
    fn new(x: IntegerRows<'_>, weights: &IntegerWeights) -> PackedRows<P> {
        let signed = matches!(x.values, LeftValues::Integers(Bytes::Signed(_)));
        let zero_points = match *x.zero_points {
            [one] => vec![one + P::offset(signed); x.rows],
            ref each => each.iter().map(|zero_point| zero_point + P::offset(signed)).collect(),
        };
        let mut packed = PackedRows {
            values: Vec::new(),
            tile_rows: tile_rows(x.rows, P::TILE_ROWS),
            one_zero_point: zero_points.first().copied().filter(|_| x.zero_points.len() == 1),
            zero_points,
            lengths: Vec::new(),
            sums: Vec::new(),
        };
        match x.values {
            LeftValues::Integers(Bytes::Signed(values)) => packed.pack(values, true, x.rows, weights),
            LeftValues::Integers(Bytes::Unsigned(values)) => packed.pack(values, false, x.rows, weights),
            LeftValues::Numbers(values, quantization) if weights.zero_points.is_empty() => {
                packed.pack_numbers(values, quantization, x.rows, weights);
            }
            LeftValues::Numbers(values, quantization) => {
                let mut bytes = vec![0; values.len()];
                quantize(values, quantization, &mut bytes);
                packed.pack(&bytes, false, x.rows, weights);
            }
        }
        packed
    }

    fn pack<T: Copy + Into<i16>>(&mut self, x: &[T], signed: bool, rows: usize, weights: &IntegerWeights) {
        let stride = weights.fours();
        self.values = vec![[P::Element::default(); 4]; rows * stride];
        let element = |value: T| P::element(value.into(), signed);
        let tile_rows = self.tile_rows;
        for (number, tile) in self.values.chunks_mut(tile_rows * stride).enumerate() {
            let height = tile.len() / stride;
            for r in 0..height {
                let row = &x[(number * tile_rows + r) * weights.inputs..][..weights.inputs];
                let (fours, rest) = row.as_chunks::<4>();
                for (packed, four) in tile[r..].iter_mut().step_by(height).zip(fours) {
                    *packed = four.map(element);
                }
                for (packed, value) in tile[(stride - 1) * height + r].iter_mut().zip(rest) {
                    *packed = element(*value);
                }
            }
        }
        self.find_lengths(rows, weights);
        if !weights.zero_points.is_empty() {
            let sum = |row: usize| -> i32 {
                let centre = if self.is_centred() { self.zero_points[row] } else { 0 };
                let row = &x[row * weights.inputs..][..weights.inputs];
                let element = |value: &T| i32::from((*value).into()) + P::offset(signed) - centre;
                row.iter().fold(0, |sum: i32, value| sum.wrapping_add(element(value)))
            };
            self.sums = (0..rows).map(sum).collect();
        }
    }

    /// As [`PackedRows::pack`] packs what the numbers become, for weights without zero points.
    fn pack_numbers(&mut self, x: &[f32], quantization: Quantization, rows: usize, weights: &IntegerWeights) {
        let (inputs, stride, tile_rows) = (weights.inputs, weights.fours(), self.tile_rows);
        self.values = vec![[P::Element::default(); 4]; rows * stride];
        let values = SharedOutput::new(&mut self.values);
        for_each(
            rows.div_ceil(tile_rows),
            x.len().saturating_mul(QUANTISING_WORK),
            || Quantizer::new(quantization),
            |quantizer, tile| {
                let first = tile * tile_rows;
                let height = tile_rows.min(rows - first);
                // SAFETY: every tile is one task's.
                let tile = unsafe { values.slice(first * stride, height * stride) };
                for r in 0..height {
                    pack_row::<P>(&x[(first + r) * inputs..][..inputs], quantizer, tile, height, r);
                }
            },
        );
        self.find_lengths(rows, weights);
    }

    fn find_lengths(&mut self, rows: usize, weights: &IntegerWeights) {
        self.lengths = self.lengths(rows, weights);
        if self.is_centred() {
            self.one_zero_point = Some(0);
        }
    }

    /// The lengths of its rows, where products shall be made by way of them.
    fn lengths(&self, rows: usize, weights: &IntegerWeights) -> Vec<f32> {
        let Some(values) = P::narrow(&self.values) else { return vec![] };
        if rows < LEAST_ROWS || !self.zero_points.iter().all(|zero_point| ZERO_POINTS.contains(zero_point)) {
            return vec![];
        }
        // Found before threads share them, so that none waits for another.
        weights.groups();
        let of_tile = |(tile, values): (usize, &[[u8; 4]])| {
            let first = tile * self.tile_rows;
            narrow_panel::lengths(values, values.len() / weights.fours(), |r| self.zero_points[first + r])
        };
        values.chunks(self.tile_rows * weights.fours()).enumerate().flat_map(of_tile).collect()
    }

    /// Whether zero points are subtracted as products are made.
    #[inline(always)]
    fn is_centred(&self) -> bool {
        !self.lengths.is_empty()
    }
}

/// Quantises a row and puts it into its tile, as row `r` of `height`.
#[inline(always)]
fn pack_row<P: ByteProducts>(
    row: &[f32],
    quantizer: &Quantizer,
    tile: &mut [[P::Element; 4]],
    height: usize,
    r: usize,
) {
    let element = |byte: u8| P::element(byte.into(), false);
    let (steps, rest) = row.as_chunks::<STEP>();
    for (numbers, fours) in steps.iter().zip(tile.chunks_mut(STEP / 4 * height)) {
        let bytes = quantizer.step(numbers);
        for (index, four) in bytes.as_chunks().0.iter().enumerate() {
            fours[index * height + r] = four.map(element);
        }
    }
    let mut last = [0.0; STEP];
    last[..rest.len()].copy_from_slice(rest);
    for (index, byte) in quantizer.step(&last).into_iter().enumerate().take(rest.len()) {
        tile[(STEP / 4 * steps.len() + index / 4) * height + r][index % 4] = element(byte);
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    #[cfg(test)]
    use crate::error::ErrorCode;
    use crate::kernels::finish::Join;
    use crate::kernels::quantize::dynamic_quantize_reference;
    use crate::kernels::self_test::{bytes, difference, numbers, signed_bytes};

    /// Operands of a product.
    struct Case {
        what: String,
        rows: usize,
        inputs: usize,
        outputs: usize,
        /// Whether the bytes of `x` are signed.
        signed: bool,
        /// `[rows, inputs]`.
        x: Vec<u8>,
        /// One, or one for each row.
        x_zero_points: Vec<i32>,
        /// `[inputs, outputs]`.
        q: Vec<i8>,
        /// None, one, or one for each output.
        zero_points: Vec<i8>,
    }

    impl Case {
        /// Every byte of `x` and of the weights is the same.
        fn constant(x: u8, x_zero_point: u8, q: i8, zero_point: i8, signed: bool) -> Case {
            let (rows, inputs, outputs) = (4, 100, 13);
            let x_zero_point = if signed { i32::from(x_zero_point as i8) } else { i32::from(x_zero_point) };
            Case {
                what: format!("({x} - {x_zero_point}) * ({q} - {zero_point}), signed {signed}"),
                rows,
                inputs,
                outputs,
                signed,
                x: vec![x; rows * inputs],
                x_zero_points: vec![x_zero_point],
                q: vec![q; inputs * outputs],
                zero_points: vec![zero_point],
            }
        }

        fn mixed(rows: usize, inputs: usize, outputs: usize) -> Case {
            // Between them, the sizes meet every combination.
            let (signed, all, each) = (rows.is_multiple_of(2), outputs.is_multiple_of(3), inputs % 2 == 1);
            let counts = [if rows.is_multiple_of(3) { rows } else { 1 }, if each { outputs } else { usize::from(all) }];
            let zero_point = |byte: u8| if signed { i32::from(byte as i8) } else { i32::from(byte) };
            Case {
                what: format!("{rows} x {inputs} x {outputs}, signed {signed}, {counts:?} zero points"),
                rows,
                inputs,
                outputs,
                signed,
                x: bytes(rows * inputs, 1),
                x_zero_points: bytes(counts[0].max(1), 2).into_iter().map(zero_point).collect(),
                q: signed_bytes(inputs * outputs, 3),
                zero_points: signed_bytes(counts[1], 4),
            }
        }

        /// The product by its definition.
        fn expected(&self) -> Vec<i32> {
            let Case { rows, inputs, outputs, .. } = *self;
            let x = |at: usize| if self.signed { i32::from(self.x[at] as i8) } else { i32::from(self.x[at]) };
            let x_zero = |row: usize| self.x_zero_points[row % self.x_zero_points.len()];
            let zero =
                |n: usize| self.zero_points.get(n % self.zero_points.len().max(1)).map_or(0, |zero| i32::from(*zero));
            let product = |row: usize, k: usize, n: usize| {
                i64::from(x(row * inputs + k) - x_zero(row)) * i64::from(i32::from(self.q[k * outputs + n]) - zero(n))
            };
            let sum = |row: usize, n: usize| (0..inputs).map(|k| product(row, k, n)).sum::<i64>() as i32;
            (0..rows).flat_map(|row| (0..outputs).map(move |n| (row, n))).map(|(row, n)| sum(row, n)).collect()
        }

        fn weights(&self) -> IntegerWeights {
            IntegerWeights::new(&self.q, self.inputs, self.outputs, &self.zero_points).expect("weights")
        }

        /// Without large pairs where the way takes none.
        fn weights_for(&self, way: Way) -> IntegerWeights {
            match way {
                Way::BoundedQuads => self.weights().without_large_pairs(),
                _ => self.weights(),
            }
        }

        fn failure(&self, way: Way) -> Option<String> {
            self.failure_of(way, &self.weights_for(way), &self.expected())
        }

        /// Of the product of its `x` with these weights.
        fn failure_of(&self, way: Way, weights: &IntegerWeights, expected: &[i32]) -> Option<String> {
            let signed: Vec<i8> = self.x.iter().map(|byte| *byte as i8).collect();
            let values = if self.signed { Bytes::Signed(&signed) } else { Bytes::Unsigned(&self.x) };
            let x = IntegerRows { values: values.into(), rows: self.rows, zero_points: &self.x_zero_points };
            let [mut got, mut in_tiles] = [77, 78].map(|element| vec![element; self.rows * weights.outputs]);
            integer_linear_by::<false>(way, x, weights, &mut got);
            integer_linear_by::<true>(way, x, weights, &mut in_tiles);
            if in_tiles != got {
                return Some(format!("{}, {way:?}: tiles write {in_tiles:?} where {got:?} is expected", self.what));
            }
            let at = got.iter().zip(expected).position(|(got, expected)| got != expected)?;
            let outputs = weights.outputs;
            Some(format!(
                "{}, {outputs} outputs, {way:?}: element {at} is {} where {} is expected",
                self.what, got[at], expected[at]
            ))
        }
    }

    /// Holds every way to multiply that is exact on this machine against the definition, with the greatest sums of every
    /// sign, and at many sizes; then what follows the product.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut cases = Vec::new();
        for signed in [false, true] {
            for [x, x_zero_point] in [[0, 255], [255, 0], [255, 127], [127, 128], [128, 127], [128, 0], [254, 1]] {
                for [q, zero_point] in [[-128, 127], [127, -128], [-128, 0], [127, 0], [-1, 1]] {
                    cases.push(Case::constant(x, x_zero_point, q, zero_point, signed));
                }
            }
            // Sums over the rows that are looked at together, or over all, just fit 16 bits, or do not.
            for [x, x_zero_point] in [[255, 127], [254, 127], [0, 127], [0, 128], [227, 127], [209, 127], [191, 127]] {
                for [q, zero_point] in [[8, 0], [-8, 1]] {
                    cases.push(Case::constant(x, x_zero_point, q, zero_point, signed));
                }
            }
        }
        for rows in (0..=13).chain([ROW_BLOCK + 5]) {
            for inputs in [0, 1, 3, 4, 5, 8, 31, 37, 64] {
                for outputs in [1, 3, 4, 5, 7, 8, 9, 15, COLUMN_BLOCK + 7] {
                    cases.push(Case::mixed(rows, inputs, outputs));
                }
            }
        }
        // Sums beyond 32 bits.
        for rows in [1, 3] {
            let wide = Case { q: vec![-128; 70_000], ..Case::mixed(rows, 70_000, 1) };
            cases.push(Case { x: vec![255; rows * 70_000], x_zero_points: vec![0], zero_points: vec![], ..wide });
        }
        let ways = Way::exact_here();
        let mut failures: Vec<String> =
            cases.iter().flat_map(|case| ways.iter().filter_map(|way| case.failure(*way))).collect();
        failures.extend(failures_of_numbers());
        failures.extend(failures_of_joined());
        failures.extend(failures_of_finish());
        failures
    }

    /// Numbers give what the integers give that stand for them.
    fn failures_of_numbers() -> Vec<String> {
        let mut failures = Vec::new();
        for (rows, inputs) in [(1, 0), (1, 3), (2, 16), (3, 29), (5, 17), (7, 64), (13, 100)] {
            // Weights without zero points, and with them.
            for (outputs, zero_points) in [(8, vec![]), (13, vec![]), (9, vec![3])] {
                let numbers: Vec<f32> = numbers(rows * inputs, 8).iter().map(|number| number * 3.0).collect();
                let mut x = vec![0; numbers.len()];
                let quantization = dynamic_quantize_reference(&numbers, &mut x);
                let x_zero_points = vec![i32::from(quantization.zero_point)];
                let case = Case { signed: false, x, x_zero_points, zero_points, ..Case::mixed(rows, inputs, outputs) };
                let values = LeftValues::Numbers(&numbers, quantization);
                for way in Way::exact_here() {
                    let mut got = vec![77; rows * outputs];
                    let x = IntegerRows { values, rows, zero_points: &case.x_zero_points };
                    integer_linear_by::<true>(way, x, &case.weights_for(way), &mut got);
                    let same = got == case.expected();
                    failures.extend((!same).then(|| format!("numbers, {}, {way:?}: {got:?}", case.what)));
                }
            }
        }
        failures
    }

    /// Weights side by side give what each gives by itself.
    fn failures_of_joined() -> Vec<String> {
        let mut failures = Vec::new();
        for outputs in [&[4, 5][..], &[12, 24, 12], &[8, 4, 16, 3], &[20, 20, 20], &[36, 12, COLUMN_BLOCK + 7]] {
            // Zero points for some, one for all, none.
            for (rows, inputs) in [(1, 1), (5, 31), (4, 64), (6, 0)] {
                let cases: Vec<Case> = outputs.iter().map(|outputs| Case::mixed(rows, inputs, *outputs)).collect();
                let expected: Vec<Vec<i32>> = cases.iter().map(Case::expected).collect();
                let row = |row: usize| {
                    expected
                        .iter()
                        .zip(outputs)
                        .flat_map(move |(part, outputs)| part[row * outputs..][..*outputs].to_vec())
                };
                let expected: Vec<i32> = (0..rows).flat_map(row).collect();
                for way in Way::exact_here() {
                    let weights: Vec<IntegerWeights> = cases.iter().map(|case| case.weights_for(way)).collect();
                    let joined = IntegerWeights::joined(&weights.iter().collect::<Vec<_>>());
                    failures.extend(cases[0].failure_of(way, &joined, &expected));
                }
            }
        }
        failures
    }

    /// Scales, bias, activation and residual, alone and together, in f32 operations that each round.
    fn failures_of_finish() -> Vec<String> {
        let mut failures = Vec::new();
        for (rows, outputs) in [(1, 5), (3, 8), (7, COLUMN_BLOCK + 7)] {
            let case = Case { signed: false, x_zero_points: vec![100], ..Case::mixed(rows, 65, outputs) };
            let weights = IntegerWeights::new(&case.q, case.inputs, outputs, &case.zero_points).expect("weights");
            let values = Bytes::Unsigned(&case.x).into();
            let x = IntegerRows { values, rows, zero_points: &case.x_zero_points };
            let (scales, bias) = (numbers(outputs, 5), numbers(outputs, 6));
            let values = numbers(rows * outputs, 7);
            let values = &values[..];
            for (activation, tolerance) in
                [(Activation::Identity, 0.0), (Activation::Relu, 0.0), (Activation::Gelu, 1e-6)]
            {
                for (bias, joined) in [
                    (None, None),
                    (Some(&bias[..]), None),
                    (Some(&bias[..]), Some(Joined { how: Join::Add, values })),
                    (None, Some(Joined { how: Join::Multiply, values })),
                ] {
                    let finish = Dequantisation { scales: &scales, bias, activation, joined };
                    let mut got = vec![f32::NAN; rows * outputs];
                    quantized_linear(x, &weights, finish, &mut got);
                    let expected = case.expected().into_iter().enumerate().map(|(at, sum)| {
                        let column = at % outputs;
                        let value = sum as f32 * scales[column] + bias.map_or(0.0, |bias| bias[column]);
                        let value = activation.reference(f64::from(value)) as f32;
                        match joined.map(|joined| joined.how) {
                            None => value,
                            Some(Join::Add) => value + values[at],
                            Some(Join::Multiply) => value * values[at],
                        }
                    });
                    let what = format!(
                        "{} then {activation:?}, bias {bias:?}, {:?}",
                        case.what,
                        joined.map(|joined| joined.how)
                    );
                    failures.extend(difference(what, &got, &expected.collect::<Vec<f32>>(), tolerance));
                }
            }
        }
        failures
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }

    /// The parts of stored weights.
    #[cfg(test)]
    struct Stored(std::vec::IntoIter<Vec<u8>>);

    #[cfg(test)]
    impl Parts for Stored {
        fn next_len(&mut self) -> Result<usize> {
            Ok(self.0.as_slice().first().map_or(0, Vec::len))
        }

        fn read_next(&mut self, bytes: &mut [u8]) -> Result<()> {
            bytes.copy_from_slice(&self.0.next().expect("a part"));
            Ok(())
        }
    }

    #[test]
    fn large_pairs_kept_apart_are_stored() {
        let weights = Case::mixed(1, 31, 17).weights().without_large_pairs();
        let stored = || weights.parts().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let read =
            |parts: Vec<Vec<u8>>| IntegerWeights::from_parts(weights.form(), None, &mut Stored(parts.into_iter()));
        assert!(!weights.extras.fours.is_empty() && read(stored()).is_ok_and(|again| again == weights));
        // The parts are panels, sums, zero points, then of the extras ends, fours and blocks.
        for (what, part, last) in [("ends", 3, 0u32), ("fours", 4, 8)] {
            let mut parts = stored();
            let bytes = parts[part].len() - 4;
            parts[part][bytes..].copy_from_slice(&last.to_ne_bytes());
            assert!(read(parts).is_err_and(|error| error.code == ErrorCode::InvalidModel), "{what}");
        }
    }

    #[test]
    fn weights_that_cannot_be_joined_panic() {
        // Inputs and outputs of the first weights; the second are [2, 3].
        for ([inputs, outputs], fits) in [([2, 4], true), ([2, 3], false), ([3, 4], false)] {
            let weights =
                |inputs, outputs| IntegerWeights::new(&vec![0; inputs * outputs], inputs, outputs, &[]).unwrap();
            let (first, second) = (weights(inputs, outputs), weights(2, 3));
            let joined = std::panic::catch_unwind(|| IntegerWeights::joined(&[&first, &second]));
            assert_eq!(joined.is_ok(), fits, "[{inputs}, {outputs}]");
        }
    }

    #[test]
    fn zero_points_that_do_not_fit_are_refused() {
        for (count, fits) in [(0, true), (1, true), (3, true), (2, false), (4, false)] {
            let result = IntegerWeights::new(&[0; 6], 2, 3, &vec![0; count]);
            assert_eq!(result.err().map(|error| error.code), (!fits).then_some(ErrorCode::InvalidModel), "{count}");
        }
    }
}
