//! A function of integers of 8 or 16 bits: an activation, written out or not, with the roundings before, within and behind it,
//! whose only operand is quantised. It becomes a table of what the very operators give for every integer.

use super::Match;
use super::pattern::{producer, sole_reader, unary};
use super::steps::{Grid, REACH};
use crate::ops::plain::PlainOperator;
use crate::ops::{Activate, DequantizeLinear, Lookup, QLinearBinary, QuantizedType, RoundFloat, Shared};
use std::collections::HashMap;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cast::Cast;
use tract_core::ops::element_wise::ElementWiseOp;

/// Looks for an activation of which all depends on one quantised tensor.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let bends = node.op_is::<Activate>() || ["Erf", "Tanh", "Sigmoid"].iter().any(|name| unary(node, name).is_some());
    if !bends {
        return Ok(Match::None);
    }
    let mut best: Option<(usize, Source, &TypedNode)> = None;
    for source in sources(model, node) {
        let (length, last) = extent(model, node, source.start);
        if length > best.as_ref().map_or(0, |(length, ..)| *length) {
            best = Some((length, source, last));
        }
    }
    let Some((_, source, last)) = best else { return Ok(Match::None) };
    match table(model, &source, OutletId::new(last.id, 0))? {
        Some(table) => Ok(Match::Found(Box::new(replaced(model, &source, last, table)?))),
        None => Ok(Match::None),
    }
}

/// Where a function may start.
struct Source {
    /// Its operand: integers, or these dequantised and moved.
    start: OutletId,
    /// The integers.
    integers: OutletId,
    /// How the operand is made of them, from the integers down.
    path: Vec<usize>,
}

/// Operands of a node, the nearest first: quantised tensors above it.
fn sources(model: &TypedModel, node: &TypedNode) -> Vec<Source> {
    let mut outlets: Vec<OutletId> = node.inputs.to_vec();
    let (mut found, mut next) = (Vec::new(), 0);
    while let Some(outlet) = outlets.get(next).copied() {
        next += 1;
        let above = producer(model, outlet);
        let is_constant = model.outlet_fact(outlet).is_ok_and(|fact| fact.konst.is_some());
        if is_constant || outlets.len() > REACH {
            continue;
        }
        found.extend(source(model, outlet));
        if is_elementwise(model, above) {
            outlets
                .extend(above.inputs.iter().filter(|input| !outlets[..].contains(input)).copied().collect::<Vec<_>>());
        }
    }
    found
}

fn source(model: &TypedModel, start: OutletId) -> Option<Source> {
    let mut path = Vec::new();
    let mut outlet = start;
    while producer(model, outlet).op_is::<AxisOp>() {
        path.push(outlet.node);
        outlet = producer(model, outlet).inputs[0];
    }
    let moved = !path.is_empty();
    let node = producer(model, outlet);
    if moved && node.op_is::<DequantizeLinear>() {
        Grid::of_dequantize(model, node)?;
        path.push(outlet.node);
        outlet = node.inputs[0];
    }
    let fact = model.outlet_fact(outlet).ok()?;
    QuantizedType::of(fact.datum_type).filter(|_| fact.konst.is_none())?;
    path.reverse();
    Some(Source { start, integers: outlet, path })
}

/// Whether a node treats each element by itself, and fails for none. (Quotients of integers may.)
fn is_elementwise(model: &TypedModel, node: &TypedNode) -> bool {
    let quantizes = Grid::of_quantize(model, node).or_else(|| Grid::of_dequantize(model, node)).is_some();
    quantizes
        || (node.op_is::<TypedBinOp>() && node.outputs[0].fact.datum_type.is_float())
        || node.op_is::<ElementWiseOp>()
        || node.op_is::<Activate>()
        || node.op_is::<Cast>()
        || node.op_is::<RoundFloat>()
        || node.op_is::<PlainOperator<QLinearBinary>>()
}

/// How many nodes from an activation on give functions of `start`, and the last of them.
fn extent<'a>(model: &'a TypedModel, node: &'a TypedNode, start: OutletId) -> (usize, &'a TypedNode) {
    let mut known = HashMap::from([(start, true)]);
    let mut is_function = |node: &TypedNode| is_function(model, OutletId::new(node.id, 0), &mut known, REACH);
    if !is_function(node) {
        return (0, node);
    }
    let (mut length, mut last) = (1, node);
    while length < REACH
        && let Some(reader) = sole_reader(model, last).filter(|reader| reader.outputs.len() == 1 && is_function(reader))
    {
        (length, last) = (length + 1, reader);
    }
    (length, last)
}

fn is_function(model: &TypedModel, outlet: OutletId, known: &mut HashMap<OutletId, bool>, depth: usize) -> bool {
    if let Some(known) = known.get(&outlet) {
        return *known;
    }
    let node = producer(model, outlet);
    let constant = model.outlet_fact(outlet).ok().and_then(|fact| fact.konst.clone());
    let is_one = match constant {
        Some(constant) => constant.volume() == 1,
        None => {
            depth > 0
                && is_elementwise(model, node)
                && node.inputs.iter().all(|input| is_function(model, *input, known, depth - 1))
        }
    };
    known.insert(outlet, is_one);
    is_one
}

/// The values of an outlet for every integer of the source.
fn table(model: &TypedModel, source: &Source, outlet: OutletId) -> TractResult<Option<Tensor>> {
    let fact = model.outlet_fact(source.integers)?;
    let Some(integers) = QuantizedType::of(fact.datum_type) else { return Ok(None) };
    let count = 1 << integers.bits;
    let mut value = integers.tensor(&[count], integers.lowest()..=integers.highest())?.into_tvalue();
    for id in &source.path {
        if let Some(operator) = model.node(*id).op_as::<DequantizeLinear>() {
            let mut inputs = tvec!(value);
            inputs.extend(constants(model, &model.node(*id).inputs[1..])?);
            value = operator.eval(&EvalContext::out_of_plan(), inputs)?.remove(0);
        }
    }
    let mut shape = vec![1; model.outlet_fact(source.start)?.rank()];
    let Some(last) = shape.last_mut() else { return Ok(None) };
    *last = count;
    let value = value.into_tensor().into_shape(&shape)?.into_tvalue();
    let mut known = HashMap::from([(source.start, value)]);
    let values = evaluated(model, outlet, &mut known)?.into_tensor();
    let supported = values.datum_type() == f32::datum_type() || QuantizedType::of(values.datum_type()).is_some();
    Ok(if supported && values.volume() == count { Some(values.into_shape(&[count])?) } else { None })
}

fn constants(model: &TypedModel, outlets: &[OutletId]) -> TractResult<TVec<TValue>> {
    let constant = |outlet: &OutletId| {
        let constant = model.outlet_fact(*outlet)?.konst.clone().context("a scale is not constant")?;
        Ok(constant.into_tvalue())
    };
    outlets.iter().map(constant).collect()
}

fn evaluated(model: &TypedModel, outlet: OutletId, known: &mut HashMap<OutletId, TValue>) -> TractResult<TValue> {
    if let Some(value) = known.get(&outlet) {
        return Ok(value.clone());
    }
    if let Some(constant) = model.outlet_fact(outlet)?.konst.clone() {
        return Ok(constant.into_tvalue());
    }
    let node = producer(model, outlet);
    let inputs =
        node.inputs.iter().map(|input| evaluated(model, *input, known)).collect::<TractResult<TVec<TValue>>>()?;
    let value = node.op.eval(&EvalContext::out_of_plan(), inputs)?.remove(0);
    known.insert(outlet, value.clone());
    Ok(value)
}

fn replaced(model: &TypedModel, source: &Source, last: &TypedNode, table: Tensor) -> TractResult<TypedModelPatch> {
    let mut patch = TypedModelPatch::default();
    let mut wire = patch.tap_model(model, source.integers)?;
    for (number, id) in source.path.iter().enumerate() {
        if let Some(operator) = model.node(*id).op_as::<AxisOp>() {
            wire = patch.wire_node(format!("{}.moved.{number}", last.name), operator.clone(), &[wire])?[0];
        }
    }
    let operator = PlainOperator(Lookup { table: Shared::new(table) });
    let wire = patch.wire_node(&*last.name, operator, &[wire])?[0];
    patch.shunt_outside(model, OutletId::new(last.id, 0), wire)?;
    Ok(patch)
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use crate::kernels::activation::Activation;
    use std::f32::consts::SQRT_2;
    use tract_core::ops::cast::cast;
    use tract_core::ops::math::{add, div, erf, mul, tanh};
    use tract_core::ops::nn::sigmoid;

    type Build = fn(&mut Sketch, OutletId) -> OutletId;

    /// `x · 0.5 · (1 + erf(x / √2))`, every result rounded.
    fn gelu(sketch: &mut Sketch, x: OutletId) -> OutletId {
        let [divisor, one, half] = [SQRT_2, 1.0, 0.5].map(|value| sketch.number(3, value));
        let divided = sketch.wire(div(), &[x, divisor]);
        let bent = sketch.wire(erf(), &[divided]);
        let bent = sketch.rounded(bent, 0.0078, 128);
        let sum = sketch.wire(add(), &[bent, one]);
        let sum = sketch.rounded(sum, 0.0078, 0);
        let product = sketch.wire(mul(), &[x, sum]);
        let product = sketch.rounded(product, 0.01, 20);
        let product = sketch.wire(mul(), &[product, half]);
        sketch.rounded(product, 0.005, 20)
    }

    #[test]
    fn functions_of_integers() {
        use Expected::{Fused, Not};
        let cases: [(&str, Build, Expected); 9] = [
            ("a GELU", |sketch, x| gelu(sketch, x), Fused),
            (
                "a GELU behind a reshape",
                |sketch, x| {
                    let split = AxisOp::Reshape(2, tvec!(4.to_dim()), tvec!(2.to_dim(), 2.to_dim()));
                    let joined = split.recip();
                    let x = sketch.wire(split, &[x]);
                    let x = sketch.wire(joined, &[x]);
                    gelu(sketch, x)
                },
                Fused,
            ),
            ("an activation", |sketch, x| sketch.wire(Activate(Activation::GeluTanh), &[x]), Fused),
            (
                "a SiLU, its result quantised",
                |sketch, x| {
                    let gate = sketch.wire(sigmoid(), &[x]);
                    let gate = sketch.rounded(gate, 1.0 / 255.0, 0);
                    let product = sketch.wire(mul(), &[x, gate]);
                    let integers = sketch.quantized(product, 0.01, 30);
                    let integers = sketch.wire(AxisOp::Move(1, 2), &[integers]);
                    sketch.dequantized(integers, 0.01, 30)
                },
                Fused,
            ),
            (
                "part of a gated unit",
                |sketch, x| {
                    let gate = sketch.wire(sigmoid(), &[x]);
                    let other = sketch.input(&[0, 0, 4]);
                    sketch.wire(mul(), &[gate, other])
                },
                Fused,
            ),
            (
                "two quantised operands",
                |sketch, x| {
                    let other = sketch.input(&[0, 0, 4]);
                    let other = sketch.rounded(other, 0.01, 128);
                    let sum = sketch.wire(add(), &[x, other]);
                    sketch.wire(tanh(), &[sum])
                },
                Not(""),
            ),
            (
                "a bias for each column",
                |sketch, x| {
                    let bias = sketch.weights(&[1, 1, 4]);
                    let sum = sketch.wire(add(), &[x, bias]);
                    sketch.wire(tanh(), &[sum])
                },
                Not(""),
            ),
            (
                "a quotient of integers, which is not there for each",
                |sketch, x| {
                    let [factor, two] = [sketch.number(3, 1.7), sketch.constant(tensor3(&[[[2i32]]]))];
                    let product = sketch.wire(mul(), &[x, factor]);
                    let integers = sketch.wire(cast(i32::datum_type()), &[product]);
                    let divisor = sketch.wire(add(), &[integers, two]);
                    let quotient = sketch.wire(div(), &[two, divisor]);
                    let number = sketch.wire(cast(f32::datum_type()), &[quotient]);
                    sketch.wire(tanh(), &[number])
                },
                Not(""),
            ),
            (
                "nothing rounded",
                |sketch, _| {
                    let x = sketch.input(&[0, 0, 4]);
                    sketch.wire(tanh(), &[x])
                },
                Not(""),
            ),
        ];
        for (what, build, expected) in cases {
            let mut sketch = Sketch::new();
            let x = sketch.input(&[0, 0, 4]);
            let x = sketch.rounded(x, 0.01, 120);
            let output = build(&mut sketch, x);
            sketch.check(what, &[output], "lookup", expected);
        }
    }
}
