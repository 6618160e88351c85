//! Rotary position embedding.

use super::simd::{F32x4, LANES};
use crate::attention::HeadStrides;

/// One rotary embedding call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotaryCall {
    /// Independent sequences.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens of a sequence.
    pub positions: usize,
    /// Elements of a head's vector.
    pub head_dim: usize,
    /// How many of them, from the first on, are rotated; even, and `head_dim` at most.
    pub rotary_dim: usize,
    /// Whether neighbours are rotated together, `(0, 1), (2, 3) …`; else an element of the first half of `rotary_dim` with
    /// the one of the second half, `(0, rotary_dim / 2) …`.
    pub interleaved: bool,
    /// Layout of the input, `[batch, heads, positions, head_dim]`.
    pub input: HeadStrides,
    /// Layout of the output, without gaps.
    pub output: HeadStrides,
}

/// Rotates pair `i` of each vector by the angle whose cosine and sine stand in column `i` of the token's row of `cos` and
/// `sin`, `[rows, rotary_dim / 2]`; the rest is copied. `rows` has the row of each token, `[batch, positions]`.
///
/// # Panics
/// When an operand has another length than the call says, or a vector or a row lies outside `input`, `cos` or `sin`.
pub fn rotary_embedding(call: &RotaryCall, input: &[f32], cos: &[f32], sin: &[f32], rows: &[usize], out: &mut [f32]) {
    let RotaryCall { batch, heads, positions, head_dim, rotary_dim, .. } = *call;
    let half = rotary_dim / 2;
    assert!(rotary_dim <= head_dim && rotary_dim.is_multiple_of(2), "the rotated elements come in pairs");
    assert_eq!(out.len(), batch * heads * positions * head_dim, "vectors lie without gaps");
    assert_eq!(rows.len(), batch * positions, "each token has its row");
    for (token, row) in rows.iter().enumerate() {
        let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
        let (batch, position) = (token / positions, token % positions);
        for head in 0..heads {
            let [from, to] = [call.input, call.output].map(|strides| {
                strides.start + batch * strides.batch + head * strides.head + position * strides.position
            });
            let (input, out) = (&input[from..][..head_dim], &mut out[to..][..head_dim]);
            rotate(&input[..rotary_dim], cos, sin, call.interleaved, &mut out[..rotary_dim]);
            out[rotary_dim..].copy_from_slice(&input[rotary_dim..]);
        }
    }
}

fn rotate(input: &[f32], cos: &[f32], sin: &[f32], interleaved: bool, out: &mut [f32]) {
    let turned = |x: f32, y: f32, cos: f32, sin: f32| (x * cos - y * sin, x * sin + y * cos);
    if interleaved {
        let angles = cos.iter().zip(sin);
        for ((pair, out), (cos, sin)) in input.as_chunks().0.iter().zip(out.as_chunks_mut().0).zip(angles) {
            let ([x, y], [real, imaginary]) = (*pair, out);
            (*real, *imaginary) = turned(x, y, *cos, *sin);
        }
        return;
    }
    let half = cos.len();
    let ((x, y), (real, imaginary)) = (input.split_at(half), out.split_at_mut(half));
    let vectors = half / LANES;
    let [xs, ys, coss, sins] = [x, y, cos, sin].map(|values| values.as_chunks::<LANES>().0);
    let (reals, imaginaries) = (real.as_chunks_mut::<LANES>().0, imaginary.as_chunks_mut::<LANES>().0);
    for index in 0..vectors {
        let [x, y, cos, sin] = [xs, ys, coss, sins].map(|values| F32x4::load(&values[index]));
        (x * cos - y * sin).store(&mut reals[index]);
        (x * sin + y * cos).store(&mut imaginaries[index]);
    }
    for index in vectors * LANES..half {
        (real[index], imaginary[index]) = turned(x[index], y[index], cos[index], sin[index]);
    }
}

#[cfg(any(test, feature = "selftest"))]
pub(super) mod cases {
    use super::*;
    use crate::kernels::self_test::{difference, numbers};

    /// Holds the kernel against rotations by a quarter, and by the angle whose cosine is 0.6 and sine 0.8.
    pub(in crate::kernels) fn failures() -> Vec<String> {
        struct Case {
            interleaved: bool,
            rotary_dim: usize,
            rows: [usize; 2],
            expected: [f32; 8],
        }
        let cases = [
            Case {
                interleaved: false,
                rotary_dim: 4,
                rows: [0, 1],
                expected: [-3., -4., 1., 2., -2.6, -2.8, 8.2, 9.6],
            },
            Case {
                interleaved: true,
                rotary_dim: 4,
                rows: [0, 1],
                expected: [-2., 1., -4., 3., -1.8, 7.6, -2.2, 10.4],
            },
            Case { interleaved: false, rotary_dim: 2, rows: [1, 0], expected: [-1., 2., 3., 4., -6., 5., 7., 8.] },
            Case { interleaved: true, rotary_dim: 0, rows: [0, 0], expected: [1., 2., 3., 4., 5., 6., 7., 8.] },
        ];
        let run = |case: Case| {
            let strides = HeadStrides { start: 0, batch: 8, head: 8, position: 4 };
            let call = RotaryCall {
                batch: 1,
                heads: 1,
                positions: 2,
                head_dim: 4,
                rotary_dim: case.rotary_dim,
                interleaved: case.interleaved,
                input: strides,
                output: strides,
            };
            let half = case.rotary_dim / 2;
            let (cos, sin) = ([vec![0.0; half], vec![0.6; half]].concat(), [vec![1.0; half], vec![0.8; half]].concat());
            let mut out = [0.0; 8];
            rotary_embedding(&call, &[1., 2., 3., 4., 5., 6., 7., 8.], &cos, &sin, &case.rows, &mut out);
            difference(format!("{call:?}"), &out, &case.expected, 1e-6)
        };
        let mut failures: Vec<String> = cases.into_iter().filter_map(run).collect();
        for rotary_dim in [2, 8, 12, 22] {
            failures.extend(
                [false, true].map(|interleaved| failure_of_size(rotary_dim, interleaved)).into_iter().flatten(),
            );
        }
        failures
    }

    /// Holds the kernel against the definition, on two sequences of three tokens with two heads.
    fn failure_of_size(rotary_dim: usize, interleaved: bool) -> Option<String> {
        let head_dim = rotary_dim + 1;
        let wide = 2 * head_dim + 2;
        let output = HeadStrides { start: 0, batch: 6 * head_dim, head: head_dim, position: 2 * head_dim };
        // An element before the heads of each token, and one behind them.
        let input = HeadStrides { start: 1, batch: 3 * wide, head: head_dim, position: wide };
        let call = RotaryCall { batch: 2, heads: 2, positions: 3, head_dim, rotary_dim, interleaved, input, output };
        let (half, rows) = (rotary_dim / 2, [2, 0, 1, 1, 1, 0]);
        let (vectors, cos, sin) = (numbers(12 * head_dim, 1), numbers(3 * half, 2), numbers(3 * half, 3));
        let rows_of_tokens = vectors.chunks(2 * head_dim);
        let nan = [f32::NAN];
        let input: Vec<f32> = rows_of_tokens.flat_map(|row| [&nan, row, &nan].concat()).collect();
        let mut expected = vectors.clone();
        for vector in 0..12 {
            for pair in 0..half {
                let (real, imaginary) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + half) };
                let [real, imaginary] = [real, imaginary].map(|index| vector * head_dim + index);
                // Two heads' vectors lie behind each other.
                let angle = rows[vector / 2] * half + pair;
                expected[real] = vectors[real] * cos[angle] - vectors[imaginary] * sin[angle];
                expected[imaginary] = vectors[real] * sin[angle] + vectors[imaginary] * cos[angle];
            }
        }
        let mut got = vec![f32::NAN; vectors.len()];
        rotary_embedding(&call, &input, &cos, &sin, &rows, &mut got);
        difference(format!("{call:?}"), &got, &expected, 1e-6)
    }

    #[test]
    fn all_hold() {
        assert_eq!(failures(), Vec::<String>::new());
    }
}
