//! `NonMaxSuppression`: ONNX `NonMaxSuppression` (10 to 11): the boxes of the highest scores that do not overlap too much.
//!
//! Inputs: f32 boxes `[batch, boxes, 4]` and scores `[batch, classes, boxes]`; the most boxes that are selected of a class; the share of
//! the area of two boxes beyond which the one with the lower score goes; optionally the score that must be exceeded; each of these
//! one value.
//! Output: int64 `[count, 3]`, batch, class and box.

use super::elements::integers;
use super::f32_slice;
use super::plain::{Plain, tensor_of};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonMaxSuppression {
    /// Boxes are middle, width and height, x first; else two opposite corners, y first.
    pub centered: bool,
    /// Stands for the number of boxes that are selected.
    pub count: TDim,
}

/// The least and the greatest coordinate along each axis.
type Sides = [[f32; 2]; 2];

impl NonMaxSuppression {
    fn sides(&self, of: &[f32]) -> Sides {
        match self.centered {
            true => [0, 1].map(|axis| [of[axis] - of[axis + 2] / 2., of[axis] + of[axis + 2] / 2.]),
            false => [0, 1].map(|axis| [of[axis].min(of[axis + 2]), of[axis].max(of[axis + 2])]),
        }
    }
}

/// The area that two boxes share, as a part of what they cover.
fn overlap(a: &Sides, b: &Sides) -> f32 {
    let area = |sides: &Sides| (sides[0][1] - sides[0][0]) * (sides[1][1] - sides[1][0]);
    let shared = [0, 1].map(|axis| (a[axis][1].min(b[axis][1]) - a[axis][0].max(b[axis][0])).max(0.));
    let shared = shared[0] * shared[1];
    let covered = area(a) + area(b) - shared;
    if shared > 0. && covered > 0. { shared / covered } else { 0. }
}

impl Plain for NonMaxSuppression {
    const NAME: &'static str = "NonMaxSuppression";
    const SIZE_FROM_VALUES: bool = true;

    fn facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let floats = inputs[..2].iter().all(|input| input.datum_type == f32::datum_type() && input.rank() == 3);
        ensure!(floats && matches!(inputs.len(), 4 | 5), "boxes and scores {inputs:?}");
        Ok(tvec!(i64::fact([self.count.clone(), 3.to_dim()])))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let (boxes, scores) = (f32_slice(&inputs[0])?, f32_slice(&inputs[1])?);
        let &[batch, classes, count] = inputs[1].shape() else { bail!("scores {:?}", inputs[1]) };
        ensure!(inputs[0].shape() == [batch, count, 4], "boxes {:?} of scores {:?}", inputs[0], inputs[1]);
        let limit = |position: usize| f32_slice(&inputs[position])?.first().copied().context("a limit is empty");
        let most_shared = limit(3)?;
        let least_score = if inputs.len() > 4 { Some(limit(4)?) } else { None };
        let is_candidate = |score: f32| least_score.is_none_or(|least| score > least);
        let most = integers(&inputs[2])?.first().map_or(0, |most| usize::try_from(*most).unwrap_or(0));
        let sides: Vec<Sides> = boxes.chunks_exact(4).map(|of| self.sides(of)).collect();
        let mut selected: Vec<i64> = vec![];
        for (class, scores) in scores.chunks_exact(count.max(1)).enumerate() {
            let image = &sides[class / classes * count..][..count];
            let mut candidates: Vec<usize> = (0..count).filter(|at| is_candidate(scores[*at])).collect();
            candidates.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let mut kept: Vec<usize> = vec![];
            for at in candidates {
                if kept.len() < most && kept.iter().all(|other| overlap(&image[at], &image[*other]) <= most_shared) {
                    kept.push(at);
                }
            }
            let [batch, class] = [class / classes, class % classes].map(|index| index as i64);
            selected.extend(kept.into_iter().flat_map(|at| [batch, class, at as i64]));
        }
        Ok(tvec!(tensor_of(&[selected.len() / 3, 3], &selected)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tensor;
    use super::*;

    #[test]
    fn selections() {
        struct Case {
            centered: bool,
            boxes: [f32; 24],
            most: i64,
            least_score: f32,
            expected: &'static [i64],
        }
        // ONNX's own example.
        let corners = [
            0., 0., 1., 1., 0., 0.1, 1., 1.1, 0., -0.1, 1., 0.9, 0., 10., 1., 11., 0., 10.1, 1., 11.1, 0., 100., 1.,
            101.,
        ];
        let centered = [
            0.5, 0.5, 1., 1., 0.5, 0.6, 1., 1., 0.5, 0.4, 1., 1., 0.5, 10.5, 1., 1., 0.5, 10.6, 1., 1., 0.5, 100.5, 1.,
            1.,
        ];
        let mut flipped = corners;
        flipped.swap(0, 2);
        flipped.swap(1, 3);
        let case = |centered, boxes, most, least_score, expected| Case { centered, boxes, most, least_score, expected };
        let cases = [
            case(false, corners, 3, 0., &[0, 0, 3, 0, 0, 0, 0, 0, 5]),
            case(true, centered, 3, 0., &[0, 0, 3, 0, 0, 0, 0, 0, 5]),
            case(false, flipped, 3, 0.4, &[0, 0, 3, 0, 0, 0]),
            case(false, corners, 2, 0., &[0, 0, 3, 0, 0, 0]),
            case(false, corners, 0, 0., &[]),
        ];
        for Case { centered, boxes, most, least_score, expected } in cases {
            let inputs = [
                tensor(&[1, 6, 4], &boxes),
                tensor(&[1, 1, 6], &[0.9, 0.75, 0.6, 0.95, 0.5, 0.3]),
                tensor1(&[most]),
                tensor0(0.5f32),
                tensor1(&[least_score]),
            ];
            let inputs = inputs.map(IntoTValue::into_tvalue);
            let operator = NonMaxSuppression { centered, count: 1.to_dim() };
            let output = operator.compute(&inputs).unwrap().remove(0);
            assert_eq!(
                output,
                Tensor::from_shape(&[expected.len() / 3, 3], expected).unwrap(),
                "{most}, {least_score}"
            );
        }
    }
}
