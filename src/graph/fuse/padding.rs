//! Zeros around the spatial axes of what a convolution reads: it can do with its own.

use super::Match;
use super::pattern::{producer, replace};
use crate::ops::conv::Conv;
use crate::ops::plain::PlainOperator;
use crate::ops::windows::{Padding, WindowSteps};
use tract_core::internal::*;
use tract_core::ops::array::{Pad, PadMode};

/// Looks for a convolution of a padded image.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(PlainOperator(Conv { groups, steps })) = node.op_as() else { return Ok(Match::None) };
    let pad = producer(model, node.inputs[0]);
    let (Some(added), Padding::Explicit(own)) = (pad.op_as().and_then(zeros), &steps.padding) else {
        return Ok(Match::None);
    };
    let around = added.iter().map(|pads| pads.0).chain(added.iter().map(|pads| pads.1));
    let padding = Padding::Explicit(own.iter().zip(around).map(|(own, added)| own + added).collect());
    let steps = WindowSteps { padding, ..steps.clone() };
    let mut inputs = node.inputs.clone();
    inputs[0] = pad.inputs[0];
    let operator = PlainOperator(Conv { groups: *groups, steps });
    Ok(Match::Found(replace(model, &node.name, operator, &inputs, OutletId::new(node.id, 0))?))
}

/// How many zeros are put before and after each axis behind batch and channels, if there are none elsewhere.
fn zeros(pad: &Pad) -> Option<&[(usize, usize)]> {
    let PadMode::Constant(value) = &pad.mode else { return None };
    let zero = *value.cast_to::<f64>().ok()?.try_as_plain_ram().ok()?.as_slice::<f64>().ok()?.first()? == 0.0;
    let (others, spatial) = pad.pads.split_at_checked(2)?;
    (zero && others.iter().all(|pads| *pads == (0, 0))).then_some(spatial)
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;

    #[test]
    fn padded_images() {
        struct Case {
            what: &'static str,
            pads: [(usize, usize); 4],
            value: f32,
            padding: Padding,
            expected: Expected,
        }
        let own = || Padding::Explicit(vec![0, 1, 2, 0]);
        let around = [(0, 0), (0, 0), (1, 0), (2, 3)];
        let not = || Expected::Not("");
        let cases = [
            Case { what: "zeros", pads: around, value: 0.0, padding: own(), expected: Expected::Fused },
            Case { what: "ones", pads: around, value: 1.0, padding: own(), expected: not() },
            Case { what: "as much as fits", pads: around, value: 0.0, padding: Padding::SameUpper, expected: not() },
            Case {
                what: "more channels",
                pads: [(0, 0), (1, 1), (0, 0), (0, 0)],
                value: 0.0,
                padding: own(),
                expected: not(),
            },
        ];
        for Case { what, pads, value, padding, expected } in cases {
            let mut sketch = Sketch::new();
            let channels = 2 + pads[1].0 + pads[1].1;
            let (x, w) = (sketch.input(&[0, 2, 4, 0]), sketch.weights(&[3, channels, 2, 3]));
            let mode = PadMode::Constant(tensor0(value).into_arc_tensor());
            let padded = sketch.wire(Pad { pads: pads.to_vec(), mode }, &[x]);
            let steps = WindowSteps { strides: vec![1, 2], dilations: vec![1, 1], padding };
            let output = sketch.wire(PlainOperator(Conv { groups: 1, steps }), &[padded, w]);
            sketch.check(what, &[output], "convolution padding", expected);
        }
    }
}
