//! Matrix products of 8-bit integers, exact.
//!
//! Every product of two differences of 8-bit integers is an integer below 2^16, and a sum of 256 of them one below 2^24,
//! which f32 holds exactly. So the f32 kernel sums as many at a time, and the sums of these sums are kept in i32.

use super::activation::Activation;
use super::linear::{LinearWeights, linear};
use crate::error::Result;

/// Products that are summed in f32.
const EXACT: usize = 256;

/// The matrix `[inputs, outputs]` of differences of 8-bit integers and their zero points.
#[derive(Clone, PartialEq)]
pub struct IntegerWeights {
    inputs: usize,
    outputs: usize,
    /// Rows in blocks of `EXACT`.
    blocks: Vec<LinearWeights>,
}

impl IntegerWeights {
    /// Packs weights: element `[k, n]` is `q[k * outputs + n]`. There is one zero point, one for each output, or none, which
    /// means 0.
    ///
    /// # Errors
    /// `InvalidModel` when the number of zero points does not fit.
    ///
    /// # Panics
    /// When `q` is not `[inputs, outputs]`.
    pub fn new(q: &[i8], inputs: usize, outputs: usize, zero_points: &[i8]) -> Result<IntegerWeights> {
        assert_eq!(Some(q.len()), inputs.checked_mul(outputs), "q is [inputs, outputs]");
        let block = |first: usize| {
            let rows = EXACT.min(inputs - first);
            let elements = &q[first * outputs..(first + rows) * outputs];
            LinearWeights::from_int8(elements, rows, outputs, outputs, 1, &[1.0], zero_points)
        };
        let blocks = (0..inputs).step_by(EXACT).map(block).collect::<Result<_>>()?;
        Ok(IntegerWeights { inputs, outputs, blocks })
    }

    /// Rows of the matrix.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Columns of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Memory that the weights take.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(LinearWeights::bytes).sum()
    }
}

/// `out[r, n] = Σ_k (x[r, k] - zero_point) · w[k, n]`, with `x` `[rows, inputs]` and `out` `[rows, outputs]`, row-major.
/// Elements of `x` and their zero point are integers of 8 bits, signed or not.
///
/// # Panics
/// When a length does not fit.
pub fn integer_linear(x: &[i16], zero_point: i16, rows: usize, weights: &IntegerWeights, out: &mut [i32]) {
    let (inputs, outputs) = (weights.inputs, weights.outputs);
    assert_eq!(Some(x.len()), rows.checked_mul(inputs), "x is [rows, inputs]");
    assert_eq!(Some(out.len()), rows.checked_mul(outputs), "out is [rows, outputs]");
    out.fill(0);
    let mut sums = vec![0.0; out.len()];
    let mut differences = Vec::with_capacity(rows * EXACT.min(inputs));
    for (number, block) in weights.blocks.iter().enumerate() {
        differences.clear();
        for row in x.chunks_exact(inputs) {
            let elements = &row[number * EXACT..number * EXACT + block.inputs()];
            differences.extend(elements.iter().map(|element| f32::from(element - zero_point)));
        }
        linear(&differences, rows, block, None, Activation::Identity, None, &mut sums);
        out.iter_mut().zip(&sums).for_each(|(out, sum)| *out = out.wrapping_add(*sum as i32));
    }
}

/// [`integer_linear`] by its definition.
#[cfg(test)]
fn integer_linear_reference(x: &[i16], zero_point: i16, w: &[i32], inputs: usize, outputs: usize) -> Vec<i32> {
    let sum = |row: &[i16], n: usize| -> i32 {
        (0..inputs).map(|k| i32::from(row[k] - zero_point) * w[k * outputs + n]).sum()
    };
    x.chunks_exact(inputs).flat_map(|row| (0..outputs).map(move |n| (row, n))).map(|(row, n)| sum(row, n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact() {
        struct Case {
            what: &'static str,
            rows: usize,
            inputs: usize,
            outputs: usize,
            x: fn(usize) -> i16,
            zero_point: i16,
            q: fn(usize) -> i8,
            zero_points: &'static [i8],
        }
        let cases = [
            Case {
                what: "the greatest sums",
                rows: 2,
                inputs: 3 * EXACT + 5,
                outputs: 9,
                x: |_| 255,
                zero_point: 0,
                q: |_| 127,
                zero_points: &[-128],
            },
            Case {
                what: "the least sums",
                rows: 1,
                inputs: 2 * EXACT,
                outputs: 3,
                x: |_| 0,
                zero_point: 255,
                q: |_| 127,
                zero_points: &[-128],
            },
            Case {
                what: "mixed elements, a zero point for each column",
                rows: 3,
                inputs: EXACT + 1,
                outputs: 2,
                x: |at| (at * 37 % 256) as i16 - 128,
                zero_point: -3,
                q: |at| (at * 91 % 256) as u8 as i8,
                zero_points: &[5, -7],
            },
            Case {
                what: "no rows",
                rows: 0,
                inputs: 4,
                outputs: 4,
                x: |_| 0,
                zero_point: 0,
                q: |_| 1,
                zero_points: &[],
            },
            Case {
                what: "no inputs",
                rows: 2,
                inputs: 0,
                outputs: 2,
                x: |_| 0,
                zero_point: 0,
                q: |_| 1,
                zero_points: &[],
            },
        ];
        for case in cases {
            let Case { what, rows, inputs, outputs, zero_point, zero_points, .. } = case;
            let x: Vec<i16> = (0..rows * inputs).map(case.x).collect();
            let q: Vec<i8> = (0..inputs * outputs).map(case.q).collect();
            let zero = |n: usize| zero_points.get(n % zero_points.len().max(1)).map_or(0, |zero| i32::from(*zero));
            let w: Vec<i32> = q.iter().enumerate().map(|(at, q)| i32::from(*q) - zero(at % outputs)).collect();
            let weights = IntegerWeights::new(&q, inputs, outputs, zero_points).unwrap();
            let mut out = vec![1; rows * outputs];
            integer_linear(&x, zero_point, rows, &weights, &mut out);
            let expected = match inputs {
                0 => vec![0; rows * outputs],
                _ => integer_linear_reference(&x, zero_point, &w, inputs, outputs),
            };
            assert_eq!(out, expected, "{what}");
        }
    }
}
