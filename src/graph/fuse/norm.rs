//! Norms written out: `v / sqrt(mean(v²) + epsilon) · gamma + beta` over the last axis. With `v = x - mean(x)` that is a
//! `LayerNorm`, with `v = x` and without beta an `RmsNorm`.
//! Ba, Kiros and Hinton, "Layer Normalization"; Zhang and Sennrich, "Root Mean Square Layer Normalization".

use super::Match;
use super::pattern::{binary, producer, replace, same_shape, same_value, scalar, sole_reader, unary, with_scalar};
use crate::ops::{LayerNorm, RmsNorm, Shared, f32_slice};
use tract_core::internal::*;
use tract_core::ops::nn::{Reduce, Reducer};

/// Looks for the root of the mean square of deviations from the mean.
pub fn look_for_layer_norm(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(root) = root(model, node) else { return Ok(Match::None) };
    let Some(x) = centred(model, root.operand) else { return Ok(Match::None) };
    let Some(divided) = divided(model, node, root.operand) else {
        return Ok(Match::Almost("the deviations are not divided by their root mean square alone".into()));
    };
    let epsilon = root.epsilon;
    let (mut last, gamma) = affine(model, divided, "Mul")?;
    let (behind, beta) = affine(model, last, "Add")?;
    if beta.is_some() {
        last = behind;
    }
    let gamma = Shared::new(gamma.unwrap_or_else(|| vec![1.0; root.width]));
    let norm = LayerNorm { gamma, beta: beta.map(Shared::new), epsilon };
    Ok(Match::Found(replace(model, &last.name, norm, &[x], OutletId::new(last.id, 0))?))
}

/// Looks for the root of the mean square of anything else.
pub fn look_for_rms_norm(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(root) = root(model, node) else { return Ok(Match::None) };
    if centred(model, root.operand).is_some() {
        return Ok(Match::None);
    }
    let Some(divided) = divided(model, node, root.operand) else {
        return Ok(Match::Almost("what is squared is not divided by its root mean square alone".into()));
    };
    let (last, gamma) = affine(model, divided, "Mul")?;
    let gamma = Shared::new(gamma.unwrap_or_else(|| vec![1.0; root.width]));
    let norm = RmsNorm { gamma, epsilon: root.epsilon };
    Ok(Match::Found(replace(model, &last.name, norm, &[root.operand], OutletId::new(last.id, 0))?))
}

/// `sqrt(mean(operand²) + epsilon)`, or one divided by that.
struct Root {
    operand: OutletId,
    epsilon: f32,
    width: usize,
}

fn root(model: &TypedModel, node: &TypedNode) -> Option<Root> {
    let radicand = unary(node, "Sqrt").or_else(|| unary(node, "Rsqrt"))?;
    let (mean, epsilon) = match with_scalar(model, producer(model, radicand), "Add") {
        Some((mean, epsilon)) => (mean, epsilon),
        None => (radicand, 0.0),
    };
    let operand = mean_square_of(model, mean)?;
    let fact = model.outlet_fact(operand).ok()?;
    let width = fact.shape.last()?.to_usize().ok()?;
    (fact.datum_type == f32::datum_type()).then_some(Root { operand, epsilon, width })
}

/// The operand of a mean of squares over the last axis.
fn mean_square_of(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    match reduced(model, outlet, Reducer::MeanOfSquares) {
        Some(operand) => Some(operand),
        None => squared(model, mean_of(model, outlet)?),
    }
}

/// The operand of a squaring.
pub fn squared(model: &TypedModel, square: OutletId) -> Option<OutletId> {
    let node = producer(model, square);
    if let Some(base) = unary(node, "Square") {
        return Some(base);
    }
    if let Some([left, right]) = binary(node, "Mul") {
        return same_value(model, left, right).then_some(left);
    }
    let [base, exponent] = binary(node, "Pow")?;
    (scalar(model, exponent) == Some(2.0) && same_shape(model, base, square)).then_some(base)
}

/// The operand of a mean over the last axis, which tract writes as a sum divided by the size.
fn mean_of(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let [sum, size] = binary(producer(model, outlet), "Div")?;
    let operand = reduced(model, sum, Reducer::Sum)?;
    let width = model.outlet_fact(operand).ok()?.shape.last()?.to_usize().ok()?;
    (scalar(model, size) == Some(width as f32)).then_some(operand)
}

/// The operand of that reduction over the last axis.
pub fn reduced(model: &TypedModel, outlet: OutletId, reducer: Reducer) -> Option<OutletId> {
    let node = producer(model, outlet);
    let reduce = node.op_as::<Reduce>().filter(|reduce| reduce.reducer == reducer)?;
    let last = model.outlet_fact(node.inputs[0]).ok()?.rank().checked_sub(1)?;
    (*reduce.axes == [last]).then(|| node.inputs[0])
}

/// The tensor whose deviations from its mean these are.
fn centred(model: &TypedModel, deviations: OutletId) -> Option<OutletId> {
    let [x, mean] = binary(producer(model, deviations), "Sub")?;
    (mean_of(model, mean)? == x && same_shape(model, x, deviations)).then_some(x)
}

/// The node that divides `operand` by the root, or multiplies it by its reciprocal.
fn divided<'a>(model: &'a TypedModel, root: &'a TypedNode, operand: OutletId) -> Option<&'a TypedNode> {
    let mut factor = root;
    if unary(root, "Sqrt").is_some() {
        let reader = sole_reader(model, root)?;
        if let Some([dividend, divisor]) = binary(reader, "Div")
            && divisor.node == root.id
            && same_value(model, dividend, operand)
        {
            return same_shape(model, operand, OutletId::new(reader.id, 0)).then_some(reader);
        }
        factor = reader;
        if !is_reciprocal(model, reader) {
            return None;
        }
    }
    let product = sole_reader(model, factor)?;
    let [left, right] = binary(product, "Mul")?;
    let other = if left.node == factor.id { right } else { left };
    let whole = same_shape(model, operand, OutletId::new(product.id, 0));
    (same_value(model, other, operand) && whole).then_some(product)
}

/// Whether the node gives `1 / x` of its last input.
fn is_reciprocal(model: &TypedModel, node: &TypedNode) -> bool {
    let divides_one = binary(node, "Div").is_some_and(|[one, _]| scalar(model, one) == Some(1.0));
    divides_one || unary(node, "Recip").is_some()
}

/// The node behind, when it combines the rows with a constant vector by the named operator, and that vector; else the node
/// itself.
fn affine<'a>(
    model: &'a TypedModel,
    node: &'a TypedNode,
    name: &str,
) -> TractResult<(&'a TypedNode, Option<Vec<f32>>)> {
    let Some(reader) = sole_reader(model, node) else { return Ok((node, None)) };
    let Some([left, right]) = binary(reader, name) else { return Ok((node, None)) };
    let outlet = if left.node == node.id { right } else { left };
    let (rows, combined) = (OutletId::new(node.id, 0), OutletId::new(reader.id, 0));
    let Some(constant) = model.outlet_fact(outlet)?.konst.clone() else { return Ok((node, None)) };
    let width = model.outlet_fact(rows)?.shape.last().and_then(|width| width.to_usize().ok());
    let along_rows = constant.shape().last().copied() == width && Some(constant.volume()) == width;
    if !along_rows || !same_shape(model, rows, combined) {
        return Ok((node, None));
    }
    Ok((reader, Some(f32_slice(&constant)?.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use tract_core::ops::math::{add, div, mul, pow, recip, rsqrt, sqrt, square, sub};

    const WIDTH: usize = 8;

    /// How the rows are divided by the root of their mean square.
    #[derive(Clone, Copy)]
    enum Division {
        Div,
        MulByRsqrt,
        MulByRecip,
        MulByOneOver,
    }

    /// How rows are squared.
    #[derive(Clone, Copy)]
    enum Square {
        Pow(f32),
        Mul,
        Once,
    }

    struct Case {
        what: &'static str,
        centred: bool,
        square: Square,
        /// Axis of the means.
        axis: usize,
        division: Division,
        gamma: Option<&'static [usize]>,
        beta: bool,
        expected: Expected,
    }

    const CASE: Case = Case {
        what: "",
        centred: true,
        square: Square::Pow(2.0),
        axis: 2,
        division: Division::Div,
        gamma: Some(&[1, 1, WIDTH]),
        beta: true,
        expected: Expected::Fused,
    };

    fn build(sketch: &mut Sketch, case: &Case) -> OutletId {
        // As many positions as elements, so that a mean over the wrong axis is no error.
        let x = sketch.input(&[0, WIDTH, WIDTH]);
        let operand = if case.centred {
            let mean = sketch.mean(x, 2, WIDTH);
            sketch.wire(sub(), &[x, mean])
        } else {
            x
        };
        let squares = match case.square {
            Square::Pow(exponent) => {
                let exponent = sketch.number(3, exponent);
                sketch.wire(pow(), &[operand, exponent])
            }
            Square::Mul => sketch.wire(mul(), &[operand, operand]),
            Square::Once => sketch.wire(square(), &[operand]),
        };
        let mean = sketch.mean(squares, case.axis, WIDTH);
        let epsilon = sketch.number(3, 1e-3);
        let sum = sketch.wire(add(), &[epsilon, mean]);
        let divided = divide(sketch, operand, sum, case.division);
        let scaled = match case.gamma {
            Some(shape) => {
                let gamma = sketch.weights(shape);
                sketch.wire(mul(), &[gamma, divided])
            }
            None => divided,
        };
        if !case.beta {
            return scaled;
        }
        let beta = sketch.weights(&[1, 1, WIDTH]);
        sketch.wire(add(), &[scaled, beta])
    }

    fn divide(sketch: &mut Sketch, operand: OutletId, sum: OutletId, division: Division) -> OutletId {
        if let Division::MulByRsqrt = division {
            let root = sketch.wire(rsqrt(), &[sum]);
            return sketch.wire(mul(), &[root, operand]);
        }
        let root = sketch.wire(sqrt(), &[sum]);
        match division {
            Division::Div => sketch.wire(div(), &[operand, root]),
            Division::MulByRecip => {
                let factor = sketch.wire(recip(), &[root]);
                sketch.wire(mul(), &[operand, factor])
            }
            _ => {
                let one = sketch.number(3, 1.0);
                let factor = sketch.wire(div(), &[one, root]);
                sketch.wire(mul(), &[operand, factor])
            }
        }
    }

    #[test]
    fn layer_norms() {
        use Expected::Not;
        let cases = [
            Case { what: "as exporters write it", ..CASE },
            Case { what: "squared by a product", square: Square::Mul, ..CASE },
            Case { what: "multiplied by a reciprocal root", division: Division::MulByRsqrt, ..CASE },
            Case { what: "without gamma and beta", gamma: None, beta: false, ..CASE },
            Case { what: "gamma that is no vector of the rows", gamma: Some(&[1, WIDTH, WIDTH]), ..CASE },
            Case { what: "cubes", square: Square::Pow(3.0), expected: Not(""), ..CASE },
            Case { what: "mean over another axis", axis: 1, expected: Not(""), ..CASE },
            Case { what: "not centred", centred: false, expected: Not(""), ..CASE },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let output = build(&mut sketch, &case);
            sketch.check(case.what, &[output], "layer norm", case.expected);
        }
    }

    #[test]
    fn rms_norms() {
        use Expected::Not;
        const RMS: Case = Case { centred: false, beta: false, ..CASE };
        let cases = [
            Case { what: "divided", ..RMS },
            Case { what: "by a reciprocal", division: Division::MulByRecip, square: Square::Once, ..RMS },
            Case { what: "by one over the root", division: Division::MulByOneOver, square: Square::Mul, ..RMS },
            Case { what: "by a reciprocal root, without gamma", division: Division::MulByRsqrt, gamma: None, ..RMS },
            Case { what: "cubes", square: Square::Pow(3.0), expected: Not(""), ..RMS },
            Case { what: "mean over another axis", axis: 1, expected: Not(""), ..RMS },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let output = build(&mut sketch, &case);
            sketch.check(case.what, &[output], "rms norm", case.expected);
        }
    }

    #[test]
    fn roots_of_something_else() {
        let mut sketch = Sketch::new();
        let [x, other] = [(); 2].map(|()| sketch.input(&[0, 0, WIDTH]));
        let squares = sketch.wire(square(), &[x]);
        let mean = sketch.mean(squares, 2, WIDTH);
        let output = divide(&mut sketch, other, mean, Division::Div);
        sketch.check("another dividend", &[output], "rms norm", Expected::Not("root mean square alone"));
        let mut sketch = Sketch::new();
        let x = sketch.input(&[0, WIDTH, WIDTH]);
        let squares = sketch.wire(square(), &[x]);
        let mean = sketch.mean(squares, 1, WIDTH);
        let output = divide(&mut sketch, x, mean, Division::Div);
        sketch.check("another axis", &[output], "norm", Expected::Not("over the last axis"));
    }
}
