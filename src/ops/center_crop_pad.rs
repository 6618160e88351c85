//! `CenterCropPad`: ONNX `CenterCropPad` (18): the middle of a tensor, or the tensor in the middle of zeros.
//!
//! Input: a tensor of any type. Output: its type, of the sizes given.

use super::elements::{pick, places};
use super::plain::Plain;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct CenterCropPad {
    /// The size that each axis gets; `None` where it keeps its own.
    pub sizes: TVec<Option<usize>>,
}

impl Plain for CenterCropPad {
    const NAME: &'static str = "CenterCropPad";

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() == self.sizes.len(), "{} sizes for {:?}", self.sizes.len(), inputs[0]);
        let sizes = self.sizes.iter().zip(inputs[0].shape.iter());
        let shape: TVec<TDim> =
            sizes.map(|(size, old)| size.map_or_else(|| old.clone(), |size| size.to_dim())).collect();
        Ok(tvec!(inputs[0].datum_type.fact(shape)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let old = inputs[0].shape();
        let shape: TVec<usize> = self.sizes.iter().zip(old).map(|(size, old)| size.unwrap_or(*old)).collect();
        let axes: Vec<_> = old.iter().zip(&shape).map(|(old, new)| middle(*old, *new)).collect();
        let zero = Tensor::zero_scalar_dt(inputs[0].datum_type())?;
        Ok(tvec!(pick(&inputs[0], &zero, &shape, &places(old, &axes))?))
    }
}

/// Where the elements of an axis of size `new` stand on one of size `old`.
fn middle(old: usize, new: usize) -> Vec<Option<usize>> {
    let cut = old.saturating_sub(new) / 2;
    let added = new.saturating_sub(old) / 2;
    (0..new).map(|place| (place + cut).checked_sub(added).filter(|place| *place < old)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_axis() {
        struct Case {
            old: usize,
            new: usize,
            expected: &'static [Option<usize>],
        }
        // ONNX: where the difference is odd, one more is cut or added at the end.
        let cases = [
            Case { old: 5, new: 2, expected: &[Some(1), Some(2)] },
            Case { old: 2, new: 5, expected: &[None, Some(0), Some(1), None, None] },
            Case { old: 2, new: 2, expected: &[Some(0), Some(1)] },
            Case { old: 0, new: 1, expected: &[None] },
            Case { old: 3, new: 0, expected: &[] },
        ];
        for case in cases {
            assert_eq!(middle(case.old, case.new), case.expected, "{} to {}", case.old, case.new);
        }
    }
}
