//! Norms of statically quantised models, written out as in [`super::norm`], but with roundings to integers and back between
//! their parts. The roundings are kept, as steps of a [`QuantizedNorm`].

use super::Match;
use super::norm::{reduced, squared};
use super::pattern::{binary, producer, replace, same_shape, same_value};
use super::steps::climbed;
use crate::kernels::norm::NormSteps;
use crate::kernels::steps::Step;
use crate::ops::QuantizedNorm;
use tract_core::internal::*;
use tract_core::ops::nn::Reducer;

/// Looks for the division by the root of a mean of squares, or the multiplication by one divided by it.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let quotient = binary(node, "Div").map(|[left, right]| ([(left, right)].to_vec(), false));
    let product = || binary(node, "Mul").map(|[left, right]| ([(left, right), (right, left)].to_vec(), true));
    let Some((operands, multiplies)) = quotient.or_else(product) else { return Ok(Match::None) };
    for (values, root) in operands {
        let Some((x, steps)) = norm(model, values, root, multiplies) else { continue };
        let output = OutletId::new(node.id, 0);
        if same_shape(model, x, output) {
            return Ok(Match::Found(replace(model, &node.name, QuantizedNorm(steps), &[x], output)?));
        }
    }
    Ok(Match::None)
}

/// The rows that are normalised and the steps, if `values` are divided or multiplied by the root of their mean square and
/// something is rounded on the way.
fn norm(model: &TypedModel, values: OutletId, root: OutletId, multiplies: bool) -> Option<(OutletId, NormSteps)> {
    let (mean_square, mut root) = climbed(model, root);
    if !root.contains(&Step::SquareRoot) {
        return None;
    }
    let squares = match reduced(model, mean_square, Reducer::Sum) {
        Some(squares) => {
            let (square, steps) = climbed(model, squares);
            squared(model, square).filter(|base| same_value(model, *base, values))?;
            steps
        }
        None => {
            let base = reduced(model, mean_square, Reducer::MeanOfSquares).filter(|base| *base == values)?;
            root.insert(0, Step::Divide(width(model, base)?));
            vec![]
        }
    };
    let (x, mean, deviations) = centred(model, values).unwrap_or((values, None, vec![]));
    let steps = NormSteps { mean, deviations, squares, root, multiplies };
    let rounds = |steps: &Vec<Step>| steps.contains(&Step::Round);
    let parts = [&steps.deviations, &steps.squares, &steps.root];
    let rounded = parts.into_iter().any(rounds) || steps.mean.as_ref().is_some_and(rounds);
    rounded.then_some((x, steps))
}

fn width(model: &TypedModel, outlet: OutletId) -> Option<f32> {
    Some(model.outlet_fact(outlet).ok()?.shape.last()?.to_usize().ok()? as f32)
}

/// What deviates from its mean, steps to the mean, and steps on the deviations.
type Centred = (OutletId, Option<Vec<Step>>, Vec<Step>);

fn centred(model: &TypedModel, deviations: OutletId) -> Option<Centred> {
    let (difference, steps) = climbed(model, deviations);
    let [x, mean] = binary(producer(model, difference), "Sub")?;
    let (sum, mean) = climbed(model, mean);
    let is_mean = reduced(model, sum, Reducer::Sum)? == x && same_shape(model, x, difference);
    is_mean.then_some((x, Some(mean), steps))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use tract_core::ops::math::{add, div, mul, pow, recip, sqrt, sub};

    const WIDTH: usize = 8;

    /// Where something is rounded.
    #[derive(Clone, Copy, PartialEq)]
    enum Place {
        Mean,
        Deviations,
        Squares,
        MeanSquare,
        Radicand,
        Root,
        Reciprocal,
    }

    struct Case {
        what: &'static str,
        places: &'static [Place],
        centred: bool,
        multiplies: bool,
        /// Axis of the mean of squares.
        axis: usize,
        expected: Expected,
    }

    fn build(sketch: &mut Sketch, case: &Case) -> OutletId {
        fn rounded(sketch: &mut Sketch, case: &Case, place: Place, x: OutletId) -> OutletId {
            // So fine that no root is of zero, so coarse that it counts, and so odd that nothing lies halfway.
            let zero_point = if place == Place::Mean || place == Place::Deviations { 128 } else { 0 };
            if case.places.contains(&place) { sketch.rounded(x, 0.013_717, zero_point) } else { x }
        }
        let x = sketch.input(&[0, WIDTH, WIDTH]);
        let mut values = sketch.rounded(x, 0.01, 128);
        if case.centred {
            let mean = sketch.mean(values, 2, WIDTH);
            let mean = rounded(sketch, case, Place::Mean, mean);
            values = sketch.wire(sub(), &[values, mean]);
            values = rounded(sketch, case, Place::Deviations, values);
        }
        let exponent = sketch.number(3, 2.0);
        let squares = sketch.wire(pow(), &[values, exponent]);
        let squares = rounded(sketch, case, Place::Squares, squares);
        let mean = sketch.mean(squares, case.axis, WIDTH);
        let mean = rounded(sketch, case, Place::MeanSquare, mean);
        let epsilon = sketch.number(3, 1e-3);
        let sum = sketch.wire(add(), &[mean, epsilon]);
        let sum = rounded(sketch, case, Place::Radicand, sum);
        let root = sketch.wire(sqrt(), &[sum]);
        let root = rounded(sketch, case, Place::Root, root);
        let normal = if case.multiplies {
            let reciprocal = sketch.wire(recip(), &[root]);
            let reciprocal = rounded(sketch, case, Place::Reciprocal, reciprocal);
            sketch.wire(mul(), &[reciprocal, values])
        } else {
            sketch.wire(div(), &[values, root])
        };
        let normal = sketch.rounded(normal, 0.02, 120);
        let gamma = sketch.weights(&[1, 1, WIDTH]);
        sketch.wire(mul(), &[normal, gamma])
    }

    #[test]
    fn roundings_within() {
        use Expected::{Fused, Not};
        use Place::*;
        const ALL: &[Place] = &[Mean, Deviations, Squares, MeanSquare, Radicand, Root, Reciprocal];
        let case = |what, places| Case { what, places, centred: true, multiplies: false, axis: 2, expected: Fused };
        let cases = [
            case("the mean of squares and the radicand", &[MeanSquare, Radicand]),
            case("everything", ALL),
            case("the deviations", &[Deviations]),
            case("the root", &[Root]),
            Case { multiplies: true, ..case("everything, multiplied", ALL) },
            Case { centred: false, ..case("a mean square alone", &[MeanSquare, Radicand]) },
            Case { centred: false, multiplies: true, ..case("a reciprocal root", &[Radicand, Reciprocal]) },
            // What is rounded before and behind is a norm all the same.
            Case { expected: Not(""), ..case("nothing within", &[]) },
            Case { axis: 1, expected: Not(""), ..case("another axis", ALL) },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let output = build(&mut sketch, &case);
            sketch.check(case.what, &[output], "quantised norm", case.expected);
        }
    }
}
