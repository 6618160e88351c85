//! SiLU written out: `x · sigmoid(x)`.
//! Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation".

use super::Match;
use super::pattern::{binary, replace, sole_reader, unary};
use crate::kernels::activation::Activation;
use crate::ops::Activate;
use tract_core::internal::*;

/// Looks for the sigmoid.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(x) = unary(node, "Sigmoid") else { return Ok(Match::None) };
    let product = sole_reader(model, node).and_then(|reader| Some((reader, binary(reader, "Mul")?)));
    let Some((product, [left, right])) = product else { return Ok(Match::None) };
    let other = if left.node == node.id { right } else { left };
    if other != x || model.outlet_fact(x)?.datum_type != f32::datum_type() {
        return Ok(Match::None);
    }
    let silu = Activate(Activation::Silu);
    Ok(Match::Found(replace(model, &product.name, silu, &[x], OutletId::new(product.id, 0))?))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use tract_core::internal::*;
    use tract_core::ops::math::mul;
    use tract_core::ops::nn::sigmoid;

    #[test]
    fn forms() {
        use Expected::{Fused, Not};
        type Build = fn(&mut Sketch, OutletId, OutletId) -> Vec<OutletId>;
        let cases: [(&str, Build, Expected); 4] = [
            ("x first", |sketch, x, gate| vec![sketch.wire(mul(), &[x, gate])], Fused),
            ("x last", |sketch, x, gate| vec![sketch.wire(mul(), &[gate, x])], Fused),
            ("the sigmoid is an output", |sketch, x, gate| vec![gate, sketch.wire(mul(), &[gate, x])], Not("")),
            (
                "another factor",
                |sketch, _, gate| {
                    let other = sketch.input(&[0, 0, 4]);
                    vec![sketch.wire(mul(), &[gate, other])]
                },
                Not(""),
            ),
        ];
        for (what, build, expected) in cases {
            let mut sketch = Sketch::new();
            let x = sketch.input(&[0, 0, 4]);
            let gate = sketch.wire(sigmoid(), &[x]);
            let outputs = build(&mut sketch, x, gate);
            sketch.check(what, &outputs, "silu", expected);
        }
    }
}
