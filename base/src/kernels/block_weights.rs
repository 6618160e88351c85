//! [`BlockWeights`]: weights of 4 or 8 bits whose blocks have scales of their own, in the order in which kernels read them.

#![allow(unsafe_code, reason = "derived: a chunk is any sixteen bytes")]

use super::packed::{Packed, Parts, misfit, take};
use super::simd::F32x4;
use super::simd::bytes::I32x4;
use crate::error::Result;
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Outputs of a panel: two blocks side by side, which read an activation once for both.
pub(super) const OUTPUTS: usize = 2 * BLOCK_OUTPUTS;

/// Outputs of a block.
pub(super) const BLOCK_OUTPUTS: usize = 8;

/// Inputs of a group.
pub(super) const GROUP: usize = 8;

/// Blocks have a multiple of so many inputs, the only block of a matrix excepted, which is filled up.
const BLOCK_STEP: usize = 16;

/// Sixteen bytes of a block: a word for each of four outputs.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C, align(16))]
pub(super) struct Chunk(pub(super) [u32; 4]);

/// Eight inputs of a block: of outputs 0 to 3, and of outputs 4 to 7. Byte j of a word holds input j in its low half and input
/// j + 4 in its high one.
pub(super) type Group = [Chunk; 2];

/// A matrix `[inputs, outputs]` of integers `q` that stand for `(q - zero_point) * scale`, in panels of sixteen outputs.
///
/// A panel is one stream, from which memory comes faster than from several: the block of the first eight outputs, that of the others,
/// then those of the next inputs. A block has
/// - scales, eight f32;
/// - zero points: nothing where all are half the integers' range; or eight u16, those of outputs j and j + 4 in a word;
///   or eight f32;
/// - the groups of the block's integers, of 8-bit ones those of the high halves and then those of the low halves.
///
/// Outputs that fill up the last panel have scales of 0, inputs that fill up the last block are 0.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockWeights {
    inputs: usize,
    outputs: usize,
    layout: Layout,
    chunks: Vec<Chunk>,
}

/// How the chunks of a block follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// Inputs of a block.
    block_size: usize,
    /// Parts of 4 bits that an integer has.
    planes: usize,
    zero_points: ZeroPoints,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum ZeroPoints {
    /// Half the integers' range.
    Middle,
    Integers,
    Floats,
}

/// What a matrix is made of.
pub(super) struct BlockMatrix<E, S, Z> {
    /// 4 or 8.
    pub(super) bits: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) block_size: usize,
    /// The eight integers of an output from an input on, a multiple of eight; the first in the lowest byte.
    pub(super) eight: E,
    /// The scale of a block and output.
    pub(super) scale: S,
    /// The zero point of a block and output.
    pub(super) zero_point: Z,
}

impl BlockWeights {
    /// Whether blocks of that size can be kept.
    pub(super) fn takes(inputs: usize, block_size: usize) -> bool {
        block_size.is_multiple_of(BLOCK_STEP) || inputs <= block_size
    }

    /// Packs a matrix whose blocks [can be kept](BlockWeights::takes).
    pub(super) fn new<E, S, Z>(matrix: BlockMatrix<E, S, Z>) -> BlockWeights
    where
        E: Fn(usize, usize) -> u64,
        S: Fn(usize, usize) -> f32,
        Z: Fn(usize, usize) -> f32,
    {
        let BlockMatrix { bits, inputs, outputs, block_size, eight, scale, zero_point } = matrix;
        assert!(
            BlockWeights::takes(inputs, block_size) && matches!(bits, 4 | 8),
            "{bits} bits, {block_size} in a block"
        );
        let blocks = inputs.div_ceil(block_size);
        let middle = (1u32 << (bits - 1)) as f32;
        let all = (0..outputs).flat_map(|n| (0..blocks).map(move |block| (block, n)));
        let zero_points = ZeroPoints::of(all.map(|(block, n)| zero_point(block, n)), middle);
        let only = inputs.next_multiple_of(BLOCK_STEP).max(BLOCK_STEP);
        let block_size = if inputs <= block_size { only } else { block_size };
        let layout = Layout { block_size, planes: bits / 4, zero_points };
        let mut chunks = Vec::with_capacity(outputs.div_ceil(OUTPUTS) * blocks * 2 * layout.block_chunks());
        let eight = |k: usize, n: usize| match inputs.saturating_sub(k) {
            0 => 0,
            left @ 1..GROUP => eight(k, n) & ((1 << (8 * left)) - 1),
            _ => eight(k, n),
        };
        let firsts = (0..outputs)
            .step_by(OUTPUTS)
            .flat_map(|first| (0..blocks).flat_map(move |block| [(block, first), (block, first + BLOCK_OUTPUTS)]));
        for (block, first) in firsts {
            let lanes = |of: &dyn Fn(usize) -> u32| {
                [0, 4].map(|half| {
                    Chunk(
                        [0, 1, 2, 3]
                            .map(|lane| if first + half + lane < outputs { of(first + half + lane) } else { 0 }),
                    )
                })
            };
            chunks.extend(lanes(&|n| scale(block, n).to_bits()));
            match layout.zero_points {
                ZeroPoints::Middle => {}
                ZeroPoints::Integers => {
                    let [low, high] = lanes(&|n| zero_point(block, n) as u32);
                    chunks.push(Chunk([0, 1, 2, 3].map(|lane| low.0[lane] | high.0[lane] << 16)));
                }
                ZeroPoints::Floats => chunks.extend(lanes(&|n| zero_point(block, n).to_bits())),
            }
            for plane in (0..layout.planes).rev() {
                for group in 0..layout.groups() {
                    let input = block * block_size + group * GROUP;
                    chunks.extend(lanes(&|n| group_word(eight(input, n) >> (4 * plane))));
                }
            }
        }
        BlockWeights { inputs, outputs, layout, chunks }
    }

    /// Weights side by side; `None` where their blocks or inputs differ, or some but the last fill no whole panels.
    pub(super) fn joined(parts: &[&BlockWeights]) -> Option<BlockWeights> {
        let (last, others) = parts.split_last()?;
        let precedes = |part: &&BlockWeights| {
            (part.inputs, part.layout) == (last.inputs, last.layout) && part.outputs.is_multiple_of(OUTPUTS)
        };
        let chunks: Vec<&[Chunk]> = parts.iter().map(|part| &*part.chunks).collect();
        others.iter().all(precedes).then(|| BlockWeights {
            inputs: last.inputs,
            outputs: parts.iter().map(|part| part.outputs).sum(),
            layout: last.layout,
            chunks: chunks.concat(),
        })
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn bits(&self) -> usize {
        4 * self.layout.planes
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Memory that the weights take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.chunks[..])
    }

    pub(super) fn blocks(&self) -> usize {
        self.inputs.div_ceil(self.layout.block_size)
    }

    /// The blocks of a panel, for its first eight outputs and for the others.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize) -> impl Iterator<Item = [Block<'_>; 2]> {
        let (block_chunks, header) = (self.layout.block_chunks(), self.layout.header_chunks());
        let chunks = self.blocks() * 2 * block_chunks;
        self.chunks[panel * chunks..][..chunks].chunks_exact(2 * block_chunks).map(move |blocks| {
            let (first, second) = blocks.split_at(block_chunks);
            [first, second].map(|block| {
                let (header, groups) = block.split_at(header);
                Block { header, groups: groups.as_chunks().0, zero_points: self.layout.zero_points }
            })
        })
    }

    /// The blocks of outputs `8 * side` to `8 * side + 7`.
    #[inline(always)]
    pub(super) fn side(&self, side: usize) -> impl Iterator<Item = Block<'_>> {
        self.panel(side / 2).map(move |[first, second]| if side.is_multiple_of(2) { first } else { second })
    }

    /// Writes inputs `depth` of outputs `8 * side` to `8 * side + 7`, dequantised. `depth` starts at a multiple of eight.
    pub(super) fn dequantise(&self, side: usize, depth: Range<usize>, out: &mut [[f32; BLOCK_OUTPUTS]]) {
        let block_size = self.layout.block_size;
        let first = depth.start / block_size;
        for (index, block) in self.side(side).enumerate().skip(first).take(depth.end.div_ceil(block_size) - first) {
            let start = depth.start.max(index * block_size);
            let end = depth.end.min((index + 1) * block_size);
            let (scales, zero_points) = (block.scales(), block.zero_points(self.layout));
            let out = &mut out[start - depth.start..end - depth.start];
            let groups = start % block_size / GROUP..;
            for (group, rows) in groups.zip(out.chunks_mut(GROUP)) {
                let values = block.group_as_f32(self.layout, group);
                for (k, row) in rows.iter_mut().enumerate() {
                    let (halves, _) = row.as_chunks_mut();
                    for half in 0..2 {
                        ((values[half][k] - zero_points[half]) * scales[half]).store(&mut halves[half]);
                    }
                }
            }
        }
    }

    /// Writes all inputs of an output, dequantised.
    pub(super) fn copy_output(&self, output: usize, out: &mut [f32]) {
        let (half, lane) = (output % BLOCK_OUTPUTS / 4, output % 4);
        for (block, out) in self.side(output / BLOCK_OUTPUTS).zip(out.chunks_mut(self.layout.block_size)) {
            let of = |values: [F32x4; 2]| values[half].to_array()[lane];
            let (scale, zero_point) = (of(block.scales()), of(block.zero_points(self.layout)));
            for (group, out) in out.chunks_mut(GROUP).enumerate() {
                for (k, out) in out.iter_mut().enumerate() {
                    let nibble = |plane: usize| {
                        let word = block.groups[plane * self.layout.groups() + group][half].0[lane];
                        word >> (8 * (k % 4) + k / 4 * 4) & 15
                    };
                    let value = (0..self.layout.planes).fold(0, |value, plane| value << 4 | nibble(plane));
                    *out = (value as f32 - zero_point) * scale;
                }
            }
        }
    }
}

/// What is stored of [`BlockWeights`] beside their chunks.
#[derive(Serialize, Deserialize)]
pub struct BlockForm {
    inputs: usize,
    outputs: usize,
    layout: Layout,
}

impl BlockForm {
    /// The number of chunks, where there can be such weights.
    fn chunks(&self) -> Option<usize> {
        let Layout { block_size, planes, .. } = self.layout;
        let takes = block_size > 0 && block_size.is_multiple_of(BLOCK_STEP) && matches!(planes, 1 | 2);
        let (panels, blocks) = (self.outputs.div_ceil(OUTPUTS), takes.then(|| self.inputs.div_ceil(block_size))?);
        let groups = self.layout.groups().checked_mul(2 * planes)?;
        panels.checked_mul(blocks)?.checked_mul(groups.checked_add(self.layout.header_chunks())?)?.checked_mul(2)
    }
}

impl Packed for BlockWeights {
    type Form = BlockForm;

    fn form(&self) -> BlockForm {
        BlockForm { inputs: self.inputs, outputs: self.outputs, layout: self.layout }
    }

    fn parts(&self) -> Vec<&[u8]> {
        vec![bytemuck::cast_slice(&self.chunks)]
    }

    fn from_parts(form: BlockForm, _: Option<Arc<BlockWeights>>, parts: &mut dyn Parts) -> Result<BlockWeights> {
        let chunks = form.chunks().ok_or_else(|| misfit("there are no such blocks".into()))?;
        let BlockForm { inputs, outputs, layout } = form;
        Ok(BlockWeights { inputs, outputs, layout, chunks: take(parts, Some(chunks))? })
    }
}

/// Eight bytes' low halves as a word of a group.
#[inline(always)]
fn group_word(eight: u64) -> u32 {
    let low = eight & 0x0f0f_0f0f_0f0f_0f0f;
    low as u32 | ((low >> 32) as u32) << 4
}

impl ZeroPoints {
    fn of(zero_points: impl Iterator<Item = f32> + Clone, middle: f32) -> ZeroPoints {
        if zero_points.clone().all(|zero_point| zero_point == middle) {
            ZeroPoints::Middle
        } else if zero_points.clone().all(|zero_point| (0.0..256.0).contains(&zero_point) && zero_point.fract() == 0.0)
        {
            ZeroPoints::Integers
        } else {
            ZeroPoints::Floats
        }
    }
}

impl Layout {
    /// Inputs of a block.
    pub(super) fn block_size(self) -> usize {
        self.block_size
    }

    /// Groups of a block, those of one plane.
    pub(super) fn groups(self) -> usize {
        self.block_size / GROUP
    }

    /// Parts of 4 bits that an integer has.
    pub(super) fn planes(self) -> usize {
        self.planes
    }

    /// Whether all zero points are half the integers' range.
    pub(super) fn symmetric(self) -> bool {
        self.zero_points == ZeroPoints::Middle
    }

    fn header_chunks(self) -> usize {
        match self.zero_points {
            ZeroPoints::Middle => 2,
            ZeroPoints::Integers => 3,
            ZeroPoints::Floats => 4,
        }
    }

    fn block_chunks(self) -> usize {
        self.header_chunks() + 2 * self.planes * self.groups()
    }
}

/// A block of eight outputs.
pub(super) struct Block<'a> {
    header: &'a [Chunk],
    /// Of all planes.
    pub(super) groups: &'a [Group],
    zero_points: ZeroPoints,
}

/// What a block's integer sums are worth, for outputs 0 to 3 and 4 to 7.
#[derive(Clone, Copy)]
pub(super) struct Worth {
    pub(super) scales: [F32x4; 2],
    /// Zero points, where they are kept.
    pub(super) zero_points: Option<[F32x4; 2]>,
}

impl Block<'_> {
    #[inline(always)]
    pub(super) fn worth(&self) -> Worth {
        Worth { scales: self.scales(), zero_points: self.own_zero_points() }
    }

    #[inline(always)]
    pub(super) fn scales(&self) -> [F32x4; 2] {
        [F32x4::from_bits(&self.header[0].0), F32x4::from_bits(&self.header[1].0)]
    }

    /// Zero points, where they are kept.
    #[inline(always)]
    fn own_zero_points(&self) -> Option<[F32x4; 2]> {
        match self.zero_points {
            ZeroPoints::Middle => None,
            ZeroPoints::Integers => Some(I32x4::pair_from_u16(&self.header[2].0).map(I32x4::to_f32)),
            ZeroPoints::Floats => Some([F32x4::from_bits(&self.header[2].0), F32x4::from_bits(&self.header[3].0)]),
        }
    }

    #[inline(always)]
    pub(super) fn zero_points(&self, layout: Layout) -> [F32x4; 2] {
        let middle = if layout.planes == 1 { 8.0 } else { 128.0 };
        self.own_zero_points().unwrap_or([F32x4::splat(middle); 2])
    }

    /// The integers of a group: for outputs 0 to 3 and 4 to 7, those of each input.
    #[inline(always)]
    pub(super) fn group_as_f32(&self, layout: Layout, group: usize) -> [[F32x4; GROUP]; 2] {
        let first = self.groups[group].each_ref().map(|chunk| F32x4::inputs_from_nibbles(&chunk.0));
        if layout.planes == 1 {
            return first;
        }
        let low = self.groups[layout.groups() + group].each_ref().map(|chunk| F32x4::inputs_from_nibbles(&chunk.0));
        let join = |half: usize, k: usize| first[half][k] * F32x4::splat(16.0) + low[half][k];
        [0, 1].map(|half| std::array::from_fn(|k| join(half, k)))
    }
}
