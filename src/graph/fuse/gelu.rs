//! GELU written out: `x · 0.5 · (1 + erf(x / √2))`, or with `tanh(√(2/π) · (x + 0.044715 x³))` in the place of erf, its
//! factors in any order. Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)".

use super::Match;
use super::pattern::{binary, close, producer, replace, same_shape, scalar, scaled, sole_reader, unary, with_scalar};
use crate::kernels::activation::Activation;
use crate::ops::Activate;
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_PI};
use tract_core::internal::*;

/// Looks for the error function, or for the hyperbolic tangent in its place.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if let Some(argument) = unary(node, "Erf") {
        let scaled = scaled(model, argument).filter(|(_, factor)| close(*factor, FRAC_1_SQRT_2));
        let Some((x, _)) = scaled else {
            return Ok(Match::Almost("the argument of erf is not x / √2".into()));
        };
        return match last_product(model, node, x) {
            Some(last) => fused(model, last, Activation::Gelu, x),
            None => Ok(Match::Almost("erf is not followed by + 1 and the factors x and 0.5".into())),
        };
    }
    let x = unary(node, "Tanh").and_then(|argument| cubic(model, argument));
    match x.and_then(|x| Some((x, last_product(model, node, x)?))) {
        Some((x, last)) => fused(model, last, Activation::GeluTanh, x),
        None => Ok(Match::None),
    }
}

fn fused(model: &TypedModel, last: &TypedNode, activation: Activation, x: OutletId) -> TractResult<Match> {
    Ok(Match::Found(replace(model, &last.name, Activate(activation), &[x], OutletId::new(last.id, 0))?))
}

/// The `x` of `√(2/π) · (x + 0.044715 x³)`.
fn cubic(model: &TypedModel, argument: OutletId) -> Option<OutletId> {
    let (sum, _) = scaled(model, argument).filter(|(_, factor)| close(*factor, FRAC_2_PI.sqrt()))?;
    let [left, right] = binary(producer(model, sum), "Add")?;
    [(left, right), (right, left)].into_iter().find_map(|(x, cube)| {
        let (cube, _) = scaled(model, cube).filter(|(_, factor)| close(*factor, 0.044_715))?;
        (cubed(model, cube)? == x).then_some(x)
    })
}

/// The operand of a third power.
fn cubed(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let node = producer(model, outlet);
    if let Some([base, exponent]) = binary(node, "Pow") {
        return (scalar(model, exponent) == Some(3.0) && same_shape(model, base, outlet)).then_some(base);
    }
    let [left, right] = binary(node, "Mul")?;
    [(left, right), (right, left)].into_iter().find_map(|(x, square)| {
        let squared = unary(producer(model, square), "Square") == Some(x)
            || binary(producer(model, square), "Mul") == Some([x, x]);
        squared.then_some(x)
    })
}

/// The node that multiplies the last of the factors `1 + erf(…)`, `x` and `0.5`.
fn last_product<'a>(model: &'a TypedModel, erf: &TypedNode, x: OutletId) -> Option<&'a TypedNode> {
    let sum = sole_reader(model, erf)?;
    with_scalar(model, sum, "Add").filter(|(_, one)| *one == 1.0)?;
    let first = sole_reader(model, sum)?;
    if is_half(model, first) {
        let second = sole_reader(model, first)?;
        return (other_factor(second, first) == Some(x)).then_some(second);
    }
    let other = other_factor(first, sum)?;
    if other == x {
        return sole_reader(model, first).filter(|second| is_half(model, second));
    }
    let half_x = producer(model, other);
    (is_half(model, half_x) && scaled(model, other)?.0 == x).then_some(first)
}

fn is_half(model: &TypedModel, node: &TypedNode) -> bool {
    scaled(model, OutletId::new(node.id, 0)).is_some_and(|(_, factor)| factor == 0.5)
}

fn other_factor(product: &TypedNode, factor: &TypedNode) -> Option<OutletId> {
    let [left, right] = binary(product, "Mul")?;
    Some(if left.node == factor.id { right } else { left })
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use std::f32::consts::SQRT_2;
    use tract_core::ops::math::{add, div, erf, mul, pow, tanh};

    /// In which order the factors are multiplied.
    #[derive(Clone, Copy)]
    enum Order {
        HalfLast,
        HalfFirst,
        HalfOnX,
    }

    struct Case {
        what: &'static str,
        /// The divisor under erf, or the factor of the cube under tanh.
        argument: f32,
        tanh: bool,
        order: Order,
        half: f32,
        expected: Expected,
    }

    fn build(sketch: &mut Sketch, case: &Case) -> OutletId {
        let x = sketch.input(&[0, 0, 4]);
        let [argument, half, one] = [case.argument, case.half, 1.0].map(|value| sketch.number(3, value));
        let bent = if case.tanh {
            let [exponent, factor] = [3.0, FRAC_2_PI.sqrt()].map(|value| sketch.number(3, value));
            let cube = sketch.wire(pow(), &[x, exponent]);
            let cube = sketch.wire(mul(), &[cube, argument]);
            let sum = sketch.wire(add(), &[x, cube]);
            let scaled = sketch.wire(mul(), &[sum, factor]);
            sketch.wire(tanh(), &[scaled])
        } else {
            let divided = sketch.wire(div(), &[x, argument]);
            sketch.wire(erf(), &[divided])
        };
        let sum = sketch.wire(add(), &[bent, one]);
        match case.order {
            Order::HalfLast => {
                let product = sketch.wire(mul(), &[x, sum]);
                sketch.wire(mul(), &[product, half])
            }
            Order::HalfFirst => {
                let product = sketch.wire(mul(), &[half, sum]);
                sketch.wire(mul(), &[product, x])
            }
            Order::HalfOnX => {
                let product = sketch.wire(mul(), &[half, x]);
                sketch.wire(mul(), &[product, sum])
            }
        }
    }

    #[test]
    fn forms() {
        use Expected::{Fused, Not};
        const ERF: Case =
            Case { what: "", argument: SQRT_2, tanh: false, order: Order::HalfLast, half: 0.5, expected: Fused };
        const TANH: Case = Case { tanh: true, argument: 0.044_715, order: Order::HalfOnX, ..ERF };
        let cases = [
            Case { what: "half last", ..ERF },
            Case { what: "half first", order: Order::HalfFirst, ..ERF },
            Case { what: "half of x", order: Order::HalfOnX, ..ERF },
            Case { what: "tanh", ..TANH },
            Case { what: "another divisor", argument: 1.5, expected: Not("argument of erf"), ..ERF },
            Case { what: "another factor", half: 0.6, expected: Not("erf is not followed"), ..ERF },
            Case { what: "another factor of the cube", argument: 0.05, expected: Not(""), ..TANH },
            Case { what: "tanh, another factor", half: 1.0, expected: Not(""), ..TANH },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let output = build(&mut sketch, &case);
            sketch.check(case.what, &[output], "gelu", case.expected);
        }
    }
}
