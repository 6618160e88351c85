//! What follows a `Linear` or `QuantizedLinear`: the addition of a bias, an activation, the addition of a residual or the
//! multiplication by a gate; and the reshapes around a `Linear` that make one matrix of several, which it does not need.

use super::Match;
use super::pattern::{binary, producer, replace, same_shape, sole_reader};
use crate::kernels::activation::Activation;
use crate::kernels::linear::Join;
use crate::ops::{Activate, Linear, QuantizedLinear, Shared, f32_slice};
use tract_core::internal::*;

/// A product with constant weights that can take in what follows it.
trait Product: TypedOp + Clone {
    fn bias(&mut self) -> &mut Option<Shared<Vec<f32>>>;
    fn activation(&mut self) -> &mut Activation;
    fn joined(&mut self) -> &mut Option<Join>;
}

macro_rules! products {
    ($($operator:ty),*) => {
        $(impl Product for $operator {
            fn bias(&mut self) -> &mut Option<Shared<Vec<f32>>> {
                &mut self.bias
            }

            fn activation(&mut self) -> &mut Activation {
                &mut self.activation
            }

            fn joined(&mut self) -> &mut Option<Join> {
                &mut self.joined
            }
        })*
    };
}

products!(Linear, QuantizedLinear);

/// Looks for a product whose only reader can be taken into it.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(reader) = sole_reader(model, node) else { return Ok(Match::None) };
    if let Some(linear) = node.op_as::<Linear>().filter(|linear| linear.joined.is_none()) {
        return match reader.op_as() {
            Some(AxisOp::Reshape(..)) => unfolded(model, node, linear, reader),
            _ => extended(model, node, linear.clone(), reader),
        };
    }
    match node.op_as::<QuantizedLinear>().filter(|linear| linear.joined.is_none()) {
        Some(linear) => extended(model, node, linear.clone(), reader),
        None => Ok(Match::None),
    }
}

/// The product with what its reader does.
fn extended(model: &TypedModel, node: &TypedNode, mut product: impl Product, reader: &TypedNode) -> TractResult<Match> {
    let mut inputs = node.inputs.clone();
    if let Some(Activate(activation)) = reader.op_as::<Activate>() {
        if *product.activation() != Activation::Identity {
            return Ok(Match::None);
        }
        *product.activation() = *activation;
    } else {
        let Some((how, [left, right])) = joins(reader) else { return Ok(Match::None) };
        let (own, other) = (OutletId::new(node.id, 0), if left.node == node.id { right } else { left });
        if !same_shape(model, own, OutletId::new(reader.id, 0)) || left == right {
            return Ok(Match::None);
        }
        let bias = if how == Join::Add { bias(model, node, &mut product, other)? } else { None };
        if bias.is_some() {
            *product.bias() = bias.map(Shared::new);
        } else if same_shape(model, other, own) {
            inputs.push(other);
            *product.joined() = Some(how);
        } else {
            return Ok(Match::None);
        }
    }
    Ok(Match::Found(replace(model, &reader.name, product, &inputs, OutletId::new(reader.id, 0))?))
}

/// How a node joins two values, and these.
fn joins(node: &TypedNode) -> Option<(Join, [OutletId; 2])> {
    let join = |how, name| Some((how, binary(node, name)?));
    join(Join::Add, "Add").or_else(|| join(Join::Multiply, "Mul"))
}

/// `Linear` of rows that are folded before it and unfolded behind it.
fn unfolded(model: &TypedModel, node: &TypedNode, linear: &Linear, behind: &TypedNode) -> TractResult<Match> {
    let before = producer(model, node.inputs[0]);
    let (Some(AxisOp::Reshape(0, from, to)), Some(AxisOp::Reshape(0, back_from, back_to))) =
        (before.op_as(), behind.op_as())
    else {
        return Ok(Match::None);
    };
    let x = before.inputs[0];
    let rows_only = model.outlet_fact(x)?.rank() == from.len() + 1;
    if !rows_only || (from, to) != (back_to, back_from) {
        return Ok(Match::None);
    }
    Ok(Match::Found(replace(model, &node.name, linear.clone(), &[x], OutletId::new(behind.id, 0))?))
}

/// The constant vector that is added to every row, where that comes before bias, activation and joined operand.
fn bias(
    model: &TypedModel,
    node: &TypedNode,
    product: &mut impl Product,
    outlet: OutletId,
) -> TractResult<Option<Vec<f32>>> {
    let Some(constant) = model.outlet_fact(outlet)?.konst.clone() else { return Ok(None) };
    // The weights are not asked, which would pack them.
    let columns = node.outputs[0].fact.shape.last();
    let size = constant.shape().last().filter(|size| **size == constant.volume());
    let vector = size.is_some_and(|size| columns == Some(&size.to_dim()));
    let free = product.bias().is_none() && *product.activation() == Activation::Identity;
    Ok(if vector && free { Some(f32_slice(&constant)?.to_vec()) } else { None })
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use crate::kernels::integer_linear::IntegerWeights;
    use crate::ops::MatMul;
    use tract_core::ops::math::{add, mul};

    #[test]
    fn what_follows_a_linear() {
        use Expected::{Fused, Not};
        type Build = fn(&mut Sketch, OutletId) -> Vec<OutletId>;
        let cases: [(&str, Build, Expected); 9] = [
            (
                "a gate",
                |sketch, linear| {
                    let gate = sketch.input(&[0, 0, 3]);
                    vec![sketch.wire(mul(), &[gate, linear])]
                },
                Fused,
            ),
            (
                "a factor for each column",
                |sketch, linear| {
                    let factors = sketch.weights(&[1, 1, 3]);
                    vec![sketch.wire(mul(), &[linear, factors])]
                },
                Not(""),
            ),
            (
                "bias, activation and residual",
                |sketch, linear| {
                    let (bias, residual) = (sketch.weights(&[1, 1, 3]), sketch.input(&[0, 0, 3]));
                    let biased = sketch.wire(add(), &[bias, linear]);
                    let activated = sketch.wire(Activate(Activation::Gelu), &[biased]);
                    vec![sketch.wire(add(), &[activated, residual])]
                },
                Fused,
            ),
            (
                "a residual of one row for all",
                |sketch, linear| {
                    let residual = sketch.input(&[0, 1, 3]);
                    vec![sketch.wire(add(), &[linear, residual])]
                },
                Not(""),
            ),
            (
                "read twice",
                |sketch, linear| {
                    let residual = sketch.input(&[0, 0, 3]);
                    vec![sketch.wire(add(), &[linear, residual]), sketch.wire(Activate(Activation::Relu), &[linear])]
                },
                Not(""),
            ),
            (
                "an output itself",
                |sketch, linear| vec![linear, sketch.wire(Activate(Activation::Relu), &[linear])],
                Not(""),
            ),
            ("added to itself", |sketch, linear| vec![sketch.wire(add(), &[linear, linear])], Not("")),
            (
                "a number for all",
                |sketch, linear| {
                    let number = sketch.number(3, 2.0);
                    vec![sketch.wire(add(), &[linear, number])]
                },
                Not(""),
            ),
            (
                "two activations",
                |sketch, linear| {
                    let once = sketch.wire(Activate(Activation::Relu), &[linear]);
                    vec![sketch.wire(Activate(Activation::Gelu), &[once])]
                },
                Fused,
            ),
        ];
        for (what, build, expected) in cases {
            let mut sketch = Sketch::new();
            let (x, weights) = (sketch.input(&[0, 0, 4]), sketch.weights(&[4, 3]));
            let linear = sketch.wire(MatMul, &[x, weights]);
            let outputs = build(&mut sketch, linear);
            sketch.check(what, &outputs, "linear epilogue", expected);
        }
    }

    #[test]
    fn what_follows_a_quantized_linear() {
        use Expected::{Fused, Not};
        for (what, residual, expected) in
            [("a residual", [0usize, 0, 3], Fused), ("a residual of one row for all", [0, 1, 3], Not(""))]
        {
            let mut sketch = Sketch::new();
            let (x, scale) = (sketch.typed_input(u8::datum_type(), &[0, 0, 4]), sketch.input(&[]));
            let zero_point = sketch.typed_input(u8::datum_type(), &[]);
            let elements: Vec<i8> = (0..12u32).map(|at| (at * 53 % 256) as u8 as i8).collect();
            let weights = Shared::new(IntegerWeights::new(&elements, 4, 3, &[]).unwrap());
            let product = sketch.wire(QuantizedLinear::new(weights, vec![0.5]), &[x, scale, zero_point]);
            let mut output = product;
            if matches!(expected, Fused) {
                let bias = sketch.weights(&[1, 1, 3]);
                let biased = sketch.wire(add(), &[bias, product]);
                output = sketch.wire(Activate(Activation::Relu), &[biased]);
            }
            let residual = sketch.input(&residual);
            let output = sketch.wire(add(), &[residual, output]);
            sketch.check(what, &[output], "linear epilogue", expected);
        }
    }

    #[test]
    fn folded_rows() {
        struct Case {
            what: &'static str,
            unfolded: [&'static str; 2],
            expected: Expected,
        }
        let cases = [
            Case { what: "unfolded as before", unfolded: ["B", "S"], expected: Expected::Fused },
            Case { what: "unfolded otherwise", unfolded: ["S", "B"], expected: Expected::Not("") },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let (x, weights) = (sketch.input(&[0, 0, 4]), sketch.weights(&[4, 3]));
            let [batch, length] = ["B", "S"].map(|name| sketch.dim(name));
            let rows = tvec!(batch.clone() * length.clone());
            let folded = sketch.wire(AxisOp::Reshape(0, tvec!(batch, length), rows.clone()), &[x]);
            let product = sketch.wire(MatMul, &[folded, weights]);
            let unfolded = case.unfolded.iter().map(|name| sketch.dim(name)).collect();
            let output = sketch.wire(AxisOp::Reshape(0, rows, unfolded), &[product]);
            sketch.check(case.what, &[output], "linear epilogue", case.expected);
        }
    }
}
