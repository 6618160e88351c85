//! `RelativePositionBucket`: the bucket of a relative position, as T5 counts them.
//! Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section 2.1.
//!
//! Input: int64 of any shape, a key's position minus a query's. Output: int64 of the same shape, below `buckets`.

use super::plain::{Plain, elements, tensor_of};
use tract_core::internal::*;

/// Distances below half of the buckets of a direction have one each; the others share the rest on a logarithmic scale that
/// ends at `max_distance`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RelativePositionBucket {
    /// Number of buckets, 4 at least.
    pub buckets: i64,
    /// The distance from which on all share the last bucket.
    pub max_distance: i64,
    /// Keys after the query have the second half of the buckets; otherwise they count as at the query's place.
    pub bidirectional: bool,
}

impl Plain for RelativePositionBucket {
    const NAME: &'static str = "RelativePositionBucket";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == i64::datum_type(), "positions must be int64, not {:?}", inputs[0]);
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let buckets: Vec<i64> = elements::<i64>(&inputs[0])?.iter().map(|relative| self.bucket(*relative)).collect();
        Ok(tvec!(tensor_of(inputs[0].shape(), &buckets)?))
    }
}

impl RelativePositionBucket {
    fn bucket(&self, relative: i64) -> i64 {
        let (buckets, first, distance) = match self.bidirectional {
            true if relative > 0 => (self.buckets / 2, self.buckets / 2, relative),
            true => (self.buckets / 2, 0, -relative),
            false => (self.buckets, 0, (-relative).max(0)),
        };
        let exact = buckets / 2;
        if distance < exact {
            return first + distance;
        }
        // Float32, correctly rounded: rounding decides the bucket of distances at an edge.
        let log = |distance: i64| f64::from(distance as f32 / exact as f32).ln() as f32;
        let part = log(distance) / log(self.max_distance);
        let logarithmic = exact + (part * (buckets - exact) as f32) as i64;
        first + logarithmic.min(buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_t5() {
        struct Case {
            bidirectional: bool,
            relative: &'static [i64],
            expected: &'static [i64],
        }
        // Worked out with NumPy's float32, with 32 buckets up to distance 128.
        let cases = [
            Case {
                bidirectional: true,
                relative: &[0, 1, -1, 7, -7, 8, -8, 11, 12, -16, 32, 63, 64, 127, 128, -1000],
                expected: &[0, 17, 1, 23, 7, 24, 8, 24, 25, 10, 28, 29, 30, 31, 31, 15],
            },
            Case {
                bidirectional: false,
                relative: &[5, 0, -1, -15, -16, -18, -19, -32, -64, -127, -128, -1000],
                expected: &[0, 0, 1, 15, 16, 16, 17, 21, 26, 31, 31, 31],
            },
        ];
        for Case { bidirectional, relative, expected } in cases {
            let operator = RelativePositionBucket { buckets: 32, max_distance: 128, bidirectional };
            let output = operator.compute(&[tensor1(relative).into_tvalue()]).unwrap().remove(0);
            assert_eq!(elements::<i64>(&output).unwrap(), expected, "bidirectional: {bidirectional}");
        }
    }
}
