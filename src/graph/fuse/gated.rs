//! Two `Linear` of the same input whose results are multiplied, one of them after an activation: `GatedLinear`.

use super::Match;
use super::pattern::{producer, read_once, replace};
use crate::kernels::activation::Activation;
use crate::kernels::linear::Join;
use crate::ops::{GatedLinear, Linear};
use tract_core::internal::*;

/// Looks for a `Linear` that is multiplied by what another one gives.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(linear) = node.op_as::<Linear>().filter(|linear| linear.joined == Some(Join::Multiply)) else {
        return Ok(Match::None);
    };
    let (x, other) = (node.inputs[0], node.inputs[1]);
    let factor = producer(model, other);
    let Some(factor_linear) = factor.op_as::<Linear>().filter(|factor| factor.joined.is_none()) else {
        return Ok(Match::None);
    };
    let sizes = |linear: &Linear| (linear.inputs, linear.outputs);
    if factor.inputs[0] != x || sizes(factor_linear) != sizes(linear) || !read_once(model, other) {
        return Ok(Match::None);
    }
    let Some(operator) = gated(linear, factor_linear).or_else(|| gated(factor_linear, linear)) else {
        return Ok(Match::None);
    };
    Ok(Match::Found(replace(model, &node.name, operator, &[x], OutletId::new(node.id, 0))?))
}

/// Of a layer that has no activation, and the one that is its gate.
fn gated(up: &Linear, gate: &Linear) -> Option<GatedLinear> {
    (up.activation == Activation::Identity).then(|| GatedLinear {
        inputs: gate.inputs,
        outputs: gate.outputs,
        gate: gate.weights.clone(),
        gate_bias: gate.bias.clone(),
        activation: gate.activation,
        up: up.weights.clone(),
        up_bias: up.bias.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fuse;
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use crate::graph::Report;
    use crate::ops::{Activate, MatMul};
    use tract_core::ops::math::{add, mul};

    fn product(sketch: &mut Sketch, x: OutletId, bias: bool, activation: Option<Activation>) -> OutletId {
        // No two products have the same weights.
        let first = sketch.model.nodes().len();
        let values: Vec<f32> = (0..12).map(|at| ((7 * at + 5 * first) % 11) as f32 / 11.0 - 0.5).collect();
        let weights = sketch.constant(Tensor::from_shape(&[4, 3], &values).unwrap());
        let mut output = sketch.wire(MatMul, &[x, weights]);
        if bias {
            let bias = sketch.weights(&[1, 1, 3]);
            output = sketch.wire(add(), &[output, bias]);
        }
        match activation {
            Some(activation) => sketch.wire(Activate(activation), &[output]),
            None => output,
        }
    }

    #[test]
    fn products_that_are_multiplied() {
        use Expected::{Fused, Not};
        type Build = fn(&mut Sketch, OutletId) -> Vec<OutletId>;
        const SILU: Option<Activation> = Some(Activation::Silu);
        let cases: [(&str, Build, Expected); 9] = [
            (
                "the gate first",
                |sketch, x| {
                    let gate = product(sketch, x, false, SILU);
                    let up = product(sketch, x, false, None);
                    vec![sketch.wire(mul(), &[gate, up])]
                },
                Fused,
            ),
            (
                "the gate last",
                |sketch, x| {
                    let up = product(sketch, x, false, None);
                    let gate = product(sketch, x, false, SILU);
                    vec![sketch.wire(mul(), &[up, gate])]
                },
                Fused,
            ),
            (
                "biases",
                |sketch, x| {
                    let gate = product(sketch, x, true, Some(Activation::Gelu));
                    let up = product(sketch, x, true, None);
                    vec![sketch.wire(mul(), &[up, gate])]
                },
                Fused,
            ),
            (
                "no activation",
                |sketch, x| {
                    let (gate, up) = (product(sketch, x, false, None), product(sketch, x, true, None));
                    vec![sketch.wire(mul(), &[gate, up])]
                },
                Fused,
            ),
            (
                "two activations",
                |sketch, x| {
                    let gate = product(sketch, x, false, SILU);
                    let up = product(sketch, x, false, Some(Activation::Relu));
                    vec![sketch.wire(mul(), &[gate, up])]
                },
                Not(""),
            ),
            (
                "another input",
                |sketch, x| {
                    let other = sketch.input(&[0, 0, 4]);
                    let (gate, up) = (product(sketch, x, false, SILU), product(sketch, other, false, None));
                    vec![sketch.wire(mul(), &[gate, up])]
                },
                Not(""),
            ),
            (
                "the gate is an output",
                |sketch, x| {
                    let (gate, up) = (product(sketch, x, false, SILU), product(sketch, x, false, None));
                    vec![gate, sketch.wire(mul(), &[gate, up])]
                },
                Not(""),
            ),
            (
                "the gate has a residual",
                |sketch, x| {
                    let residual = sketch.input(&[0, 0, 3]);
                    let (gate, up) = (product(sketch, x, false, SILU), product(sketch, x, false, None));
                    let gate = sketch.wire(add(), &[gate, residual]);
                    vec![sketch.wire(mul(), &[gate, up])]
                },
                Not(""),
            ),
            (
                "they are added",
                |sketch, x| {
                    let (gate, up) = (product(sketch, x, false, SILU), product(sketch, x, false, None));
                    vec![sketch.wire(add(), &[gate, up])]
                },
                Not(""),
            ),
        ];
        for (what, build, expected) in cases {
            let mut sketch = Sketch::new();
            let x = sketch.input(&[0, 0, 4]);
            let outputs = build(&mut sketch, x);
            sketch.check(what, &outputs, "gated linear", expected);
        }
    }

    #[test]
    fn one_node_stands_for_both() {
        let mut sketch = Sketch::new();
        let x = sketch.input(&[0, 0, 4]);
        let gate = product(&mut sketch, x, true, Some(Activation::Silu));
        let up = product(&mut sketch, x, false, None);
        let output = sketch.wire(mul(), &[up, gate]);
        sketch.model.select_output_outlets(&[output]).unwrap();
        let fused = fuse(sketch.model, &mut Report::default()).unwrap();
        let gated: Vec<&GatedLinear> = fused.nodes().iter().filter_map(|node| node.op_as()).collect();
        let [gated] = *gated else { panic!("{} nodes are gated", gated.len()) };
        assert_eq!(gated.activation, Activation::Silu);
        assert_eq!((gated.gate_bias.is_some(), gated.up_bias.is_some()), (true, false));
        assert!(!fused.nodes().iter().any(|node| node.op_is::<Linear>()));
    }
}
