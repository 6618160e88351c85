//! [`LinearWeights`]: a weight matrix in the order in which the kernel reads it, dequantised only while it is used.

use std::fmt;
use std::ops::Range;

use super::panel::{PANEL, PanelRow};
use super::simd::F32x4;
use crate::error::{Error, Result};

/// Rows of a panel that are multiplied, and dequantised, at a time: 16 KiB of f32, which stay in the first-level cache.
pub(super) const DEPTH_BLOCK: usize = 512;

/// The matrix `[inputs, outputs]` of a linear layer, in panels of eight columns.
///
/// Quantised weights stay quantised in memory. Columns that fill up the last panel have scale or weight 0.
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
        /// `inputs` rows a panel.
        values: Vec<PanelRow>,
    },
    Int8 {
        /// `inputs` rows a panel.
        values: Vec<[i8; PANEL]>,
        /// One row a panel.
        scales: Vec<PanelRow>,
        /// One row a panel.
        zero_points: Vec<PanelRow>,
    },
    Int4 {
        block_size: usize,
        /// `inputs / 2` rows a panel, rounded up: row k in the low nibbles, row k + 1 in the high ones.
        pairs: Vec<[u8; PANEL]>,
        /// One row a block of a panel.
        scales: Vec<PanelRow>,
        /// One row a block of a panel; empty where every zero point is 8.
        zero_points: Vec<[u8; PANEL]>,
    },
}

impl LinearWeights {
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
        LinearWeights { inputs, outputs, panels: Panels::Float32 { values } }
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
        let zero_point = |n: usize| match zero_points.len() {
            0 => 0.0,
            1 => f32::from(zero_points[0]),
            _ => f32::from(zero_points[n]),
        };
        let panels = Panels::Int8 {
            values: pack(inputs, outputs, 0, |k, n| q[k * input_stride + n * output_stride]),
            scales: pack(1, outputs, 0.0, |_, n| if scales.len() == 1 { scales[0] } else { scales[n] }),
            zero_points: pack(1, outputs, 0.0, |_, n| zero_point(n)),
        };
        Ok(LinearWeights { inputs, outputs, panels })
    }

    /// Packs weights `(q - zero_point) * scale` of 4 bits, in the layout of `com.microsoft.MatMulNBits` with `bits = 4`:
    /// `b` is `[outputs, blocks, block_size / 2]`, the low nibble first; `scales` is `[outputs, blocks]`; `zero_points`
    /// is `[outputs, blocks / 2 rounded up]`, the low nibble first, and where there are none, every zero point is 8.
    ///
    /// # Errors
    /// `InvalidModel` when a length does not fit, a scale is not finite, or `block_size` is not a power of two of at
    /// least 16.
    pub fn from_nbits4(
        b: &[u8],
        scales: &[f32],
        zero_points: Option<&[u8]>,
        inputs: usize,
        outputs: usize,
        block_size: usize,
    ) -> Result<LinearWeights> {
        if block_size < 16 || !block_size.is_power_of_two() {
            return Err(Error::invalid_model(format!("4-bit weights in blocks of {block_size}"))
                .remedy("quantise with a block size that is a power of two and at least 16"));
        }
        let blocks = inputs.div_ceil(block_size);
        let zero_point_bytes = blocks.div_ceil(2);
        check_scales(scales)?;
        check_count("scales", scales.len(), &[volume(&[outputs, blocks])?])?;
        check_count("bytes of 4-bit weights", b.len(), &[volume(&[outputs, blocks, block_size / 2])?])?;
        if let Some(zero_points) = zero_points {
            check_count("bytes of zero points", zero_points.len(), &[volume(&[outputs, zero_point_bytes])?])?;
        }
        let column_bytes = blocks * (block_size / 2);
        let panels = Panels::Int4 {
            block_size,
            pairs: pack(inputs.div_ceil(2), outputs, 0, |pair, n| b[n * column_bytes + pair]),
            scales: pack(blocks, outputs, 0.0, |block, n| scales[n * blocks + block]),
            zero_points: zero_points.map_or(Vec::new(), |zero_points| {
                pack(blocks, outputs, 0, |block, n| {
                    let byte = zero_points[n * zero_point_bytes + block / 2];
                    if block % 2 == 0 { byte & 15 } else { byte >> 4 }
                })
            }),
        };
        Ok(LinearWeights { inputs, outputs, panels })
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
            Panels::Float32 { values } => size_of_val(&values[..]),
            Panels::Int8 { values, scales, zero_points } => {
                size_of_val(&values[..]) + size_of_val(&scales[..]) + size_of_val(&zero_points[..])
            }
            Panels::Int4 { pairs, scales, zero_points, .. } => {
                size_of_val(&pairs[..]) + size_of_val(&scales[..]) + size_of_val(&zero_points[..])
            }
        }
    }

    /// How the weights are kept: `float32`, `int8` or `int4`.
    pub fn format(&self) -> &'static str {
        match &self.panels {
            Panels::Float32 { .. } => "float32",
            Panels::Int8 { .. } => "int8",
            Panels::Int4 { .. } => "int4",
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

    /// Rows `depth` of a panel as f32, dequantised into `scratch` where they are not kept so. `depth` starts at a
    /// multiple of [`DEPTH_BLOCK`] and has at most that many rows.
    pub(super) fn panel<'a>(
        &'a self,
        panel: usize,
        depth: Range<usize>,
        scratch: &'a mut [PanelRow],
    ) -> &'a [PanelRow] {
        let rows = panel * self.inputs + depth.start..panel * self.inputs + depth.end;
        match &self.panels {
            Panels::Float32 { values } => &values[rows],
            Panels::Int8 { values, scales, zero_points } => {
                let scratch = &mut scratch[..depth.len()];
                dequantise_int8(&values[rows], &scales[panel], &zero_points[panel], scratch);
                scratch
            }
            Panels::Int4 { block_size, pairs, scales, zero_points } => {
                let scratch = &mut scratch[..depth.len()];
                let blocks = self.inputs.div_ceil(*block_size);
                let pairs = &pairs[panel * self.inputs.div_ceil(2)..];
                let mut start = depth.start;
                while start < depth.end {
                    let block = start / block_size;
                    let end = depth.end.min((block + 1) * block_size);
                    let zero_point = zero_points.get(panel * blocks + block).unwrap_or(&[8; PANEL]);
                    let scale = &scales[panel * blocks + block];
                    let out = &mut scratch[start - depth.start..end - depth.start];
                    dequantise_int4(&pairs[start / 2..end.div_ceil(2)], scale, zero_point, out);
                    start = end;
                }
                scratch
            }
        }
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

/// Writes `(q - zero_point) * scale` for pairs of rows of eight columns; of the last pair perhaps only the first row.
fn dequantise_int4(pairs: &[[u8; PANEL]], scales: &PanelRow, zero_points: &[u8; PANEL], out: &mut [PanelRow]) {
    let columns = Columns::new(scales, &zero_points.map(f32::from));
    let (two_rows, last_row) = out.as_chunks_mut::<2>();
    for (pair, [low_row, high_row]) in pairs.iter().zip(two_rows) {
        let [low, high] = F32x4::pairs_from_nibbles(pair);
        columns.dequantise(low, low_row);
        columns.dequantise(high, high_row);
    }
    if let (Some(pair), [low_row]) = (pairs.last(), last_row) {
        let [low, _] = F32x4::pairs_from_nibbles(pair);
        columns.dequantise(low, low_row);
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
        let int4 = LinearWeights::from_nbits4(&b, &[0.5, 2.0], Some(&[0xe1]), 17, 1, 16).unwrap();
        let mut expected_int4: Vec<f32> = (0..16).map(|nibble| (nibble as f32 - 1.0) * 0.5).collect();
        expected_int4.push((15.0 - 14.0) * 2.0);
        let cases = [
            (by_rows, "float32", vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2 * 8 * 4),
            (by_columns, "float32", vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2 * 8 * 4),
            (int8, "int8", vec![0.0, 0.0, 65.5, -254.0], 2 * 8 + 2 * 8 * 4),
            (int4, "int4", expected_int4, 9 * 8 + 2 * 8 * 4 + 2 * 8),
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
            let result = LinearWeights::from_nbits4(
                &weights,
                &case.scales,
                zero_points.as_deref(),
                case.inputs,
                3,
                case.block_size,
            );
            let code = result.err().map(|error| error.code);
            assert_eq!(code, (!case.fits).then_some(ErrorCode::InvalidModel), "case {index}");
        }
    }
}
