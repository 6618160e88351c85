//! A product of 8-bit activations, quantised at run time, with constant 8-bit weights, as onnxruntime's dynamic quantisation
//! writes it: `Cast(MatMulInteger(x, weights, zero points)) · (scale · scales) + bias`.

use super::Match;
use super::linear::signed;
use super::pattern::{binary, producer, replace, same_shape, sole_reader};
use crate::kernels::integer_linear::IntegerWeights;
use crate::ops::{QuantizedLinear, Shared, f32_slice};
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::Cast;
use tract_onnx::tract_hir::tract_core::ops::einsum::EinSum;

/// Looks for the product of integers, which tract writes as an Einstein sum with zero points.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(sum) = node.op_as::<EinSum>().filter(|sum| sum.q_params == Some(i32::datum_type())) else {
        return Ok(Match::None);
    };
    let Some(weights) = weights(model, node)? else { return Ok(Match::None) };
    if !is_matrix_product(model, node, sum)? || !is_plain(model, node)? {
        return Ok(Match::Almost(format!("it is the Einstein sum {}, not a product with a matrix", sum.axes)));
    }
    let Some(scaled) = scaled(model, node, weights.outputs())? else {
        return Ok(Match::Almost("the sums are not cast to float32 and multiplied by scales".into()));
    };
    let (last, bias) = bias(model, scaled.node, weights.outputs())?;
    let operator = QuantizedLinear {
        weights: Shared::new(weights),
        scales: Shared::new(scaled.scales),
        bias: bias.map(Shared::new),
    };
    let inputs = [node.inputs[X], scaled.scale, node.inputs[X_ZERO_POINT]];
    Ok(Match::Found(replace(model, &last.name, operator, &inputs, OutletId::new(last.id, 0))?))
}

// Inputs of a quantised Einstein sum.
const X: usize = 0;
const WEIGHTS: usize = 1;
const BIAS: usize = 2;
const X_ZERO_POINT: usize = 3;
const X_SCALE: usize = 4;
const WEIGHTS_ZERO_POINT: usize = 5;
const WEIGHTS_SCALE: usize = 6;
const OUTPUT_ZERO_POINT: usize = 7;
const OUTPUT_SCALE: usize = 8;

/// The packed weights, if they and their zero points are constant.
fn weights(model: &TypedModel, node: &TypedNode) -> TractResult<Option<IntegerWeights>> {
    let konst = |slot: usize| model.outlet_fact(node.inputs[slot]).map(|fact| fact.konst.clone());
    let (Some(weights), Some(zero_points)) = (konst(WEIGHTS)?, konst(WEIGHTS_ZERO_POINT)?) else { return Ok(None) };
    let &[.., inputs, outputs] = weights.shape() else { return Ok(None) };
    let one_matrix = weights.volume() == inputs * outputs && weights.datum_type() == zero_points.datum_type();
    if !one_matrix || ![1, outputs].contains(&zero_points.volume()) {
        return Ok(None);
    }
    let (Some(elements), Some(zero_points)) = (signed(&weights)?, signed(&zero_points)?) else { return Ok(None) };
    Ok(Some(IntegerWeights::new(&elements, inputs, outputs, &zero_points)?))
}

/// Whether the last axis of `x` is summed over with the last but one of the weights, and the other axes stay where they are.
fn is_matrix_product(model: &TypedModel, node: &TypedNode, sum: &EinSum) -> TractResult<bool> {
    let rank = model.outlet_fact(node.inputs[X])?.rank();
    let weights = model.outlet_fact(node.inputs[WEIGHTS])?.shape.to_tvec();
    let fits = |axis: &Axis| match (&*axis.inputs[X], &*axis.inputs[WEIGHTS], &*axis.outputs[0]) {
        (&[x], &[row], &[]) => x + 1 == rank && row + 2 == weights.len(),
        (&[], &[column], &[result]) => column + 1 == weights.len() && result + 1 == rank,
        (&[x], &[leading], &[result]) => x == result && weights[leading] == 1.to_dim(),
        (&[x], &[], &[result]) => x == result,
        _ => false,
    };
    Ok(sum.axes.iter_all_axes().all(fits))
}

/// Whether nothing but zero points is applied within the sum.
fn is_plain(model: &TypedModel, node: &TypedNode) -> TractResult<bool> {
    let value = |slot: usize| -> TractResult<Option<f32>> {
        let konst = model.outlet_fact(node.inputs[slot])?.konst.clone();
        konst.filter(|konst| konst.volume() == 1).map(|konst| konst.cast_to_scalar::<f32>()).transpose()
    };
    let one_zero_point = model.outlet_fact(node.inputs[X_ZERO_POINT])?.shape.volume() == 1.to_dim();
    let neutral = [(BIAS, 0.0), (X_SCALE, 1.0), (WEIGHTS_SCALE, 1.0), (OUTPUT_ZERO_POINT, 0.0), (OUTPUT_SCALE, 1.0)];
    for (slot, expected) in neutral {
        if value(slot)? != Some(expected) {
            return Ok(false);
        }
    }
    Ok(one_zero_point)
}

/// The node that scales the sums, by the scale of `x` times those of the weights.
struct Scaled<'a> {
    node: &'a TypedNode,
    scale: OutletId,
    scales: Vec<f32>,
}

fn scaled<'a>(model: &'a TypedModel, sum: &TypedNode, outputs: usize) -> TractResult<Option<Scaled<'a>>> {
    let to_float = |reader: &&TypedNode| reader.op_as::<Cast>().is_some_and(|cast| cast.to == f32::datum_type());
    let Some(cast) = sole_reader(model, sum).filter(to_float) else { return Ok(None) };
    let Some(product) = sole_reader(model, cast) else { return Ok(None) };
    let Some([left, right]) = binary(product, "Mul") else { return Ok(None) };
    let factor = if left.node == cast.id { right } else { left };
    let Some([left, right]) = binary(producer(model, unsqueezed(model, factor)), "Mul") else { return Ok(None) };
    let konst = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.konst.clone());
    let (scale, scales) = match (konst(left)?, konst(right)?) {
        (None, Some(scales)) => (left, scales),
        (Some(scales), None) => (right, scales),
        _ => return Ok(None),
    };
    let one_scale = model.outlet_fact(scale)?.shape.volume() == 1.to_dim();
    let along_columns = scales.volume() == 1 || (scales.volume() == outputs && scales.shape().last() == Some(&outputs));
    if !one_scale || !along_columns || !same_shape(model, OutletId::new(cast.id, 0), OutletId::new(product.id, 0)) {
        return Ok(None);
    }
    Ok(Some(Scaled { node: product, scale, scales: f32_slice(&scales)?.to_vec() }))
}

/// The tensor behind operators that put axes of one element in front.
fn unsqueezed(model: &TypedModel, mut outlet: OutletId) -> OutletId {
    while let Some(AxisOp::Add(0)) = producer(model, outlet).op_as() {
        outlet = producer(model, outlet).inputs[0];
    }
    outlet
}

/// The node behind, if it adds a constant vector to each row, and that vector; else the node itself.
fn bias<'a>(
    model: &'a TypedModel,
    node: &'a TypedNode,
    outputs: usize,
) -> TractResult<(&'a TypedNode, Option<Vec<f32>>)> {
    let Some(reader) = sole_reader(model, node) else { return Ok((node, None)) };
    let Some([left, right]) = binary(reader, "Add") else { return Ok((node, None)) };
    let other = if left.node == node.id { right } else { left };
    let Some(constant) = model.outlet_fact(other)?.konst.clone() else { return Ok((node, None)) };
    let vector = constant.volume() == outputs && constant.shape().last() == Some(&outputs);
    if !vector || !same_shape(model, OutletId::new(node.id, 0), OutletId::new(reader.id, 0)) {
        return Ok((node, None));
    }
    Ok((reader, Some(f32_slice(&constant)?.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use tract_onnx::tract_hir::tract_core::ops::cast::cast;
    use tract_onnx::tract_hir::tract_core::ops::math::{add, mul};

    struct Case {
        what: &'static str,
        /// Scales of the weights, and their zero points.
        columns: [usize; 2],
        /// Added within the sum.
        within: i32,
        /// Whether the sums are scaled.
        scaled: bool,
        bias: bool,
        expected: Expected,
    }

    fn build(sketch: &mut Sketch, case: &Case) -> OutletId {
        let x = sketch.typed_input(u8::datum_type(), &[0, 0, 6]);
        let (scale, zero_point) = (sketch.input(&[]), sketch.typed_input(u8::datum_type(), &[]));
        let elements: Vec<i8> = (0..18u32).map(|at| (at * 53 % 256) as u8 as i8).collect();
        let weights = sketch.constant(Tensor::from_shape(&[1, 6, 3], &elements).unwrap());
        let [scales, zero_points] = case.columns;
        let zero_points: Vec<i8> = (0..zero_points).map(|at| at as i8 * 5 - 3).collect();
        let zero_points = match &*zero_points {
            [zero_point] => tensor0(*zero_point),
            zero_points => tensor1(zero_points),
        };
        let zero_points = sketch.constant(zero_points);
        let [within, none] = [case.within, 0].map(|value| sketch.constant(tensor0(value)));
        let one = sketch.constant(tensor0(1f32));
        let columns = if zero_points_vary(sketch, zero_points) { "n" } else { "" };
        let formula = format!("amk,akn,,,,{columns},,,->amn");
        let sum = EinSum::newq(formula.parse().unwrap(), i32::datum_type(), i32::datum_type());
        let sums = sketch.wire(sum, &[x, weights, within, zero_point, one, zero_points, one, none, one]);
        let sums = sketch.wire(cast(f32::datum_type()), &[sums]);
        if !case.scaled {
            return sums;
        }
        let scale = if scales == 1 { scale } else { sketch.wire(AxisOp::Add(0), &[scale]) };
        let scales = sketch.weights(if scales == 1 { &[] } else { &[3] });
        let mut scale = sketch.wire(mul(), &[scale, scales]);
        while sketch.model.outlet_fact(scale).unwrap().rank() < 3 {
            scale = sketch.wire(AxisOp::Add(0), &[scale]);
        }
        let scaled = sketch.wire(mul(), &[sums, scale]);
        if !case.bias {
            return scaled;
        }
        let bias = sketch.weights(&[1, 1, 3]);
        sketch.wire(add(), &[bias, scaled])
    }

    fn zero_points_vary(sketch: &Sketch, zero_points: OutletId) -> bool {
        sketch.model.outlet_fact(zero_points).unwrap().rank() == 1
    }

    #[test]
    fn forms() {
        use Expected::{Fused, Not};
        let cases = [
            Case { what: "one scale", columns: [1, 1], within: 0, scaled: true, bias: false, expected: Fused },
            Case { what: "by column", columns: [3, 3], within: 0, scaled: true, bias: true, expected: Fused },
            Case {
                what: "added within the sum",
                columns: [1, 1],
                within: 7,
                scaled: true,
                bias: false,
                expected: Not("Einstein sum"),
            },
            Case {
                what: "not scaled",
                columns: [1, 1],
                within: 0,
                scaled: false,
                bias: false,
                expected: Not("multiplied by scales"),
            },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let output = build(&mut sketch, &case);
            sketch.check(case.what, &[output], "quantised linear", case.expected);
        }
    }
}
