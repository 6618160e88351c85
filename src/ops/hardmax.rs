//! `Hardmax`: ONNX `Hardmax` (1 to 13): 1 at the first greatest element, 0 elsewhere.
//!
//! Input: f32 or f64. Output: its type and shape.

use super::plain::{Plain, around, elements, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Hardmax {
    /// The axis, from the front.
    pub axis: usize,
    /// All axes from there on count as one.
    pub to_the_end: bool,
}

impl Plain for Hardmax {
    const NAME: &'static str = "Hardmax";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let float = [f32::datum_type(), f64::datum_type()].contains(&inputs[0].datum_type);
        ensure!(float && self.axis <= inputs[0].rank(), "Hardmax of {:?} along {}", inputs[0], self.axis);
        Ok(tvec!(inputs[0].without_value()))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        Ok(tvec!(match inputs[0].datum_type() {
            DatumType::F64 => self.of_type::<f64>(&inputs[0], 1.0)?,
            _ => self.of_type::<f32>(&inputs[0], 1.0)?,
        }))
    }
}

impl Hardmax {
    fn of_type<T: Datum + Copy + Default + PartialOrd>(&self, input: &Tensor, one: T) -> TractResult<Tensor> {
        let [outer, size, inner] = if self.to_the_end {
            let (before, after) = input.shape().split_at(self.axis);
            [before.iter().product(), after.iter().product(), 1]
        } else {
            around(input.shape(), self.axis)
        };
        let values = elements::<T>(input)?;
        let mut output = vec![T::default(); values.len()];
        for row in (0..outer).filter(|_| size > 0) {
            for column in 0..inner {
                let at = |position: usize| (row * size + position) * inner + column;
                let better = |best: usize, next: usize| if values[at(next)] > values[at(best)] { next } else { best };
                output[at((1..size).fold(0, better))] = one;
            }
        }
        tensor_of(input.shape(), &output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_greatest() {
        // [[[1, 3], [3, 0]], [[2, 2], [2, 5]]]
        let input = Tensor::from_shape(&[2, 2, 2], &[1f32, 3., 3., 0., 2., 2., 2., 5.]).unwrap();
        let cases: &[(usize, bool, [f32; 8])] = &[
            (2, false, [0., 1., 1., 0., 1., 0., 0., 1.]),
            (1, false, [0., 1., 1., 0., 1., 0., 0., 1.]),
            (0, false, [0., 1., 1., 0., 1., 0., 0., 1.]),
            (1, true, [0., 1., 0., 0., 0., 0., 0., 1.]),
            (0, true, [0., 0., 0., 0., 0., 0., 0., 1.]),
        ];
        for (axis, to_the_end, expected) in cases {
            let operator = Hardmax { axis: *axis, to_the_end: *to_the_end };
            let output = operator.compute(&[input.clone().into_tvalue()]).unwrap().remove(0);
            assert_eq!(elements::<f32>(&output).unwrap(), expected, "{operator:?}");
        }
    }

    #[test]
    fn types() {
        let operator = Hardmax { axis: 0, to_the_end: false };
        let output = operator.compute(&[tensor1(&[-1f64, -2.0]).into_tvalue()]).unwrap();
        assert_eq!(output[0], tensor1(&[1f64, 0.0]));
        assert!(operator.facts(&[&i32::fact([2])]).is_err(), "integers");
    }
}
