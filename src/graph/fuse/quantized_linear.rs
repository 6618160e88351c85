//! A product of 8-bit activations, quantised at run time, with constant 8-bit weights, as onnxruntime's dynamic quantisation
//! writes it: `Cast(MatMulInteger(x, weights, zero points)) · (scale · scales) + bias`, or in one of its fused operators; of
//! activations quantised with constant scales, as in `QLinearMatMul` and `QGemm`, whose sums are rounded to integers again; and
//! what is left of products with constant weights, whose weights are packed.

use super::Match;
use super::pattern::{binary, producer, read_once, replace, same_shape, sole_reader};
use crate::kernels::integer_linear::IntegerWeights;
use crate::ops::plain::PlainOperator;
use crate::ops::{
    DynamicQuantizeLinear, IntegerLinear, MatMulInteger, QuantizeLinear, QuantizedLinear, QuantizedType, Requantize,
    Shared, f32_slice, signed_operand, to_f32,
};
use tract_core::internal::*;
use tract_core::ops::cast::Cast;
use tract_core::ops::math::mul;

/// Looks for the product of integers.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if !node.op_is::<PlainOperator<MatMulInteger>>() {
        return Ok(Match::None);
    }
    let Some(weights) = weights(model, node)? else { return Ok(Match::None) };
    if model.outlet_fact(node.inputs[X_ZERO_POINT])?.shape.volume() != 1.to_dim() {
        return Ok(Match::Almost("the activations have a zero point for each row".into()));
    }
    let outputs = weights.outputs();
    if let Some(requantized) = Requantized::of(model, node, outputs)? {
        return requantized.fused(model, node, weights);
    }
    let Some(scaled) = scaled(model, node, outputs)? else {
        return Ok(Match::Almost("the sums are not cast to float32 and multiplied by scales".into()));
    };
    let (last, bias) = bias(model, scaled.node, outputs)?;
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
    let operator = PlainOperator(IntegerLinear { weights });
    let inputs = [node.inputs[X], node.inputs[X_ZERO_POINT]];
    Ok(Match::Found(replace(model, &node.name, operator, &inputs, OutletId::new(node.id, 0))?))
}

/// Looks for a quantised linear layer that alone reads what quantises its activations at run time.
pub fn look_for_quantisation(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(linear) = node.op_as::<QuantizedLinear>().filter(|linear| !linear.quantizes) else {
        return Ok(Match::None);
    };
    let (operands, joined) = node.inputs.split_at(3);
    let quantized = producer(model, operands[0]);
    let quantizes = quantized.op_is::<PlainOperator<DynamicQuantizeLinear>>();
    let in_order = operands.iter().enumerate().all(|(slot, operand)| *operand == OutletId::new(quantized.id, slot));
    if !quantizes || !in_order || !operands.iter().all(|operand| read_once(model, *operand)) {
        return Ok(Match::None);
    }
    let operator = QuantizedLinear { quantizes: true, ..linear.clone() };
    let inputs = [&quantized.inputs[..1], joined].concat();
    Ok(Match::Found(replace(model, &node.name, operator, &inputs, OutletId::new(node.id, 0))?))
}

// Inputs of the product.
const X: usize = 0;
const WEIGHTS: usize = 1;
const X_ZERO_POINT: usize = 2;
const WEIGHTS_ZERO_POINT: usize = 3;

/// The packed weights, if they and their zero points are constant, and one matrix.
fn weights(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Shared<IntegerWeights>>> {
    let konst = |slot: usize| model.outlet_fact(node.inputs[slot]).map(|fact| fact.konst.clone());
    let (Some(weights), Some(zero_points)) = (konst(WEIGHTS)?, konst(WEIGHTS_ZERO_POINT)?) else { return Ok(None) };
    let &[.., inputs, outputs] = weights.shape() else { return Ok(None) };
    let one_matrix =
        weights.volume() == inputs * outputs && weights.rank() <= model.outlet_fact(node.inputs[X])?.rank();
    let byte_sized = [i8::datum_type(), u8::datum_type()].contains(&weights.datum_type());
    let fits = one_matrix && byte_sized && weights.datum_type() == zero_points.datum_type();
    if !fits || ![1, outputs].contains(&zero_points.volume()) {
        return Ok(None);
    }
    let packed = Shared::try_of(&[&weights, &zero_points], "product", || {
        let (elements, zero_points) = signed_operand(&weights, &zero_points)?;
        Ok(IntegerWeights::new(&elements, inputs, outputs, &zero_points)?)
    });
    packed.map(Some)
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

/// Sums that an integer bias is added to, or that become integers again, by constant factors.
struct Requantized<'a> {
    node: &'a TypedNode,
    /// Added to the sums.
    bias: Option<Vec<f32>>,
    /// By which sums are multiplied: one, or one for each column.
    factors: Vec<f32>,
    output: Option<QuantizedType>,
}

impl<'a> Requantized<'a> {
    fn of(model: &'a TypedModel, sum: &TypedNode, outputs: usize) -> TractResult<Option<Requantized<'a>>> {
        let Some(mut node) = sole_reader(model, sum) else { return Ok(None) };
        let konst = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.konst.clone());
        let along_columns = |tensor: &Tensor| tensor.volume() == 1 || tensor.shape().last() == Some(&tensor.volume());
        let mut bias = None;
        if let Some([left, right]) = binary(node, "Add") {
            let constant = konst(if left.node == sum.id { right } else { left })?;
            let Some(constant) = constant.filter(|constant| along_columns(constant)) else { return Ok(None) };
            let summands = to_f32(&constant)?;
            bias = Some((0..outputs).map(|column| summands[column % summands.len()]).collect());
            let Some(reader) = sole_reader(model, node) else { return Ok(None) };
            node = reader;
        }
        let Some(PlainOperator(operator)) = node.op_as::<PlainOperator<Requantize>>() else { return Ok(None) };
        let last = model.outlet_fact(node.inputs[0])?.rank() - 1;
        let (Some(left), Some(right)) = (konst(node.inputs[1])?, konst(node.inputs[2])?) else { return Ok(None) };
        let fits = left.volume() == 1 && (right.volume() == 1 || (right.volume() == outputs && operator.axis == last));
        if !fits || (operator.output.is_none() && bias.is_none()) {
            return Ok(None);
        }
        let left = f32_slice(&left)?[0];
        let mut factors: Vec<f32> = f32_slice(&right)?.iter().map(|right| operator.alpha * left * right).collect();
        if operator.output.is_some() {
            let Some(scale) = konst(node.inputs[3])?.filter(|scale| scale.volume() == 1) else { return Ok(None) };
            let scale = f32_slice(&scale)?[0];
            factors.iter_mut().for_each(|factor| *factor /= scale);
        }
        Ok(Some(Requantized { node, bias, factors, output: operator.output }))
    }

    /// The product with factors for scales, or, where a bias comes before them, as it is; then what rounds it.
    fn fused(self, model: &TypedModel, node: &TypedNode, weights: Shared<IntegerWeights>) -> TractResult<Match> {
        let Requantized { node: last, bias, factors, output } = self;
        let is_biased = bias.is_some();
        if let Some(bias) = &bias
            && !sums_are_exact(model, node, bias)?
        {
            return Ok(Match::Almost("sums of products with the weights are too large to be exact in float32".into()));
        }
        let mut patch = TypedModelPatch::default();
        let taps = patch.taps(model, &[node.inputs[X], node.inputs[X_ZERO_POINT]])?;
        let one = patch.add_const(format!("{}.one", node.name), tensor0(1f32))?;
        let scales = if is_biased { vec![1.0] } else { factors.clone() };
        let rank = model.outlet_fact(OutletId::new(node.id, 0))?.rank();
        let operator = QuantizedLinear { bias: bias.map(Shared::new), ..QuantizedLinear::new(weights, scales) };
        let mut wire = patch.wire_node(&*node.name, operator, &[taps[0], one, taps[1]])?[0];
        if is_biased {
            let mut shape = vec![1; rank];
            shape[rank - 1] = factors.len();
            let factors = Tensor::from_shape(&shape, &factors)?;
            let factors = patch.add_const(format!("{}.factors", node.name), factors)?;
            wire = patch.wire_node(format!("{}.scaled", node.name), mul(), &[wire, factors])?[0];
        }
        if let Some(output) = output {
            let zero_point = patch.tap_model(model, last.inputs[4])?;
            let operator = QuantizeLinear { axis: 0, block_size: 0, output };
            wire = patch.wire_node(&*last.name, operator, &[wire, one, zero_point])?[0];
        }
        patch.shunt_outside(model, OutletId::new(last.id, 0), wire)?;
        Ok(Match::Found(Box::new(patch)))
    }
}

/// Whether f32 holds every sum of products of bytes with the weights, and the bias added to it.
fn sums_are_exact(model: &TypedModel, node: &TypedNode, bias: &[f32]) -> TractResult<bool> {
    let konst = |slot: usize| model.outlet_fact(node.inputs[slot]).map(|fact| fact.konst.clone());
    let (Some(weights), Some(zero_points)) = (konst(WEIGHTS)?, konst(WEIGHTS_ZERO_POINT)?) else { return Ok(false) };
    let (weights, zero_points) = (to_f32(&weights)?, to_f32(&zero_points)?);
    let mut sums: Vec<f64> = bias.iter().map(|bias| f64::from(bias.abs())).collect();
    for (at, weight) in weights.iter().enumerate() {
        let column = at % bias.len();
        sums[column] += 255.0 * f64::from((weight - zero_points[column % zero_points.len()]).abs());
    }
    Ok(sums.iter().all(|sum| *sum <= f64::from(1 << 24)))
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
    use crate::kernels::linear::Join;
    use tract_core::ops::cast::cast;
    use tract_core::ops::math::add;

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
        /// To integers again, perhaps behind a bias of integers times that.
        Rounded(Option<i32>),
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
            Scales::Rounded(bias) => return rounded(sketch, sums, scales, bias),
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

    fn rounded(sketch: &mut Sketch, mut sums: OutletId, scales: usize, bias: Option<i32>) -> OutletId {
        if let Some(factor) = bias {
            let bias = Tensor::from_shape(&[1, 1, 3], &[-7, 20, 33].map(|bias| bias * factor)).unwrap();
            let bias = sketch.constant(bias);
            sums = sketch.wire(add(), &[sums, bias]);
        }
        let scales: Vec<f32> = (1..=scales).map(|scale| scale as f32 * 0.013).collect();
        let [x_scale, scales, scale] = [vec![0.02], scales, vec![0.7]].map(|scales| sketch.constant(tensor1(&scales)));
        let zero_point = sketch.constant(tensor0(120u8));
        let operator = Requantize { axis: 2, alpha: 1.0, output: Some(QuantizedType::UINT8) };
        let integers = sketch.wire(PlainOperator(operator), &[sums, x_scale, scales, scale, zero_point]);
        sketch.dequantized(integers, 0.7, 120)
    }

    #[test]
    fn forms() {
        use Expected::{Fused, Not};
        use Scales::{AtOnce, Multiplied, None, Rounded};
        let bias = |factor| Rounded(Some(factor));
        let case = |what, columns, scaled, bias, expected| Case { what, columns, rows: 1, scaled, bias, expected };
        let cases = [
            case("one scale", [1, 1], Multiplied, false, Fused),
            case("by column", [3, 3], Multiplied, true, Fused),
            case("one scale at once", [1, 3], AtOnce, false, Fused),
            case("by column at once", [3, 1], AtOnce, true, Fused),
            case("one scale, rounded", [1, 3], Rounded(Option::None), false, Fused),
            case("by column, rounded", [3, 1], Rounded(Option::None), false, Fused),
            case("by column, biased and rounded", [3, 1], bias(1), false, Fused),
            case("one scale, biased and rounded", [1, 3], bias(100), false, Fused),
            case("too large a bias", [1, 1], bias(1 << 24), false, Not("too large")),
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
    fn forms_of_quantisation() {
        use Expected::{Fused, Not};
        // Whether the integers are read by another node, too, the zero point is the product's own, something is joined.
        for (what, [read_twice, own_zero_point, joined], expected) in [
            ("quantised for one layer", [false; 3], Fused),
            ("with a residual", [false, false, true], Fused),
            ("read by another node", [true, false, false], Not("")),
            ("another zero point", [false, true, false], Not("")),
        ] {
            let mut sketch = Sketch::new();
            let x = sketch.input(&[0, 4, 6]);
            let quantized = sketch.wire(PlainOperator(DynamicQuantizeLinear), &[x]);
            let [scale, zero_point] = [1, 2].map(|slot| OutletId::new(quantized.node, slot));
            let zero_point = if own_zero_point { sketch.constant(tensor0(7u8)) } else { zero_point };
            let elements: Vec<i8> = (0..18).map(|at| at * 7 - 60).collect();
            let weights = Shared::new(IntegerWeights::new(&elements, 6, 3, &[]).unwrap());
            let linear =
                QuantizedLinear { joined: joined.then_some(Join::Add), ..QuantizedLinear::new(weights, vec![0.02]) };
            let mut inputs = vec![quantized, scale, zero_point];
            if joined {
                inputs.push(sketch.input(&[0, 4, 3]));
            }
            let mut outputs = vec![sketch.wire(linear, &inputs)];
            if read_twice {
                outputs.push(sketch.wire(cast(f32::datum_type()), &[quantized]));
            }
            sketch.check(what, &outputs, "dynamic quantisation", expected);
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
