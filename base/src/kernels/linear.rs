//! The linear layer: rows times weights, with bias, activation and a joined operand in the same pass.
#![allow(unsafe_code)]

use super::activation::Activation;
use super::block_linear::{BlockProduct, Scratch};
use super::block_weights;
use super::finish::Finish;
pub use super::finish::{Join, Joined};
use super::linear_weights::DEPTH_BLOCK;
pub use super::linear_weights::{LinearWeights, NBits, NBitsZeroPoints, Quantised, lowest_bits};
use super::panel::{FinishColumns, Left, LeftRows, PANEL, PackedRows, PanelRow, Target, multiply_panel, widest_tile};
use super::parallel::{SharedOutput, for_each};
use super::pool;
use std::ops::Range;

/// Rows that go through all weights together: 256 KiB of a [`DEPTH_BLOCK`], which stay in the second-level cache.
const ROW_BLOCK: usize = 128;

/// Most rows that are packed: beyond, packing takes as long as it saves.
const PACKED_ROWS: usize = 64;

/// Bytes of weights through which the first tile of rows goes ahead of the others: while it does they come from memory, in one stream
/// that is not broken off, and stay in the second-level cache for the others.
const STREAM_BYTES: usize = 1 << 18;

/// Columns of a task, but for those of the last one, are whole panels, and whole cache lines.
const COLUMN_STEP: usize = block_weights::OUTPUTS.next_multiple_of(PANEL);

/// Fewest columns that one task computes, where there are as many.
const COLUMN_BLOCK: usize = 8 * PANEL;

/// Fewest multiply-adds of a task, where there are as many: ten microseconds of one row, beside which it counts little to hand the task
/// out, and that memory has to be asked for its first weights before it gives the following ones by itself.
const TASK_WORK: usize = 1 << 19;

/// `out[r, n] = activation(Σ_k x[r, k] · w[k, n] + bias[n])`, to which the joined operand is added or by which it is multiplied,
/// with `x` `[rows, inputs]`, `bias` `[outputs]`, the operand and `out` `[rows, outputs]`, all row-major.
///
/// Sums are kept in f32. Where the weights [say so](LinearWeights::rounding_activations), `x` is rounded to 8 bits first.
///
/// # Panics
/// When a length does not fit.
pub fn linear(
    x: &[f32],
    rows: usize,
    weights: &LinearWeights,
    bias: Option<&[f32]>,
    activation: Activation,
    joined: Option<Joined<'_>>,
    out: &mut [f32],
) {
    check_lengths(x, rows, weights, bias, joined, out);
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    let product = weights.block_product(x, rows);
    // Packed rows go through the weights as one block.
    const { assert!(PACKED_ROWS <= ROW_BLOCK) };
    let packed = (product.is_none() && rows <= PACKED_ROWS).then(|| PackedRows::new(x, rows, inputs));
    let row_block = product.as_ref().map_or(ROW_BLOCK, BlockProduct::row_block);
    let cut = Cut::new(rows, outputs, row_block, inputs);
    let finish = Finish { bias, activation, joined };
    let out = SharedOutput::new(out);
    for_each(
        cut.parts(),
        cut.work,
        || (if product.is_some() { Vec::new() } else { weights.scratch() }, Scratch::default()),
        |(scratch, block_scratch), task| {
            let block = cut.part(task);
            // SAFETY: every task has its own block of the output.
            unsafe {
                match (&product, &packed) {
                    (Some(product), _) => {
                        product.multiply(block, &out, block_scratch);
                        finish_block(block, outputs, &finish, &out);
                    }
                    (None, Some(packed)) => {
                        multiply_block(block, |first| packed.from(first), weights, &finish, &out, scratch);
                    }
                    (None, None) => {
                        let start = block.first_row * inputs;
                        let left = |first| LeftRows { values: &x[start + first..], rows: block.rows, stride: inputs };
                        multiply_block(block, left, weights, &finish, &out, scratch);
                    }
                }
            }
        },
    );
}

/// Columns of a task, of `column_work` multiply-adds each: such that all threads have as many.
fn columns_of_a_task(column_work: usize, outputs: usize) -> usize {
    let tasks = (column_work.saturating_mul(outputs) / TASK_WORK).clamp(1, outputs.div_ceil(COLUMN_BLOCK).max(1));
    outputs.div_ceil(tasks.next_multiple_of(pool::threads())).next_multiple_of(COLUMN_STEP).max(COLUMN_STEP)
}

/// [`linear`] by its definition, with sums in f64.
///
/// # Panics
/// When a length does not fit.
pub fn linear_reference(
    x: &[f32],
    rows: usize,
    weights: &LinearWeights,
    bias: Option<&[f32]>,
    activation: Activation,
    joined: Option<Joined<'_>>,
    out: &mut [f32],
) {
    check_lengths(x, rows, weights, bias, joined, out);
    let sums = sums_reference(x, rows, weights, bias);
    for (at, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
        let value = activation.reference(sum);
        *out = match joined {
            None => value,
            Some(Joined { how: Join::Add, values }) => value + f64::from(values[at]),
            Some(Joined { how: Join::Multiply, values }) => value * f64::from(values[at]),
        } as f32;
    }
}

/// `Σ_k x[r, k] · w[k, n] + bias[n]` in f64, row-major.
pub(super) fn sums_reference(x: &[f32], rows: usize, weights: &LinearWeights, bias: Option<&[f32]>) -> Vec<f64> {
    let (inputs, outputs) = (weights.inputs(), weights.outputs());
    let (x, matrix) = (weights.rounded_reference(x), weights.to_f32());
    let sum = |row: usize, column: usize| {
        let product = |k: usize| x[row * inputs + k] * f64::from(matrix[k * outputs + column]);
        (0..inputs).map(product).sum::<f64>() + bias.map_or(0.0, |bias| f64::from(bias[column]))
    };
    (0..rows * outputs).map(|at| sum(at / outputs, at % outputs)).collect()
}

pub(super) fn check_lengths(
    x: &[f32],
    rows: usize,
    weights: &LinearWeights,
    bias: Option<&[f32]>,
    joined: Option<Joined<'_>>,
    out: &[f32],
) {
    assert_eq!(Some(x.len()), rows.checked_mul(weights.inputs()), "x is [rows, inputs]");
    assert_eq!(Some(out.len()), rows.checked_mul(weights.outputs()), "out is [rows, outputs]");
    assert!(bias.is_none_or(|bias| bias.len() == weights.outputs()), "bias is [outputs]");
    assert!(joined.is_none_or(|joined| joined.values.len() == out.len()), "the joined operand is [rows, outputs]");
}

/// A part of the output.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) first_row: usize,
    pub(super) first_column: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// How an output is cut into parts: into blocks of rows, and each of them into blocks of columns.
pub(super) struct Cut {
    rows: usize,
    outputs: usize,
    row_block: usize,
    columns: usize,
    /// Multiply-adds of all parts together.
    pub(super) work: usize,
}

impl Cut {
    /// Of an output each of whose elements takes so many multiply-adds.
    pub(super) fn new(rows: usize, outputs: usize, row_block: usize, element_work: usize) -> Cut {
        let columns = columns_of_a_task(row_block.min(rows) * element_work, outputs);
        let work = rows.saturating_mul(element_work).saturating_mul(outputs);
        Cut { rows, outputs, row_block, columns, work }
    }

    pub(super) fn parts(&self) -> usize {
        self.rows.div_ceil(self.row_block) * self.outputs.div_ceil(self.columns)
    }

    pub(super) fn part(&self, index: usize) -> Part {
        let column_blocks = self.outputs.div_ceil(self.columns);
        let first_row = index / column_blocks * self.row_block;
        let first_column = index % column_blocks * self.columns;
        Part {
            first_row,
            first_column,
            rows: self.row_block.min(self.rows - first_row),
            columns: self.columns.min(self.outputs - first_column),
        }
    }
}

/// The order in which a block's products are made.
struct Order {
    /// Rows of the weights that all rows and columns go through together: a multiple of [`DEPTH_BLOCK`].
    depth: usize,
    /// Columns that some rows go through before other rows do.
    columns: usize,
    /// The rows that go first.
    ahead: usize,
}

impl Order {
    /// For so many rows.
    fn new(rows: usize, weights: &LinearWeights) -> Order {
        let inputs = weights.inputs().max(1);
        if !weights.is_float32() {
            // They are dequantised once, panel by panel, for all rows.
            return Order { depth: DEPTH_BLOCK, columns: PANEL, ahead: rows };
        }
        // Few rows are small enough to be read anew for each panel.
        let depth = if rows <= PACKED_ROWS { inputs.next_multiple_of(DEPTH_BLOCK) } else { DEPTH_BLOCK };
        let panels = STREAM_BYTES.div_ceil(size_of::<PanelRow>() * depth.min(inputs));
        Order { depth, columns: panels * PANEL, ahead: widest_tile().min(rows) }
    }
}

/// Writes the block of the finished product; `left` gives its rows from an element on.
///
/// # Safety
/// As long as this runs, no one else may use the block of `out`.
unsafe fn multiply_block<L: Left>(
    block: Part,
    left: impl Fn(usize) -> L,
    weights: &LinearWeights,
    finish: &Finish<'_>,
    out: &SharedOutput<'_>,
    scratch: &mut [PanelRow],
) {
    let Part { first_row, first_column, rows, columns } = block;
    let (inputs, outputs, order) = (weights.inputs(), weights.outputs(), Order::new(rows, weights));
    let mut multiply = |rows: Range<usize>, column: usize, start: usize| {
        let depth = start..inputs.min(start + DEPTH_BLOCK);
        let target = Target {
            buffer: out,
            start: (first_row + rows.start) * outputs + column,
            stride: outputs,
            columns: PANEL.min(outputs - column),
            accumulate: start > 0,
            finish: (depth.end == inputs).then_some(FinishColumns { finish, first_column: column }),
        };
        let panel = weights.panel(column / PANEL, depth, scratch);
        // SAFETY: the target is in the block, which the caller keeps for this call.
        unsafe { multiply_panel(left(start).part(rows), panel, target) };
    };
    // Without inputs there is still one, empty, product to write.
    let (depths, columns) = (0..inputs.max(1), first_column..first_column + columns);
    for depths in parts(depths, order.depth) {
        for columns in parts(columns.clone(), order.columns) {
            for rows in [0..order.ahead, order.ahead..rows].into_iter().filter(|rows| !rows.is_empty()) {
                for column in columns.clone().step_by(PANEL) {
                    depths.clone().step_by(DEPTH_BLOCK).for_each(|start| multiply(rows.clone(), column, start));
                }
            }
        }
    }
}

/// Parts of so many, the last one perhaps of fewer.
fn parts(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(len).map(move |start| start..end.min(start + len))
}

/// Finishes the sums of a block.
///
/// # Safety
/// As long as this runs, no one else may use the block of `out`.
pub(super) unsafe fn finish_block(block: Part, outputs: usize, finish: &Finish<'_>, out: &SharedOutput<'_>) {
    for row in block.first_row..block.first_row + block.rows {
        let start = row * outputs + block.first_column;
        // SAFETY: a row of the block, which the caller keeps for this call.
        finish.apply(unsafe { out.slice(start, block.columns) }, block.first_column, start);
    }
}

#[cfg(any(test, feature = "selftest"))]
#[allow(clippy::excessive_precision, reason = "recorded values stand as they were printed")]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{bytes, difference, numbers, signed_bytes};

    /// Holds the kernel, and its twin, against recorded results, and the kernel against its twin at many sizes.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = failures_of_recorded();
        for inputs in [0, 1, 7, 33, 384, 1100] {
            for outputs in [1, 5, 8, 35, 384] {
                for weights in every_format(inputs, outputs) {
                    for rows in [0, 1, 3, 5, 8, 17, 260] {
                        failures.extend(failure_of_size(rows, &weights));
                    }
                }
            }
        }
        failures.extend(failures_of_joined());
        failures
    }

    /// Weights side by side are the numbers that each has by itself, kept as they were unless some panel but the last is not
    /// whole.
    fn failures_of_joined() -> Vec<String> {
        let mut failures = Vec::new();
        for inputs in [1, 7, 32, 65, 600] {
            for (outputs, whole) in [(&[16, 5][..], true), (&[32, 16, 48], true), (&[8], true), (&[16, 8, 16], false)] {
                for format in 0..5 {
                    let part = |outputs: &usize| {
                        let formats = every_format(inputs, *outputs);
                        let rounding = formats[3].clone().rounding_activations();
                        formats.into_iter().chain([rounding]).nth(format).expect("a format")
                    };
                    let parts: Vec<LinearWeights> = outputs.iter().map(part).collect();
                    failures.extend(failure_of_joined(&parts, if whole { parts[0].format() } else { "float32" }));
                }
            }
            let formats = every_format(inputs, 8);
            failures.extend(failure_of_joined(&formats, "float32"));
            let rounding = formats[3].clone().rounding_activations();
            failures.extend(failure_of_joined(&[rounding, formats[3].clone()], "float32"));
        }
        failures
    }

    fn failure_of_joined(parts: &[LinearWeights], format: &str) -> Option<String> {
        let joined = LinearWeights::joined(&parts.iter().collect::<Vec<_>>());
        let matrices: Vec<Vec<f32>> = parts.iter().map(LinearWeights::to_f32).collect();
        let row = |k: usize| {
            parts.iter().zip(&matrices).flat_map(move |(part, matrix)| &matrix[k * part.outputs()..][..part.outputs()])
        };
        let expected: Vec<f32> = (0..joined.inputs()).flat_map(row).copied().collect();
        let what = format!("{parts:?} side by side");
        if joined.format() != format {
            return Some(format!("{what}: {} where {format} is expected", joined.format()));
        }
        difference(what, &joined.to_f32(), &expected, 0.0)
    }

    fn every_format(inputs: usize, outputs: usize) -> [LinearWeights; 4] {
        let count = inputs * outputs;
        let columns: Vec<f32> = numbers(outputs, 2).iter().map(|scale| scale / 256.0).collect();
        let blocks = inputs.div_ceil(32);
        let scales: Vec<f32> = numbers(outputs * blocks, 2).iter().map(|scale| scale / 16.0).collect();
        let nibbles = bytes(outputs * blocks * 16, 1);
        let zero_points = bytes(outputs * blocks.div_ceil(2), 3);
        [
            LinearWeights::from_f32(&numbers(count, 1), inputs, outputs, outputs, 1),
            LinearWeights::from_f32(&numbers(count, 1), inputs, outputs, 1, inputs),
            LinearWeights::from_int8(
                &signed_bytes(count, 1),
                inputs,
                outputs,
                outputs,
                1,
                &columns,
                &signed_bytes(outputs, 3),
            )
            .expect("int8 weights"),
            LinearWeights::from_nbits(NBits {
                bits: 4,
                inputs,
                outputs,
                block_size: 32,
                b: &nibbles,
                scales: &scales,
                zero_points: NBitsZeroPoints::Packed(&zero_points),
                groups: None,
            })
            .expect("int4 weights"),
        ]
    }

    /// None, a residual or a gate.
    pub(in crate::kernels) fn joined(rows: usize, values: &[f32]) -> Option<Joined<'_>> {
        match rows % 4 {
            0 | 3 => Some(Joined { how: Join::Add, values }),
            1 => Some(Joined { how: Join::Multiply, values }),
            _ => None,
        }
    }

    fn failure_of_size(rows: usize, weights: &LinearWeights) -> Option<String> {
        let (inputs, outputs) = (weights.inputs(), weights.outputs());
        let x = numbers(rows * inputs, 5);
        let (bias, values) = (numbers(outputs, 6), numbers(rows * outputs, 7));
        // Between them, the sizes meet every combination.
        let bias = (!rows.is_multiple_of(3)).then_some(&bias[..]);
        let joined = joined(rows, &values);
        let activation = if outputs.is_multiple_of(5) { Activation::Gelu } else { Activation::Identity };
        let mut got = vec![f32::NAN; rows * outputs];
        let mut expected = got.clone();
        linear(&x, rows, weights, bias, activation, joined, &mut got);
        linear_reference(&x, rows, weights, bias, activation, joined, &mut expected);
        // Sums of `inputs` products below 1, in f32.
        let tolerance = 1e-6 * (inputs as f32 / 32.0).max(1.0);
        difference(format!("{rows} rows, {weights:?}, {activation:?}"), &got, &expected, tolerance)
    }

    struct Recorded {
        what: &'static str,
        weights: LinearWeights,
        rows: usize,
        bias: Option<Vec<f32>>,
        activation: Activation,
        residual: Option<Vec<f32>>,
        expected: &'static [f32],
    }

    impl Recorded {
        fn product(what: &'static str, weights: LinearWeights, rows: usize, expected: &'static [f32]) -> Recorded {
            Recorded { what, weights, rows, bias: None, activation: Activation::Identity, residual: None, expected }
        }
    }

    fn failures_of_recorded() -> Vec<String> {
        let cases = recorded().into_iter().flat_map(|case| {
            let x = numbers(case.rows * case.weights.inputs(), 3);
            let bias = case.bias.as_deref();
            let joined = case.residual.as_deref().map(|values| Joined { how: Join::Add, values });
            let mut got = vec![f32::NAN; case.expected.len()];
            let mut twin = got.clone();
            linear(&x, case.rows, &case.weights, bias, case.activation, joined, &mut got);
            linear_reference(&x, case.rows, &case.weights, bias, case.activation, joined, &mut twin);
            [
                difference(case.what, &got, case.expected, 2e-6),
                difference(format!("twin, {}", case.what), &twin, case.expected, 2e-6),
            ]
        });
        cases.flatten().collect()
    }

    /// From ONNX Runtime 1.32: `Gemm`, `Gelu` and `Add`; `DequantizeLinear` and `MatMul`; `MatMulNBits`.
    fn recorded() -> Vec<Recorded> {
        let int8 = |scales: usize, zero_points: usize| {
            LinearWeights::from_int8(
                &signed_bytes(35, 1),
                7,
                5,
                5,
                1,
                &numbers(scales, 2),
                &signed_bytes(zero_points, 4),
            )
            .expect("int8 weights")
        };
        let nbits4 = |inputs: usize, outputs: usize, block_size: usize, zero_points: bool| {
            let blocks = inputs.div_ceil(block_size);
            let scales: Vec<f32> = numbers(outputs * blocks, 2).iter().map(|scale| scale / 8.0).collect();
            let zero_points = zero_points.then(|| bytes(outputs * blocks.div_ceil(2), 4));
            let b = bytes(outputs * blocks * block_size / 2, 1);
            let zero_points = zero_points.as_deref().map_or(NBitsZeroPoints::None, NBitsZeroPoints::Packed);
            let weights =
                NBits { bits: 4, inputs, outputs, block_size, b: &b, scales: &scales, zero_points, groups: None };
            LinearWeights::from_nbits(weights).expect("int4 weights")
        };
        vec![
            Recorded {
                what: "bias, GELU and residual",
                weights: LinearWeights::from_f32(&numbers(35, 1), 7, 5, 5, 1),
                rows: 2,
                bias: Some(numbers(5, 2)),
                activation: Activation::Gelu,
                residual: Some(numbers(10, 4)),
                expected: &[
                    0.06438173,
                    0.8595852,
                    0.60647213,
                    1.000462,
                    0.26393953,
                    0.5072298,
                    -0.6836713,
                    0.38432223,
                    -0.41395777,
                    2.997327,
                ],
            },
            Recorded::product(
                "int8, scales and zero points for each column",
                int8(5, 5),
                2,
                &[
                    5.863906, 20.46637, -60.883408, 90.27241, 82.45337, -8.801463, 5.5858154, 133.25952, -72.322105,
                    -83.002106,
                ],
            ),
            Recorded::product(
                "int8, one scale",
                int8(1, 0),
                2,
                &[
                    -6.897855, 21.567062, 6.200776, 20.199162, -1.3482485, 9.675729, -18.56947, -16.79545, -10.180419,
                    8.395346,
                ],
            ),
            Recorded::product(
                "int8, one scale and zero point",
                int8(1, 1),
                2,
                &[
                    5.863906, 34.328823, 18.962538, 32.96092, 11.413511, -8.801463, -37.04666, -35.272644, -28.657612,
                    -10.081846,
                ],
            ),
            Recorded::product(
                "4 bits, blocks of 16, zero points",
                nbits4(40, 3, 16, true),
                2,
                &[-1.4385935, -1.2788504, -0.775149, -0.07209134, -2.1387818, 0.737146],
            ),
            Recorded::product(
                "4 bits, blocks of 16",
                nbits4(40, 3, 16, false),
                2,
                &[-1.7123531, -0.9956614, -0.424047, 0.0557971, 1.1769435, -0.03926575],
            ),
            Recorded::product(
                "4 bits, one row more than a block of 32, zero points",
                nbits4(33, 5, 32, true),
                1,
                &[0.030203462, 3.8590622, -1.0529896, -0.58361506, 0.23453283],
            ),
            Recorded::product(
                "4 bits, blocks of 32, more than a panel of columns",
                nbits4(64, 9, 32, false),
                3,
                &[
                    1.9152265,
                    1.4397187,
                    0.49920523,
                    -0.9356282,
                    -0.46421647,
                    -0.5263138,
                    -1.3938112,
                    1.0180023,
                    -2.7327008,
                    -1.0745882,
                    0.08854854,
                    -0.9485868,
                    -0.9665803,
                    0.31819916,
                    -0.08433151,
                    -0.31339633,
                    -3.474813,
                    0.6068597,
                    0.4064654,
                    -0.89135456,
                    -0.88004506,
                    2.612414,
                    -0.8650267,
                    -0.34897184,
                    1.2665018,
                    1.7006258,
                    -1.1575773,
                ],
            ),
        ]
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }

    #[test]
    fn nan_and_infinity_reach_their_row_and_no_other() {
        let weights = LinearWeights::from_f32(&[1.0; 6], 2, 3, 3, 1);
        let mut out = [0.0; 9];
        linear(&[f32::NAN, 1.0, 1.0, 2.0, f32::INFINITY, 1.0], 3, &weights, None, Activation::Relu, None, &mut out);
        assert!(out[..3].iter().all(|value| value.is_nan()));
        assert_eq!(out[3..], [3.0, 3.0, 3.0, f32::INFINITY, f32::INFINITY, f32::INFINITY]);
    }

    #[test]
    fn weights_of_different_inputs_cannot_be_joined() {
        let weights = |inputs: usize| LinearWeights::from_f32(&vec![1.0; inputs * 8], inputs, 8, 8, 1);
        let (two, three) = (weights(2), weights(3));
        assert!(std::panic::catch_unwind(|| LinearWeights::joined(&[&two, &three])).is_err());
    }

    #[test]
    fn lengths_that_do_not_fit_panic() {
        // Lengths of x, bias, the joined operand and out for 2 rows, 3 inputs and 4 outputs.
        let cases = [
            ([6, 4, 8, 8], true),
            ([5, 4, 8, 8], false),
            ([6, 3, 8, 8], false),
            ([6, 4, 7, 8], false),
            ([6, 4, 8, 9], false),
        ];
        let weights = LinearWeights::from_f32(&[1.0; 12], 3, 4, 4, 1);
        for (lengths, fits) in cases {
            let [x, bias, values, mut out] = lengths.map(|length| vec![0.0; length]);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let joined = Joined { how: Join::Add, values: &values };
                linear(&x, 2, &weights, Some(&bias), Activation::Identity, Some(joined), &mut out);
            }));
            assert_eq!(result.is_ok(), fits, "{lengths:?}");
        }
    }
}
