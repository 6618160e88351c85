//! The gated linear layer: two products of the same rows, of which one, after its activation, multiplies the other.
#![allow(unsafe_code)]

use super::activation::Activation;
use super::block_linear::{BlockProduct, Put, Scratch};
use super::block_weights::BlockWeights;
use super::finish::{Finish, Join, Joined};
use super::linear::{Cut, LinearWeights, check_lengths, finish_block, linear, sums_reference};
use super::parallel::{SharedOutput, for_each};

/// `Σ_k x[r, k] · w[k, n] + bias[n]`
#[derive(Clone, Copy)]
pub struct Projection<'a> {
    /// `[inputs, outputs]`
    pub weights: &'a LinearWeights,
    /// `[outputs]`
    pub bias: Option<&'a [f32]>,
}

/// `out[r, n] = activation(gate[r, n]) · up[r, n]` of two projections of `x` `[rows, inputs]`, with `out` `[rows, outputs]`, both
/// row-major.
///
/// Sums are kept in f32. Where a projection's weights [say so](LinearWeights::rounding_activations), it takes `x` rounded to 8 bits.
///
/// # Panics
/// When a length does not fit.
pub fn gated_linear(
    x: &[f32],
    rows: usize,
    gate: Projection<'_>,
    up: Projection<'_>,
    activation: Activation,
    out: &mut [f32],
) {
    check_projections(x, rows, [gate, up], out);
    let alike = gate.weights.blocks_alike(up.weights);
    if let (Some(blocks), Some(product)) = (alike, gate.weights.block_product(x, rows)) {
        let cut = Cut::new(rows, up.weights.outputs(), product.row_block(), 2 * up.weights.inputs());
        let finish = Finish { bias: gate.bias, activation, joined: None };
        return multiply_blocks(&product, &finish, blocks, up.bias, &cut, &SharedOutput::new(out));
    }
    let mut gates = vec![0.0; out.len()];
    linear(x, rows, gate.weights, gate.bias, activation, None, &mut gates);
    let joined = Joined { how: Join::Multiply, values: &gates };
    linear(x, rows, up.weights, up.bias, Activation::Identity, Some(joined), out);
}

/// Writes each part of the gate's product, finishes it and multiplies it by that of the same rows with `up`, while it is at hand.
fn multiply_blocks(
    gate: &BlockProduct<'_>,
    finish: &Finish<'_>,
    up: &BlockWeights,
    up_bias: Option<&[f32]>,
    cut: &Cut,
    out: &SharedOutput<'_>,
) {
    for_each(cut.parts(), cut.work, Scratch::default, |scratch, task| {
        let part = cut.part(task);
        // SAFETY: every task has its own part of the output.
        unsafe {
            gate.multiply(part, out, scratch);
            finish_block(part, up.outputs(), finish, out);
            gate.multiply_by(up, Put::Multiply(up_bias), part, out, scratch);
        }
    });
}

/// [`gated_linear`] by its definition, with sums in f64.
///
/// # Panics
/// When a length does not fit.
pub fn gated_linear_reference(
    x: &[f32],
    rows: usize,
    gate: Projection<'_>,
    up: Projection<'_>,
    activation: Activation,
    out: &mut [f32],
) {
    check_projections(x, rows, [gate, up], out);
    let [gates, ups] = [gate, up].map(|of| sums_reference(x, rows, of.weights, of.bias));
    for ((out, gate), up) in out.iter_mut().zip(gates).zip(ups) {
        *out = (activation.reference(gate) * up) as f32;
    }
}

fn check_projections(x: &[f32], rows: usize, projections: [Projection<'_>; 2], out: &[f32]) {
    for Projection { weights, bias } in projections {
        check_lengths(x, rows, weights, bias, None, out);
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::linear::Quantised;
    use crate::kernels::self_test::{bytes, difference, numbers, signed_bytes};

    /// Holds the kernel, and its twin, against integer arithmetic, and the kernel against its twin for every kind of weights
    /// and at many sizes.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        let mut failures = failures_of_integers();
        for inputs in [0, 1, 40, 300] {
            for outputs in [1, 9, 35] {
                for rows in [0, 1, 2, 3, 4, 5, 9, 17] {
                    failures.extend(failures_of_size(rows, inputs, outputs));
                }
            }
        }
        // Several blocks of rows, and of columns.
        failures.extend(failures_of_size(260, 72, 200));
        failures
    }

    type Zero = fn(usize, usize) -> f32;

    /// Integers in blocks of 16 that stand for less than 1/8.
    fn blocks(bits: usize, inputs: usize, outputs: usize, seed: u32, zero_point: Option<Zero>) -> LinearWeights {
        let elements = bytes(inputs * outputs, seed);
        let scales = numbers(inputs.div_ceil(16) * outputs, seed + 1);
        LinearWeights::from_quantised(Quantised {
            bits,
            inputs,
            outputs,
            block_size: 16,
            element: |k, n| elements[k * outputs + n] >> (8 - bits),
            scale: |block, n| scales[block * outputs + n] / (8 << bits) as f32,
            zero_point,
        })
    }

    /// Weights of every format, all but the first two in blocks, which no two of them have alike.
    fn every_format(inputs: usize, outputs: usize, seed: u32) -> [LinearWeights; 7] {
        let integers = signed_bytes(inputs * outputs, seed);
        let floats: Vec<f32> = integers.iter().map(|integer| f32::from(*integer) / 1024.0).collect();
        let blocks = |bits, zero_point| blocks(bits, inputs, outputs, seed, zero_point);
        let own: Option<Zero> = Some(|block, n| ((block + n) % 7 + 5) as f32);
        let halves: Option<Zero> = Some(|block, n| (block + n) as f32 % 7.0 + 4.5);
        [
            LinearWeights::from_f32(&floats, inputs, outputs, outputs, 1),
            LinearWeights::from_int8(&integers, inputs, outputs, outputs, 1, &[1.0 / 1024.0], &[])
                .expect("int8 weights"),
            blocks(4, None),
            blocks(4, None).rounding_activations(),
            blocks(4, own).rounding_activations(),
            blocks(4, halves).rounding_activations(),
            blocks(8, None).rounding_activations(),
        ]
    }

    /// Gates of each format with the other projection of the same one, and of the next one.
    fn failures_of_size(rows: usize, inputs: usize, outputs: usize) -> Vec<String> {
        let (gates, ups) = (every_format(inputs, outputs, 1), every_format(inputs, outputs, 3));
        let next = ups.iter().cycle().skip(1);
        let pairs = gates.iter().zip(&ups).chain(gates.iter().zip(next));
        pairs.filter_map(|(gate, up)| failure_of_pair(rows, gate, up)).collect()
    }

    fn failure_of_pair(rows: usize, gate: &LinearWeights, up: &LinearWeights) -> Option<String> {
        let (inputs, outputs) = (gate.inputs(), gate.outputs());
        let (x, biases) = (numbers(rows * inputs, 5), [6, 7].map(|seed| numbers(outputs, seed)));
        // Between them, the sizes meet every combination.
        let gate = Projection { weights: gate, bias: (!rows.is_multiple_of(3)).then_some(&biases[0][..]) };
        let up = Projection { weights: up, bias: rows.is_multiple_of(2).then_some(&biases[1][..]) };
        let activation = if outputs.is_multiple_of(5) { Activation::Identity } else { Activation::Silu };
        let mut got = vec![f32::NAN; rows * outputs];
        let mut expected = got.clone();
        gated_linear(&x, rows, gate, up, activation, &mut got);
        gated_linear_reference(&x, rows, gate, up, activation, &mut expected);
        let what = format!("{rows} rows, {:?} and {:?}, {activation:?}", gate.weights, up.weights);
        // Sums of at most 300 products of less than 1/8, in f32, times another one.
        difference(what, &got, &expected, 5e-6)
    }

    /// The same integers in every format. One of 127 in each row makes its scale 1, where rows are rounded: results are exact.
    fn failures_of_integers() -> Vec<String> {
        let x = [127.0, 2.0, -127.0, 4.0];
        // Sums with biases are [[131, -254, 389], [-119, 254, -375]] and [[3, 130, 120], [5, -124, -136]].
        let (gates, gate_bias) = (formats_of_integers([1, -2, 3, 2, 0, -1]), [0.0, 0.0, 10.0]);
        let (ups, up_bias) = (formats_of_integers([0, 1, 1, 1, 0, -1]), [1.0, 3.0, -5.0]);
        let expected = [393.0, 0.0, 46680.0, 0.0, -31496.0, 0.0];
        let mut failures = Vec::new();
        for gate in &gates {
            for up in &ups {
                let what = format!("integers, {gate:?} and {up:?}");
                let gate = Projection { weights: gate, bias: Some(&gate_bias) };
                let up = Projection { weights: up, bias: Some(&up_bias) };
                let (mut got, mut twin) = ([f32::NAN; 6], [f32::NAN; 6]);
                gated_linear(&x, 2, gate, up, Activation::Relu, &mut got);
                gated_linear_reference(&x, 2, gate, up, Activation::Relu, &mut twin);
                failures.extend(difference(what.clone(), &got, &expected, 0.0));
                failures.extend(difference(format!("twin, {what}"), &twin, &expected, 0.0));
            }
        }
        failures
    }

    /// Weights `[2, 3]`.
    fn formats_of_integers(integers: [i8; 6]) -> [LinearWeights; 3] {
        let blocks = || {
            LinearWeights::from_quantised(Quantised {
                bits: 4,
                inputs: 2,
                outputs: 3,
                block_size: 16,
                element: |k, n| (integers[3 * k + n] + 8) as u8,
                scale: |_, _| 1.0,
                zero_point: None::<Zero>,
            })
        };
        let floats = LinearWeights::from_f32(&integers.map(f32::from), 2, 3, 3, 1);
        [floats, blocks(), blocks().rounding_activations()]
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }

    #[test]
    fn blocks_that_are_alike() {
        let (gates, ups) = (every_format(40, 9, 1), every_format(40, 9, 3));
        for (first, gate) in gates.iter().enumerate() {
            for (second, up) in ups.iter().enumerate() {
                let alike = first == second && first > 1;
                assert_eq!(gate.blocks_alike(up).is_some(), alike, "{first} {gate:?} and {second} {up:?}");
            }
        }
    }

    #[test]
    fn lengths_that_do_not_fit_panic() {
        // Lengths of x, both biases and out, and sizes of the other projection, for 2 rows, 3 inputs and 4 outputs.
        let cases = [
            ([6, 4, 4, 8], [3, 4], true),
            ([5, 4, 4, 8], [3, 4], false),
            ([6, 3, 4, 8], [3, 4], false),
            ([6, 4, 5, 8], [3, 4], false),
            ([6, 4, 4, 9], [3, 4], false),
            ([6, 4, 4, 8], [2, 4], false),
            ([6, 4, 5, 8], [3, 5], false),
        ];
        for (lengths, [inputs, outputs], fits) in cases {
            let [x, gate_bias, up_bias, mut out] = lengths.map(|length| vec![0.0; length]);
            let (gate, up) = (blocks(4, 3, 4, 1, None), blocks(4, inputs, outputs, 1, None));
            let gate = Projection { weights: &gate, bias: Some(&gate_bias) };
            let up = Projection { weights: &up, bias: Some(&up_bias) };
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                gated_linear(&x, 2, gate, up, Activation::Silu, &mut out);
            }));
            assert_eq!(result.is_ok(), fits, "{lengths:?} {inputs} {outputs}");
        }
    }
}
