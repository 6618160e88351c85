//! [`LinearWeights`]: a weight matrix in the order in which the kernel reads it, dequantised only while it is used.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::block_linear::{BlockProduct, FLOAT_ROWS, LONGEST_BLOCK, rounded_reference};
use super::block_weights::{self, BlockMatrix, BlockWeights};
use super::packed::{Packed, Parts, misfit, take};
use super::panel::{PANEL, PanelRow};
use super::simd::F32x4;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Rows of a panel that are multiplied, and dequantised, at a time: 16 KiB of f32, which stay in the first-level cache.
pub(super) const DEPTH_BLOCK: usize = 512;

/// The matrix `[inputs, outputs]` of a linear layer, in panels of eight columns.
///
/// Quantised weights stay quantised in memory: those in blocks as `BlockWeights`, and 8-bit ones with scales for whole columns,
/// and those whose blocks are no multiple of 16 inputs, in such panels of 8 bits. Columns that fill up the last panel have scale or weight 0.
#[derive(Clone, PartialEq)]
pub struct LinearWeights {
    inputs: usize,
    outputs: usize,
    panels: Panels,
}

/// All panels, one after the other. A row of a panel holds the elements of eight columns.
#[derive(Clone, PartialEq)]
enum Panels {
    Float32 {
        /// Runs of panels, one behind the other, `inputs` rows a panel. Joined weights have the runs of those that were
        /// joined, which are not copied.
        runs: Vec<Arc<Vec<PanelRow>>>,
    },
    Int8 {
        block_size: usize,
        /// `inputs` rows a panel.
        values: Vec<[i8; PANEL]>,
        /// One row a block of a panel.
        scales: Vec<PanelRow>,
        /// One row a block of a panel.
        zero_points: Vec<PanelRow>,
    },
    /// Integers of 4 or 8 bits in blocks with scales of their own.
    Blocks {
        weights: Arc<BlockWeights>,
        /// Whether products round activations to 8 bits.
        rounds_activations: bool,
    },
}

/// A matrix of unsigned integers of which `block_size` in a column share a scale and a zero point:
/// `(q - zero_point) * scale`. Signed integers come with the half of their range added, and their zero points likewise.
#[derive(Clone, Copy)]
pub struct Quantised<E, S, Z> {
    /// 2, 4 or 8.
    pub bits: usize,
    /// Rows.
    pub inputs: usize,
    /// Columns.
    pub outputs: usize,
    /// Rows that share a scale, at least 1.
    pub block_size: usize,
    /// The integer at a row and column.
    pub element: E,
    /// The scale at a block and column.
    pub scale: S,
    /// The zero point at a block and column; without them, all are half the integers' range.
    pub zero_point: Option<Z>,
}

/// Weights in the layout of `com.microsoft.MatMulNBits`.
#[derive(Clone, Copy)]
pub struct NBits<'a> {
    /// 2, 4 or 8.
    pub bits: usize,
    /// Rows of the matrix (`K`).
    pub inputs: usize,
    /// Columns of the matrix (`N`).
    pub outputs: usize,
    /// Rows that share a scale: a power of two, at least 16.
    pub block_size: usize,
    /// `[outputs, blocks, block_size * bits / 8]`, the lowest bits of a byte first.
    pub b: &'a [u8],
    /// `[outputs, blocks]`.
    pub scales: &'a [f32],
    /// Where there are none, each is half the integers' range.
    pub zero_points: NBitsZeroPoints<'a>,
    /// The block whose scale each row has, where that is not simply the one that it lies in (`g_idx`).
    pub groups: Option<&'a [i32]>,
}

/// Zero points in the layout of `com.microsoft.MatMulNBits`.
#[derive(Clone, Copy)]
pub enum NBitsZeroPoints<'a> {
    /// None.
    None,
    /// `[outputs, blocks * bits / 8 rounded up]`, the lowest bits of a byte first.
    Packed(&'a [u8]),
    /// `[outputs, blocks]`.
    Floats(&'a [f32]),
}

impl LinearWeights {
    /// Weights with a multiple of so many outputs can have others [joined](LinearWeights::joined) behind them as they are kept.
    pub const WHOLE_OUTPUTS: usize = block_weights::OUTPUTS;

    /// Weights side by side: kept as they are where all are kept alike and all but the last have whole panels, else as
    /// float32.
    ///
    /// # Panics
    /// When there are none, or their inputs differ.
    pub fn joined(parts: &[&LinearWeights]) -> LinearWeights {
        let inputs = parts[0].inputs;
        assert!(parts.iter().all(|part| part.inputs == inputs), "weights that are joined have the same inputs");
        let outputs = parts.iter().map(|part| part.outputs).sum();
        match Panels::joined(parts) {
            Some(panels) => LinearWeights { inputs, outputs, panels },
            None => {
                let matrices: Vec<Vec<f32>> = parts.iter().map(|part| part.to_f32()).collect();
                let row_of = |k: usize| {
                    let rows = parts.iter().zip(&matrices);
                    rows.flat_map(move |(part, matrix)| &matrix[k * part.outputs..][..part.outputs])
                };
                let matrix: Vec<f32> = (0..inputs).flat_map(row_of).copied().collect();
                LinearWeights::from_f32(&matrix, inputs, outputs, outputs, 1)
            }
        }
    }

    /// Packs float32 weights: element `[k, n]` is `w[k * input_stride + n * output_stride]`.
    ///
    /// # Panics
    /// When an element lies outside `w`.
    pub fn from_f32(
        w: &[f32],
        inputs: usize,
        outputs: usize,
        input_stride: usize,
        output_stride: usize,
    ) -> LinearWeights {
        let values = pack(inputs, outputs, 0.0, |k, n| w[k * input_stride + n * output_stride]);
        LinearWeights { inputs, outputs, panels: Panels::floats(values) }
    }

    /// Packs weights `(q - zero_point) * scale` of 8 bits: element `[k, n]` is `q[k * input_stride + n * output_stride]`.
    /// `scales` has one entry or one for each output; `zero_points` likewise, or none, which means 0.
    ///
    /// # Errors
    /// `InvalidModel` when a number of entries does not fit, or a scale is not finite.
    ///
    /// # Panics
    /// When an element lies outside `q`.
    pub fn from_int8(
        q: &[i8],
        inputs: usize,
        outputs: usize,
        input_stride: usize,
        output_stride: usize,
        scales: &[f32],
        zero_points: &[i8],
    ) -> Result<LinearWeights> {
        check_scales(scales)?;
        check_count("scales", scales.len(), &[1, outputs])?;
        check_count("zero points", zero_points.len(), &[0, 1, outputs])?;
        let zero_point = |_: usize, n: usize| {
            128.0
                + match zero_points.len() {
                    0 => 0.0,
                    1 => f32::from(zero_points[0]),
                    _ => f32::from(zero_points[n]),
                }
        };
        Ok(LinearWeights::from_quantised(Quantised {
            bits: 8,
            inputs,
            outputs,
            block_size: inputs.max(1),
            element: |k, n| q[k * input_stride + n * output_stride] as u8 ^ 0x80,
            scale: |_, n| if scales.len() == 1 { scales[0] } else { scales[n] },
            zero_point: Some(zero_point),
        }))
    }

    /// Packs integers with scales. Those of 2 and 4 bits take 4 where a row is one block or blocks are multiples of 16 inputs,
    /// elsewhere 8.
    ///
    /// # Panics
    /// When `bits` is not 2, 4 or 8.
    pub fn from_quantised<E, S, Z>(quantised: Quantised<E, S, Z>) -> LinearWeights
    where
        E: Fn(usize, usize) -> u8,
        S: Fn(usize, usize) -> f32,
        Z: Fn(usize, usize) -> f32,
    {
        let Quantised { bits, inputs, outputs, block_size, element, scale, zero_point } = quantised;
        assert!(matches!(bits, 2 | 4 | 8), "integers of {bits} bits");
        let blocks = inputs.div_ceil(block_size);
        let middle = (1u32 << (bits - 1)) as f32;
        let zero_point = |block: usize, n: usize| zero_point.as_ref().map_or(middle, |zero_point| zero_point(block, n));
        let panels = if BlockWeights::takes(inputs, block_size) && (bits < 8 || blocks > 1) {
            let eight = |k: usize, n: usize| {
                (k..inputs.min(k + 8)).rev().fold(0, |eight, k| eight << 8 | u64::from(element(k, n)))
            };
            let bits = bits.max(4);
            Panels::blocks(BlockMatrix { bits, inputs, outputs, block_size, eight, scale, zero_point })
        } else {
            let values = pack(inputs, outputs, 0, |k, n| (element(k, n) ^ 0x80) as i8);
            let scales = pack(blocks, outputs, 0.0, scale);
            let zero_points = pack(blocks, outputs, 0.0, |block, n| zero_point(block, n) - 128.0);
            Panels::Int8 { block_size, values, scales, zero_points }
        };
        LinearWeights { inputs, outputs, panels }
    }

    /// Packs weights of `com.microsoft.MatMulNBits`. Rows in other groups than their blocks become float32.
    ///
    /// # Errors
    /// `InvalidModel` when a length does not fit, a scale is not finite, a group is out of range, or `block_size` is not
    /// a power of two of at least 16; `UnsupportedOp` for other than 2, 4 and 8 bits.
    pub fn from_nbits(weights: NBits<'_>) -> Result<LinearWeights> {
        let NBits { bits, inputs, outputs, block_size, b, scales, zero_points, groups } = weights;
        weights.check()?;
        let blocks = inputs.div_ceil(block_size);
        let column_bytes = blocks * (block_size * bits / 8);
        let zero_point_bytes = (blocks * bits).div_ceil(8);
        let scale = |block: usize, n: usize| scales[n * blocks + block];
        let zero_point = |block: usize, n: usize| match zero_points {
            NBitsZeroPoints::None => (1u32 << (bits - 1)) as f32,
            NBitsZeroPoints::Packed(bytes) => f32::from(lowest_bits(&bytes[n * zero_point_bytes..], bits, block)),
            NBitsZeroPoints::Floats(floats) => floats[n * blocks + block],
        };
        if let Some(groups) = groups.filter(|groups| (0..inputs).any(|k| groups[k] as usize != k / block_size)) {
            let values = pack(inputs, outputs, 0.0, |k, n| {
                let group = groups[k] as usize;
                let element = f32::from(lowest_bits(&b[n * column_bytes..], bits, k));
                (element - zero_point(group, n)) * scale(group, n)
            });
            return Ok(LinearWeights { inputs, outputs, panels: Panels::floats(values) });
        }
        let eight = |k: usize, n: usize| eight_from(&b[n * column_bytes + k * bits / 8..], bits);
        let bits = bits.max(4);
        let panels = Panels::blocks(BlockMatrix { bits, inputs, outputs, block_size, eight, scale, zero_point });
        Ok(LinearWeights { inputs, outputs, panels })
    }

    /// Lets products round activations to 8 bits, with a scale for each block of a row, where the weights are kept in
    /// blocks that are short enough for it.
    pub fn rounding_activations(mut self) -> LinearWeights {
        if let Panels::Blocks { weights, rounds_activations } = &mut self.panels {
            *rounds_activations = weights.layout().block_size() <= LONGEST_BLOCK;
        }
        self
    }

    /// Rows as products take them, by definition.
    pub(super) fn rounded_reference(&self, x: &[f32]) -> Vec<f64> {
        match &self.panels {
            Panels::Blocks { weights, rounds_activations: true } => {
                let rows = x.chunks(self.inputs.max(1));
                rows.flat_map(|row| rounded_reference(row, weights.layout().block_size())).collect()
            }
            _ => x.iter().map(|x| f64::from(*x)).collect(),
        }
    }

    /// The weights in blocks, where they are kept so.
    pub(super) fn block_weights(&self) -> Option<&Arc<BlockWeights>> {
        match &self.panels {
            Panels::Blocks { weights, .. } => Some(weights),
            _ => None,
        }
    }

    /// The product with rows of `x`, where it is computed in blocks and not panel by panel.
    pub(super) fn block_product(&self, x: &[f32], rows: usize) -> Option<BlockProduct<'_>> {
        match &self.panels {
            Panels::Blocks { weights, rounds_activations: true } => Some(BlockProduct::of_rounded(x, rows, weights)),
            Panels::Blocks { weights, .. } if rows <= FLOAT_ROWS => Some(BlockProduct::of_floats(x, rows, weights)),
            _ => None,
        }
    }

    /// The blocks of other weights with which the [`LinearWeights::block_product`] of these can multiply too: they have the
    /// same size and layout, and activations are rounded for both or for neither.
    pub(super) fn blocks_alike<'a>(&self, other: &'a LinearWeights) -> Option<&'a BlockWeights> {
        let (
            Panels::Blocks { weights: own, rounds_activations },
            Panels::Blocks { weights, rounds_activations: others_round },
        ) = (&self.panels, &other.panels)
        else {
            return None;
        };
        let form = |weights: &BlockWeights| (weights.inputs(), weights.outputs(), weights.layout());
        (rounds_activations == others_round && form(own) == form(weights)).then_some(&**weights)
    }

    /// Elements of a row that goes in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Elements of a row that comes out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Memory that the weights take.
    pub fn bytes(&self) -> usize {
        match &self.panels {
            Panels::Float32 { runs } => runs.iter().map(|run| size_of_val(&run[..])).sum(),
            Panels::Int8 { values, scales, zero_points, .. } => {
                size_of_val(&values[..]) + size_of_val(&scales[..]) + size_of_val(&zero_points[..])
            }
            Panels::Blocks { weights, .. } => weights.bytes(),
        }
    }

    /// How the weights are kept, and whether activations are rounded.
    pub fn format(&self) -> &'static str {
        match &self.panels {
            Panels::Float32 { .. } => "float32",
            Panels::Int8 { .. } => "int8",
            Panels::Blocks { weights, rounds_activations } => match (weights.bits(), rounds_activations) {
                (4, false) => "int4",
                (4, true) => "int4, activations int8",
                (_, false) => "int8",
                (_, true) => "int8, activations int8",
            },
        }
    }

    /// The dequantised matrix, row-major `[inputs, outputs]`.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut matrix = vec![0.0; self.inputs * self.outputs];
        let mut scratch = self.scratch();
        for start in (0..self.inputs).step_by(DEPTH_BLOCK) {
            let depth = start..self.inputs.min(start + DEPTH_BLOCK);
            for panel in 0..self.panel_count() {
                let first = panel * PANEL;
                let columns = PANEL.min(self.outputs - first);
                for (k, row) in depth.clone().zip(self.panel(panel, depth.clone(), &mut scratch)) {
                    matrix[k * self.outputs + first..][..columns].copy_from_slice(&row[..columns]);
                }
            }
        }
        matrix
    }

    /// Panels of eight columns, the last one perhaps filled up.
    pub(super) fn panel_count(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Room for [`LinearWeights::panel`].
    pub(super) fn scratch(&self) -> Vec<PanelRow> {
        match &self.panels {
            Panels::Float32 { .. } => Vec::new(),
            _ => vec![[0.0; PANEL]; DEPTH_BLOCK.min(self.inputs)],
        }
    }

    /// Whether they are kept as f32.
    pub(super) fn is_float32(&self) -> bool {
        matches!(self.panels, Panels::Float32 { .. })
    }

    /// Rows `depth` of a panel as f32, dequantised into `scratch` where they are not kept so: then `depth` starts at a multiple of
    /// [`DEPTH_BLOCK`] and has at most that many rows.
    pub(super) fn panel<'a>(
        &'a self,
        panel: usize,
        depth: Range<usize>,
        scratch: &'a mut [PanelRow],
    ) -> &'a [PanelRow] {
        let rows = panel * self.inputs + depth.start..panel * self.inputs + depth.end;
        match &self.panels {
            Panels::Float32 { runs } => rows_of(runs, rows),
            Panels::Int8 { block_size, values, scales, zero_points } => {
                let (scratch, values) = (&mut scratch[..depth.len()], &values[rows]);
                for (block, part) in self.blocks(panel, *block_size, depth) {
                    dequantise_int8(&values[part.clone()], &scales[block], &zero_points[block], &mut scratch[part]);
                }
                scratch
            }
            Panels::Blocks { weights, .. } => {
                let scratch = &mut scratch[..depth.len()];
                weights.dequantise(panel, depth, scratch);
                scratch
            }
        }
    }

    /// The blocks of rows `depth` of a panel: each one's number among all panels' blocks, and its rows within `depth`.
    fn blocks(
        &self,
        panel: usize,
        block_size: usize,
        depth: Range<usize>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> {
        let first = panel * self.inputs.div_ceil(block_size);
        (depth.start / block_size..depth.end.div_ceil(block_size)).map(move |block| {
            let start = depth.start.max(block * block_size);
            let end = depth.end.min((block + 1) * block_size);
            (first + block, start - depth.start..end - depth.start)
        })
    }
}

impl Panels {
    /// Those of all parts, one behind the other; `None` where they are not kept alike, or some but the last are not whole.
    fn joined(parts: &[&LinearWeights]) -> Option<Panels> {
        let (last, others) = parts.split_last()?;
        if !others.iter().all(|part| part.outputs.is_multiple_of(LinearWeights::WHOLE_OUTPUTS)) {
            return None;
        }
        match &last.panels {
            Panels::Float32 { .. } => {
                let runs = parts.iter().map(|part| part.panels.runs()).collect::<Option<Vec<_>>>()?;
                Some(Panels::Float32 { runs: runs.concat() })
            }
            Panels::Int8 { block_size, .. } => Some(Panels::Int8 {
                block_size: *block_size,
                values: side_by_side(parts, |panels| Some(panels.int8(*block_size)?.0))?,
                scales: side_by_side(parts, |panels| Some(panels.int8(*block_size)?.1))?,
                zero_points: side_by_side(parts, |panels| Some(panels.int8(*block_size)?.2))?,
            }),
            Panels::Blocks { rounds_activations, .. } => {
                let blocks = parts.iter().map(|part| part.panels.blocks_that(*rounds_activations));
                let weights = BlockWeights::joined(&blocks.collect::<Option<Vec<_>>>()?)?;
                Some(Panels::Blocks { weights: Arc::new(weights), rounds_activations: *rounds_activations })
            }
        }
    }

    fn floats(values: Vec<PanelRow>) -> Panels {
        Panels::Float32 { runs: vec![Arc::new(values)] }
    }

    fn runs(&self) -> Option<&[Arc<Vec<PanelRow>>]> {
        match self {
            Panels::Float32 { runs } => Some(runs),
            _ => None,
        }
    }

    /// Those in blocks of that size.
    fn int8(&self, size: usize) -> Option<Int8Panels<'_>> {
        match self {
            Panels::Int8 { block_size, values, scales, zero_points } if *block_size == size => {
                Some((values, scales, zero_points))
            }
            _ => None,
        }
    }

    /// The weights with which activations are rounded, or not.
    fn blocks_that(&self, round: bool) -> Option<&BlockWeights> {
        match self {
            Panels::Blocks { weights, rounds_activations } if *rounds_activations == round => Some(weights),
            _ => None,
        }
    }

    fn blocks<E, S, Z>(matrix: BlockMatrix<E, S, Z>) -> Panels
    where
        E: Fn(usize, usize) -> u64,
        S: Fn(usize, usize) -> f32,
        Z: Fn(usize, usize) -> f32,
    {
        Panels::Blocks { weights: Arc::new(BlockWeights::new(matrix)), rounds_activations: false }
    }
}

/// Values, scales and zero points.
type Int8Panels<'a> = (&'a [[i8; PANEL]], &'a [PanelRow], &'a [PanelRow]);

/// Rows of one panel, counted over all runs.
///
/// # Panics
/// When there are fewer.
fn rows_of(runs: &[Arc<Vec<PanelRow>>], mut rows: Range<usize>) -> &[PanelRow] {
    let mut runs = runs.iter();
    loop {
        let run = runs.next().expect("a panel that there is");
        if rows.end <= run.len() {
            return &run[rows];
        }
        rows = rows.start - run.len()..rows.end - run.len();
    }
}

/// What each of the parts has, one behind the other.
fn side_by_side<'a, T: Copy + 'a>(
    parts: &[&'a LinearWeights],
    of: impl Fn(&'a Panels) -> Option<&'a [T]>,
) -> Option<Vec<T>> {
    let slices = parts.iter().map(|part| of(&part.panels)).collect::<Option<Vec<_>>>()?;
    Some(slices.concat())
}

/// What is stored of [`LinearWeights`] beside their elements.
#[derive(Serialize, Deserialize)]
pub struct LinearForm {
    inputs: usize,
    outputs: usize,
    panels: PanelsForm,
}

#[derive(Serialize, Deserialize)]
enum PanelsForm {
    /// Rows of each run.
    Float32 {
        runs: Vec<usize>,
    },
    Int8 {
        block_size: usize,
    },
    Blocks {
        rounds_activations: bool,
    },
}

impl LinearForm {
    /// Rows of all panels, where a panel has so many.
    fn rows(&self, of_panel: usize) -> Option<usize> {
        self.outputs.div_ceil(PANEL).checked_mul(of_panel)
    }
}

impl Packed for LinearWeights {
    type Form = LinearForm;

    fn form(&self) -> LinearForm {
        let panels = match &self.panels {
            Panels::Float32 { runs } => PanelsForm::Float32 { runs: runs.iter().map(|run| run.len()).collect() },
            Panels::Int8 { block_size, .. } => PanelsForm::Int8 { block_size: *block_size },
            Panels::Blocks { rounds_activations, .. } => PanelsForm::Blocks { rounds_activations: *rounds_activations },
        };
        LinearForm { inputs: self.inputs, outputs: self.outputs, panels }
    }

    fn parts(&self) -> Vec<&[u8]> {
        match &self.panels {
            Panels::Float32 { runs } => runs.iter().map(|run| bytemuck::cast_slice(run)).collect(),
            Panels::Int8 { values, scales, zero_points, .. } => {
                vec![bytemuck::cast_slice(values), bytemuck::cast_slice(scales), bytemuck::cast_slice(zero_points)]
            }
            Panels::Blocks { .. } => vec![],
        }
    }

    fn shared_blocks(&self) -> Option<&Arc<BlockWeights>> {
        self.block_weights()
    }

    fn from_parts(form: LinearForm, blocks: Option<Arc<BlockWeights>>, parts: &mut dyn Parts) -> Result<LinearWeights> {
        let panels = match form.panels {
            PanelsForm::Float32 { ref runs } => {
                let all = runs.iter().try_fold(0usize, |all, rows| all.checked_add(*rows));
                if all != form.rows(form.inputs) || !runs.iter().all(|rows| rows.is_multiple_of(form.inputs)) {
                    return Err(misfit("runs of other panels are expected".into()));
                }
                let run = |rows: &usize| Ok(Arc::new(take(parts, Some(*rows))?));
                Panels::Float32 { runs: runs.iter().map(run).collect::<Result<_>>()? }
            }
            PanelsForm::Int8 { block_size: 0 } => return Err(misfit("a block of nothing".into())),
            PanelsForm::Int8 { block_size } => {
                let blocks = form.rows(form.inputs.div_ceil(block_size));
                Panels::Int8 {
                    block_size,
                    values: take(parts, form.rows(form.inputs))?,
                    scales: take(parts, blocks)?,
                    zero_points: take(parts, blocks)?,
                }
            }
            PanelsForm::Blocks { rounds_activations } => {
                let fits = |blocks: &Arc<BlockWeights>| {
                    (blocks.inputs(), blocks.outputs()) == (form.inputs, form.outputs)
                        && (!rounds_activations || blocks.layout().block_size() <= LONGEST_BLOCK)
                };
                let weights = blocks.filter(fits).ok_or_else(|| misfit("other blocks are expected".into()))?;
                Panels::Blocks { weights, rounds_activations }
            }
        };
        Ok(LinearWeights { inputs: form.inputs, outputs: form.outputs, panels })
    }
}

impl NBits<'_> {
    /// Checks what [`LinearWeights::from_nbits`] checks.
    ///
    /// # Errors
    /// Those of [`LinearWeights::from_nbits`].
    pub fn check(&self) -> Result<()> {
        let NBits { bits, inputs, outputs, block_size, b, scales, zero_points, groups } = *self;
        if !matches!(bits, 2 | 4 | 8) {
            return Err(Error::unsupported_op(format!("weights of {bits} bits are not supported"))
                .remedy("quantise the model to 4 or 8 bits"));
        }
        if block_size < 16 || !block_size.is_power_of_two() {
            return Err(Error::invalid_model(format!("{bits}-bit weights in blocks of {block_size}"))
                .remedy("quantise with a block size that is a power of two and at least 16"));
        }
        let blocks = inputs.div_ceil(block_size);
        check_scales(scales)?;
        check_count("scales", scales.len(), &[volume(&[outputs, blocks])?])?;
        let block_bytes = volume(&[block_size, bits])? / 8;
        check_count("bytes of weights", b.len(), &[volume(&[outputs, blocks, block_bytes])?])?;
        match zero_points {
            NBitsZeroPoints::None => {}
            NBitsZeroPoints::Packed(bytes) => {
                let column = volume(&[blocks, bits])?.div_ceil(8);
                check_count("bytes of zero points", bytes.len(), &[volume(&[outputs, column])?])?;
            }
            NBitsZeroPoints::Floats(floats) => check_count("zero points", floats.len(), &[scales.len()])?,
        }
        let Some(groups) = groups else { return Ok(()) };
        // Exporters pad the groups to whole blocks.
        check_count("groups", groups.len(), &[inputs, volume(&[blocks, block_size])?])?;
        match groups[..inputs].iter().find(|group| usize::try_from(**group).is_err() || **group as usize >= blocks) {
            None => Ok(()),
            Some(group) => Err(Error::invalid_model(format!("group {group} where there are {blocks}"))
                .remedy("quantise the model again")),
        }
    }
}

/// The integer of `bits` bits at a position of packed bytes, the lowest bits of a byte first; `bits` is 2, 4 or 8.
///
/// # Panics
/// When it lies outside `bytes`.
#[inline(always)]
pub fn lowest_bits(bytes: &[u8], bits: usize, position: usize) -> u8 {
    let in_byte = 8 / bits;
    let shifted = bytes[position / in_byte] >> (position % in_byte * bits);
    if bits == 8 { shifted } else { shifted & ((1 << bits) - 1) }
}

/// The first eight integers of `bits` bits of packed bytes, the lowest bits of a byte first, as bytes, the first one lowest.
#[inline(always)]
fn eight_from(bytes: &[u8], bits: usize) -> u64 {
    // Each step moves the upper half of every piece to where the double width of its integers begins.
    let spread = |integers: u64, shifts: [u32; 3], masks: [u64; 3]| {
        shifts.into_iter().zip(masks).fold(integers, |integers, (shift, mask)| (integers | integers << shift) & mask)
    };
    match bits {
        2 => {
            let integers = u16::from_le_bytes([bytes[0], bytes[1]]);
            let masks = [0x0000_00ff_0000_00ff, 0x000f_000f_000f_000f, 0x0303_0303_0303_0303];
            spread(integers.into(), [24, 12, 6], masks)
        }
        4 => {
            let integers = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let masks = [0x0000_ffff_0000_ffff, 0x00ff_00ff_00ff_00ff, 0x0f0f_0f0f_0f0f_0f0f];
            spread(integers.into(), [16, 8, 4], masks)
        }
        _ => bytes[..8].iter().rev().fold(0, |integers, byte| integers << 8 | u64::from(*byte)),
    }
}

impl fmt::Debug for LinearWeights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LinearWeights({} [{}, {}])", self.format(), self.inputs, self.outputs)
    }
}

/// `rows` rows for each panel; `element(row, column)` for the columns there are, `fill` for the others.
fn pack<T: Copy>(rows: usize, outputs: usize, fill: T, element: impl Fn(usize, usize) -> T) -> Vec<[T; PANEL]> {
    let mut packed = Vec::with_capacity(rows * outputs.div_ceil(PANEL));
    for first in (0..outputs).step_by(PANEL) {
        let columns = PANEL.min(outputs - first);
        packed.extend((0..rows).map(|row| {
            let mut lanes = [fill; PANEL];
            for (column, lane) in lanes[..columns].iter_mut().enumerate() {
                *lane = element(row, first + column);
            }
            lanes
        }));
    }
    packed
}

/// Writes `(q - zero_point) * scale` for rows of eight columns.
fn dequantise_int8(values: &[[i8; PANEL]], scales: &PanelRow, zero_points: &PanelRow, out: &mut [PanelRow]) {
    let columns = Columns::new(scales, zero_points);
    for (row, out) in values.iter().zip(out) {
        columns.dequantise(F32x4::pair_from_i8(row), out);
    }
}

/// Scales and zero points of eight columns.
struct Columns {
    scales: [F32x4; 2],
    zero_points: [F32x4; 2],
}

impl Columns {
    #[inline(always)]
    fn new(scales: &PanelRow, zero_points: &PanelRow) -> Columns {
        let halves = |row: &PanelRow| {
            let (halves, _) = row.as_chunks();
            [F32x4::load(&halves[0]), F32x4::load(&halves[1])]
        };
        Columns { scales: halves(scales), zero_points: halves(zero_points) }
    }

    #[inline(always)]
    fn dequantise(&self, values: [F32x4; 2], out: &mut PanelRow) {
        let (halves, _) = out.as_chunks_mut();
        for (half, out) in halves.iter_mut().enumerate() {
            ((values[half] - self.zero_points[half]) * self.scales[half]).store(out);
        }
    }
}

fn check_scales(scales: &[f32]) -> Result<()> {
    match scales.iter().find(|scale| !scale.is_finite()) {
        None => Ok(()),
        Some(scale) => Err(Error::invalid_model(format!("a quantisation scale is {scale}"))
            .remedy("quantise the model again from weights that are finite")),
    }
}

fn check_count(what: &str, count: usize, allowed: &[usize]) -> Result<()> {
    if allowed.contains(&count) {
        return Ok(());
    }
    let allowed: Vec<String> = allowed.iter().map(usize::to_string).collect();
    Err(Error::invalid_model(format!("{count} {what} where {} are expected", allowed.join(" or ")))
        .remedy("export or quantise the model again"))
}

fn volume(dims: &[usize]) -> Result<usize> {
    dims.iter().try_fold(1usize, |volume, dim| volume.checked_mul(*dim)).ok_or_else(|| {
        Error::invalid_model(format!("weights of shape {dims:?} cannot be addressed")).remedy("use a smaller model")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn weights_are_dequantised_by_their_definition() {
        // Rows of [2, 3] by strides, then (q - zero point) · scale by hand.
        let by_rows = LinearWeights::from_f32(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3, 3, 1);
        let by_columns = LinearWeights::from_f32(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0], 2, 3, 1, 2);
        let int8 = LinearWeights::from_int8(&[-128, 127, 3, 0], 2, 2, 2, 1, &[0.5, 2.0], &[-128, 127]).unwrap();
        // Nibbles 0..=15 in order, then 17 more columns' worth of 0: one column of 17 inputs.
        let mut b = vec![0; 16];
        b[..8].copy_from_slice(&[0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe]);
        b[8] = 0x0f;
        let nbits = |bits, b, scales, zero_points, inputs| {
            let outputs = 1;
            NBits { bits, inputs, outputs, block_size: 16, b, scales, zero_points, groups: None }
        };
        let zero_points = NBitsZeroPoints::Packed(&[0xe1]);
        let int4 = LinearWeights::from_nbits(nbits(4, &b, &[0.5, 2.0], zero_points, 17)).unwrap();
        let floats = NBitsZeroPoints::Floats(&[0.5]);
        let two_bits = LinearWeights::from_nbits(nbits(2, &[0xe4, 0, 0, 0], &[2.0], floats, 4)).unwrap();
        let eight_bits = LinearWeights::from_nbits(nbits(8, &[200; 16], &[0.5], NBitsZeroPoints::None, 1)).unwrap();
        // Rows 0 and 16 have changed groups.
        let groups: Vec<i32> = (0..17).map(|k| i32::from(k == 0)).collect();
        let grouped = NBits { groups: Some(&groups), ..nbits(8, &[130; 32], &[1.0, 2.0], NBitsZeroPoints::None, 17) };
        let grouped = LinearWeights::from_nbits(grouped).unwrap();
        let mut expected_grouped = vec![2.0; 17];
        expected_grouped[0] = 4.0;
        let threes = Quantised {
            bits: 4,
            inputs: 5,
            outputs: 1,
            block_size: 3,
            element: |k, _| k as u8,
            scale: |block, _| block as f32 + 1.0,
            zero_point: None::<fn(usize, usize) -> f32>,
        };
        let threes = LinearWeights::from_quantised(threes);
        let mut expected_int4: Vec<f32> = (0..16).map(|nibble| (nibble as f32 - 1.0) * 0.5).collect();
        expected_int4.push((15.0 - 14.0) * 2.0);
        let cases = [
            (by_rows, "float32", vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2 * 8 * 4),
            (by_columns, "float32", vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2 * 8 * 4),
            (int8, "int8", vec![0.0, 0.0, 65.5, -254.0], 2 * 8 + 2 * 8 * 4),
            (int4, "int4", expected_int4, 2 * 2 * (8 * 4 + 8 * 2 + 8 * 8)),
            (two_bits, "int4", vec![-1.0, 1.0, 3.0, 5.0], 2 * (8 * 4 + 8 * 4 + 8 * 8)),
            (grouped, "float32", expected_grouped, 17 * 8 * 4),
            (eight_bits, "int8", vec![36.0], 2 * (8 * 4 + 8 * 16)),
            (threes, "int8", vec![-8.0, -7.0, -6.0, -10.0, -8.0], 5 * 8 + 2 * 2 * 8 * 4),
        ];
        for (weights, format, expected, bytes) in cases {
            assert_eq!((weights.format(), weights.to_f32(), weights.bytes()), (format, expected, bytes));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let nan = f32::NAN;
        // 4 inputs, 3 outputs.
        let int8: [(&[f32], &[i8], bool); 7] = [
            (&[1.0], &[], true),
            (&[1.0, 1.0, 1.0], &[0], true),
            (&[1.0], &[0, 0, 0], true),
            (&[], &[], false),
            (&[1.0, 1.0], &[], false),
            (&[1.0], &[0, 0], false),
            (&[nan], &[], false),
        ];
        for (scales, zero_points, fits) in int8 {
            let result = LinearWeights::from_int8(&[0; 12], 4, 3, 3, 1, scales, zero_points);
            assert_eq!(result.err().map(|error| error.code), (!fits).then_some(ErrorCode::InvalidModel));
        }
        struct Case {
            weights: usize,
            scales: Vec<f32>,
            zero_points: Option<usize>,
            inputs: usize,
            block_size: usize,
            fits: bool,
        }
        let good =
            || Case { weights: 96, scales: vec![1.0; 12], zero_points: None, inputs: 60, block_size: 16, fits: true };
        let cases = [
            good(),
            Case { zero_points: Some(6), ..good() },
            Case { weights: 768, scales: vec![1.0; 3], block_size: 512, ..good() },
            Case { weights: 95, fits: false, ..good() },
            Case { scales: vec![1.0; 11], fits: false, ..good() },
            Case { scales: vec![f32::INFINITY; 12], fits: false, ..good() },
            Case { zero_points: Some(12), fits: false, ..good() },
            Case { block_size: 8, fits: false, ..good() },
            Case { block_size: 24, fits: false, ..good() },
            Case { block_size: 0, fits: false, ..good() },
            Case { inputs: usize::MAX, fits: false, ..good() },
        ];
        for (index, case) in cases.iter().enumerate() {
            let (weights, zero_points) = (vec![0; case.weights], case.zero_points.map(|count| vec![0; count]));
            let result = LinearWeights::from_nbits(NBits {
                bits: 4,
                inputs: case.inputs,
                outputs: 3,
                block_size: case.block_size,
                b: &weights,
                scales: &case.scales,
                zero_points: zero_points.as_deref().map_or(NBitsZeroPoints::None, NBitsZeroPoints::Packed),
                groups: None,
            });
            let code = result.err().map(|error| error.code);
            assert_eq!(code, (!case.fits).then_some(ErrorCode::InvalidModel), "case {index}");
        }
    }
}
