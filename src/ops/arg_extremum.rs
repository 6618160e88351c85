//! `ArgExtremum`: ONNX `ArgMax` and `ArgMin` (1 to 13) along one axis.
//!
//! Input: numbers. Output: i64, the axis of size 1 or, without `keep_axis`, gone. Comparisons with NaN are false: a NaN is
//! found only where it comes first.

use super::plain::{Plain, around, elements, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ArgExtremum {
    /// `ArgMax`.
    pub greatest: bool,
    /// The axis, from the front.
    pub axis: usize,
    /// Whether the axis stays.
    pub keep_axis: bool,
    /// The last of equal elements instead of the first.
    pub last: bool,
}

impl Plain for ArgExtremum {
    const NAME: &'static str = "ArgExtremum";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.to_tvec();
        ensure!(self.axis < shape.len(), "axis {} of a tensor of rank {}", self.axis, shape.len());
        if self.keep_axis {
            shape[self.axis] = 1.to_dim();
        } else {
            shape.remove(self.axis);
        }
        Ok(tvec!(i64::fact(&shape)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let input = &inputs[0];
        dispatch_numbers!(Self::of_type(input.datum_type())(self, input)).map(|output| tvec!(output))
    }
}

impl ArgExtremum {
    fn of_type<T: Datum + Copy + PartialOrd>(&self, input: &Tensor) -> TractResult<Tensor> {
        let values = elements::<T>(input)?;
        let [outer, size, inner] = around(input.shape(), self.axis);
        ensure!(size > 0 || outer * inner == 0, "an extremum of nothing");
        let beats = |new: T, old: T| match (self.greatest, self.last) {
            (true, false) => new > old,
            (true, true) => new >= old,
            (false, false) => new < old,
            (false, true) => new <= old,
        };
        let mut found = Vec::with_capacity(outer * inner);
        for row in 0..outer {
            for column in 0..inner {
                let at = |position: usize| values[(row * size + position) * inner + column];
                let best = |best: usize, position: usize| if beats(at(position), at(best)) { position } else { best };
                found.push((1..size).fold(0, best) as i64);
            }
        }
        let mut shape: TVec<usize> = input.shape().into();
        if self.keep_axis {
            shape[self.axis] = 1;
        } else {
            shape.remove(self.axis);
        }
        tensor_of(&shape, &found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_extremes() {
        // [[1, 3, 3], [0, 3, 0]]: greatest, axis, the axis stays, the last of equals; expected shape and places.
        type Case = (bool, usize, bool, bool, &'static [usize], &'static [i64]);
        let cases: &[Case] = &[
            (true, 1, true, false, &[2, 1], &[1, 1]),
            (true, 1, false, true, &[2], &[2, 1]),
            (false, 1, false, false, &[2], &[0, 0]),
            (false, 1, false, true, &[2], &[0, 2]),
            (true, 0, true, false, &[1, 3], &[0, 0, 0]),
            (false, 0, true, true, &[1, 3], &[1, 1, 1]),
        ];
        for (greatest, axis, keep_axis, last, shape, places) in cases {
            let operator = ArgExtremum { greatest: *greatest, axis: *axis, keep_axis: *keep_axis, last: *last };
            let input = tensor2(&[[1i32, 3, 3], [0, 3, 0]]).into_tvalue();
            let output = operator.compute(&[input]).unwrap().remove(0);
            assert_eq!((output.shape(), elements::<i64>(&output).unwrap()), (*shape, *places), "{operator:?}");
        }
    }

    #[test]
    fn nothing_and_nan() {
        let operator = ArgExtremum { greatest: true, axis: 0, keep_axis: false, last: false };
        for (input, place) in [
            (tensor1::<f32>(&[]), None),
            (tensor1(&[f32::NAN, 1.0]), Some(0)),
            (tensor1(&[1.0, f32::NAN]), Some(0)),
            (tensor1(&[1.0, f32::NAN, 2.0]), Some(2)),
        ] {
            let output = operator.compute(&[input.clone().into_tvalue()]);
            assert_eq!(output.ok().map(|output| elements::<i64>(&output[0]).unwrap()[0]), place, "{input:?}");
        }
    }
}
