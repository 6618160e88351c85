//! A product of 8-bit activations, quantised at run time, with constant 8-bit weights, as onnxruntime's dynamic quantisation
//! writes it: `Cast(MatMulInteger(x, weights, zero points)) · (scale · scales) + bias`, or in one of its fused operators; and
//! what is left of products with constant weights, whose weights are packed.

use super::Match;
use super::linear::signed;
use super::pattern::{binary, producer, replace, same_shape, sole_reader};
use crate::kernels::integer_linear::IntegerWeights;
use crate::ops::plain::PlainOperator;
use crate::ops::{IntegerLinear, MatMulInteger, QuantizedLinear, Requantize, Shared, f32_slice};
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::Cast;

/// Looks for the product of integers.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if !node.op_is::<PlainOperator<MatMulInteger>>() {
        return Ok(Match::None);
    }
    let Some(weights) = weights(model, node)? else { return Ok(Match::None) };
    if model.outlet_fact(node.inputs[X_ZERO_POINT])?.shape.volume() != 1.to_dim() {
        return Ok(Match::Almost("the activations have a zero point for each row".into()));
    }
    let Some(scaled) = scaled(model, node, weights.outputs())? else {
        return Ok(Match::Almost("the sums are not cast to float32 and multiplied by scales".into()));
    };
    let (last, bias) = bias(model, scaled.node, weights.outputs())?;
    let operator = QuantizedLinear { bias: bias.map(Shared::new), ..QuantizedLinear::new(weights, scaled.scales) };
    let inputs = [node.inputs[X], scaled.scale, node.inputs[X_ZERO_POINT]];
    Ok(Match::Found(replace(model, &last.name, operator, &inputs, OutletId::new(last.id, 0))?))
}

/// Looks for a product of integers that is not scaled at once.
pub fn look_for_integer_linear(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if !node.op_is::<PlainOperator<MatMulInteger>>() || model.outlet_fact(node.inputs[X])?.rank() < 2 {
        return Ok(Match::None);
    }
    let Some(weights) = weights(model, node)? else { return Ok(Match::None) };
    let operator = PlainOperator(IntegerLinear { weights: Shared::new(weights) });
    let inputs = [node.inputs[X], node.inputs[X_ZERO_POINT]];
    Ok(Match::Found(replace(model, &node.name, operator, &inputs, OutletId::new(node.id, 0))?))
}

// Inputs of the product.
const X: usize = 0;
const WEIGHTS: usize = 1;
const X_ZERO_POINT: usize = 2;
const WEIGHTS_ZERO_POINT: usize = 3;

/// The packed weights, if they and their zero points are constant, and one matrix.
fn weights(model: &TypedModel, node: &TypedNode) -> TractResult<Option<IntegerWeights>> {
    let konst = |slot: usize| model.outlet_fact(node.inputs[slot]).map(|fact| fact.konst.clone());
    let (Some(weights), Some(zero_points)) = (konst(WEIGHTS)?, konst(WEIGHTS_ZERO_POINT)?) else { return Ok(None) };
    let &[.., inputs, outputs] = weights.shape() else { return Ok(None) };
    let one_matrix =
        weights.volume() == inputs * outputs && weights.rank() <= model.outlet_fact(node.inputs[X])?.rank();
    let fits = one_matrix && weights.datum_type() == zero_points.datum_type();
    if !fits || ![1, outputs].contains(&zero_points.volume()) {
        return Ok(None);
    }
    let (Some(elements), Some(zero_points)) = (signed(&weights)?, signed(&zero_points)?) else { return Ok(None) };
    Ok(Some(IntegerWeights::new(&elements, inputs, outputs, &zero_points)?))
}

/// The node that scales the sums, by the scale of `x` times those of the weights.
struct Scaled<'a> {
    node: &'a TypedNode,
    scale: OutletId,
    scales: Vec<f32>,
}

fn scaled<'a>(model: &'a TypedModel, sum: &TypedNode, outputs: usize) -> TractResult<Option<Scaled<'a>>> {
    let Some(reader) = sole_reader(model, sum) else { return Ok(None) };
    if let Some(PlainOperator(operator)) = reader.op_as::<PlainOperator<Requantize>>() {
        return scaled_at_once(model, reader, operator, outputs);
    }
    let to_float = |reader: &&TypedNode| reader.op_as::<Cast>().is_some_and(|cast| cast.to == f32::datum_type());
    let Some(cast) = Some(reader).filter(to_float) else { return Ok(None) };
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

/// The scales of an operator that applies them at once.
fn scaled_at_once<'a>(
    model: &'a TypedModel,
    node: &'a TypedNode,
    operator: &Requantize,
    outputs: usize,
) -> TractResult<Option<Scaled<'a>>> {
    let Some(scales) = model.outlet_fact(node.inputs[2])?.konst.clone() else { return Ok(None) };
    let last = model.outlet_fact(node.inputs[0])?.rank() - 1;
    let along_columns = scales.volume() == 1 || (scales.volume() == outputs && operator.axis == last);
    let one_scale = model.outlet_fact(node.inputs[1])?.shape.volume() == 1.to_dim();
    if operator.output.is_some() || operator.alpha != 1.0 || !along_columns || !one_scale {
        return Ok(None);
    }
    Ok(Some(Scaled { node, scale: node.inputs[1], scales: f32_slice(&scales)?.to_vec() }))
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
        /// Zero points of the activations.
        rows: usize,
        scaled: Scales,
        bias: bool,
        expected: Expected,
    }

    enum Scales {
        None,
        /// Cast and multiplied.
        Multiplied,
        AtOnce,
    }

    fn build(sketch: &mut Sketch, case: &Case) -> OutletId {
        let x = sketch.typed_input(u8::datum_type(), &[0, 4, 6]);
        let scale = sketch.input(&[]);
        let row: &[usize] = if case.rows == 1 { &[] } else { &[4] };
        let zero_point = sketch.typed_input(u8::datum_type(), row);
        let elements: Vec<i8> = (0..18u32).map(|at| (at * 53 % 256) as u8 as i8).collect();
        let weights = sketch.constant(Tensor::from_shape(&[1, 6, 3], &elements).unwrap());
        let [scales, zero_points] = case.columns;
        let zero_points: Vec<i8> = (0..zero_points).map(|at| at as i8 * 5 - 3).collect();
        let zero_points = match &*zero_points {
            [zero_point] => tensor0(*zero_point),
            zero_points => tensor1(zero_points),
        };
        let zero_points = sketch.constant(zero_points);
        let sums = sketch.wire(PlainOperator(MatMulInteger), &[x, weights, zero_point, zero_points]);
        let scales_shape: &[usize] = if scales == 1 { &[] } else { &[3] };
        let scaled = match case.scaled {
            Scales::None => return sketch.wire(cast(f32::datum_type()), &[sums]),
            Scales::AtOnce => {
                let scales = sketch.weights(scales_shape);
                let operator = Requantize { axis: 2, alpha: 1.0, output: None };
                sketch.wire(PlainOperator(operator), &[sums, scale, scales])
            }
            Scales::Multiplied => {
                let sums = sketch.wire(cast(f32::datum_type()), &[sums]);
                let scale = if scales == 1 { scale } else { sketch.wire(AxisOp::Add(0), &[scale]) };
                let scales = sketch.weights(scales_shape);
                let mut scale = sketch.wire(mul(), &[scale, scales]);
                while sketch.model.outlet_fact(scale).unwrap().rank() < 3 {
                    scale = sketch.wire(AxisOp::Add(0), &[scale]);
                }
                sketch.wire(mul(), &[sums, scale])
            }
        };
        if !case.bias {
            return scaled;
        }
        let bias = sketch.weights(&[1, 1, 3]);
        sketch.wire(add(), &[bias, scaled])
    }

    #[test]
    fn forms() {
        use Expected::{Fused, Not};
        use Scales::{AtOnce, Multiplied, None};
        let case = |what, columns, scaled, bias, expected| Case { what, columns, rows: 1, scaled, bias, expected };
        let cases = [
            case("one scale", [1, 1], Multiplied, false, Fused),
            case("by column", [3, 3], Multiplied, true, Fused),
            case("one scale at once", [1, 3], AtOnce, false, Fused),
            case("by column at once", [3, 1], AtOnce, true, Fused),
            case("not scaled", [1, 1], None, false, Not("multiplied by scales")),
            Case { rows: 4, ..case("by row", [1, 1], Multiplied, false, Not("for each row")) },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let output = build(&mut sketch, &case);
            sketch.check(case.what, &[output], "quantised linear", case.expected);
        }
    }

    #[test]
    fn forms_of_the_rest() {
        use Expected::{Fused, Not};
        use Scales::{Multiplied, None};
        let case = |what, rows, scaled, expected| Case { what, columns: [1, 3], rows, scaled, bias: false, expected };
        let cases = [
            case("not scaled", 1, None, Fused),
            case("by row", 4, Multiplied, Fused),
            case("a quantised linear", 1, Multiplied, Not("")),
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let output = build(&mut sketch, &case);
            sketch.check(case.what, &[output], "integer linear", case.expected);
        }
    }
}
