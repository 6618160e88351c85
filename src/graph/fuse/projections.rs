//! The products that make queries, keys and values of one input, as one product with their weights side by side, of which
//! attention reads columns.

use super::Match;
use super::pattern::{producer, read_once, sole_reader};
use crate::kernels::activation::Activation;
use crate::kernels::integer_linear::IntegerWeights;
use crate::kernels::linear::LinearWeights;
use crate::ops::{Attention, Columns, HeadLayout, Linear, QuantizedLinear, Shared};
use tract_core::internal::*;

/// Operands of attention that may come from one product: as many as possible.
const TOGETHER: [&[usize]; 4] = [&[0, 1, 2], &[1, 2], &[0, 1], &[0, 2]];

/// A product with constant weights that others of the same input can be joined with.
trait Projection: TypedOp + Clone {
    /// Columns of the result.
    fn outputs(&self) -> usize;

    /// The same for all that have the same weights, and for no others.
    fn weights(&self) -> usize;

    fn bias(&self) -> Option<&[f32]>;

    /// Whether nothing but a bias follows the product.
    fn is_plain(&self) -> bool;

    /// Whether the weights of another one can be joined behind its own, and be kept as they are.
    fn precedes(&self, next: &Self) -> bool;

    /// All of them side by side, with this bias.
    fn joined(parts: &[&Self], bias: Option<Shared<Vec<f32>>>) -> Self;
}

impl Projection for Linear {
    fn outputs(&self) -> usize {
        self.outputs
    }

    fn weights(&self) -> usize {
        self.weights.address()
    }

    fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(|bias| bias.as_slice())
    }

    fn is_plain(&self) -> bool {
        self.activation == Activation::Identity && self.joined.is_none()
    }

    fn precedes(&self, next: &Linear) -> bool {
        // The weights are not asked, which would pack them.
        let whole = self.outputs.is_multiple_of(LinearWeights::WHOLE_OUTPUTS);
        whole && self.inputs == next.inputs && self.weights.is_made_like(&next.weights)
    }

    fn joined(parts: &[&Linear], bias: Option<Shared<Vec<f32>>>) -> Linear {
        let weights: Vec<Shared<LinearWeights>> = parts.iter().map(|part| part.weights.clone()).collect();
        let outputs = parts.iter().map(|part| part.outputs).sum();
        Linear { bias, ..Linear::new(parts[0].inputs, outputs, Shared::of_others(&weights, LinearWeights::joined)) }
    }
}

impl Projection for QuantizedLinear {
    fn outputs(&self) -> usize {
        self.weights.outputs()
    }

    fn weights(&self) -> usize {
        self.weights.address()
    }

    fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(|bias| bias.as_slice())
    }

    fn is_plain(&self) -> bool {
        self.activation == Activation::Identity && self.joined.is_none()
    }

    fn precedes(&self, next: &QuantizedLinear) -> bool {
        let whole = self.outputs().is_multiple_of(IntegerWeights::WHOLE_OUTPUTS);
        whole && self.weights.inputs() == next.weights.inputs()
    }

    fn joined(parts: &[&QuantizedLinear], bias: Option<Shared<Vec<f32>>>) -> QuantizedLinear {
        let weights: Vec<Shared<IntegerWeights>> = parts.iter().map(|part| part.weights.clone()).collect();
        let scales_of = |part: &&QuantizedLinear| part.scales.iter().copied().cycle().take(part.outputs()).collect();
        let scales: Vec<Vec<f32>> = parts.iter().map(scales_of).collect();
        let weights = Shared::of_others(&weights, IntegerWeights::joined);
        QuantizedLinear { bias, ..QuantizedLinear::new(weights, scales.concat()) }
    }
}

/// Looks for an attention whose operands come from products of one input.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(attention) = node.op_as::<Attention>() else { return Ok(Match::None) };
    for operands in TOGETHER {
        if let Some(parts) = projections::<Linear>(model, node, attention, operands) {
            return joined(model, node, attention, operands, &parts);
        }
        if let Some(parts) = projections::<QuantizedLinear>(model, node, attention, operands) {
            return joined(model, node, attention, operands, &parts);
        }
    }
    Ok(Match::None)
}

/// A node and its operator.
type Part<'a, O> = (&'a TypedNode, &'a O);

/// The products that make these operands, if they can be joined and their weights are not kept for others too.
fn projections<'a, O: Projection>(
    model: &'a TypedModel,
    node: &TypedNode,
    attention: &Attention,
    operands: &[usize],
) -> Option<Vec<Part<'a, O>>> {
    let parts = parts::<O>(model, node, attention, operands)?;
    let weights = weights(&parts);
    let is_joined_too = |other: &TypedNode| {
        let reader = sole_reader(model, other)?;
        let parts = self::parts::<O>(model, reader, reader.op_as()?, operands)?;
        Some(self::weights(&parts) == weights)
    };
    let shares = |other: &&TypedNode| other.op_as::<O>().is_some_and(|other| weights.contains(&other.weights()));
    let joined = model.nodes().iter().filter(shares).all(|other| is_joined_too(other) == Some(true));
    joined.then_some(parts)
}

/// The products that make these operands, if they can be joined.
fn parts<'a, O: Projection>(
    model: &'a TypedModel,
    node: &TypedNode,
    attention: &Attention,
    operands: &[usize],
) -> Option<Vec<Part<'a, O>>> {
    let part = |operand: &usize| {
        let (outlet, layout) = (node.inputs[*operand], attention.layouts()[*operand]);
        let product = producer(model, outlet);
        let free = layout == HeadLayout::Packed && attention.columns[*operand].is_none() && read_once(model, outlet);
        Some((product, product.op_as::<O>().filter(|projection| free && projection.is_plain())?))
    };
    let parts = operands.iter().map(part).collect::<Option<Vec<_>>>()?;
    let fits = |pair: &[Part<'a, O>]| pair[0].0.inputs == pair[1].0.inputs && pair[0].1.precedes(pair[1].1);
    parts.windows(2).all(fits).then_some(parts)
}

fn weights<O: Projection>(parts: &[Part<'_, O>]) -> Vec<usize> {
    parts.iter().map(|(_, projection)| projection.weights()).collect()
}

/// The attention, with these operands as columns of one product.
fn joined<O: Projection>(
    model: &TypedModel,
    node: &TypedNode,
    attention: &Attention,
    operands: &[usize],
    parts: &[Part<'_, O>],
) -> TractResult<Match> {
    let projections: Vec<&O> = parts.iter().map(|(_, projection)| *projection).collect();
    let mut patch = TypedModelPatch::default();
    let x = patch.taps(model, &parts[0].0.inputs)?;
    let product = patch.wire_node(&*parts[0].0.name, O::joined(&projections, bias(&projections)), &x)?[0];
    let mut reading = attention.clone();
    let mut inputs = tvec!();
    for (slot, outlet) in node.inputs.iter().enumerate() {
        inputs.push(if operands.contains(&slot) { product } else { patch.tap_model(model, *outlet)? });
    }
    let mut first = 0;
    for (operand, projection) in operands.iter().zip(projections) {
        let columns = Columns { first, count: projection.outputs() };
        first += columns.count;
        reading.columns[*operand] = Some(columns);
    }
    for (slot, outlet) in patch.wire_node(&*node.name, reading, &inputs)?.into_iter().enumerate() {
        patch.shunt_outside(model, OutletId::new(node.id, slot), outlet)?;
    }
    Ok(Match::Found(Box::new(patch)))
}

/// The biases side by side, zeros where there is none; `None` where there are none at all.
fn bias<O: Projection>(projections: &[&O]) -> Option<Shared<Vec<f32>>> {
    let of = |projection: &&O| projection.bias().map_or_else(|| vec![0.0; projection.outputs()], <[f32]>::to_vec);
    let any = projections.iter().any(|projection| projection.bias().is_some());
    any.then(|| Shared::new(projections.iter().map(of).collect::<Vec<_>>().concat()))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use crate::graph::{Report, fuse::fuse};
    use crate::kernels::score_steps::ScoreStep;
    use crate::ops::{Activate, DequantizeLinear, MatMul, Sharing};
    use tract_core::ops::math::add;

    /// Two heads of 8 elements each.
    const WIDTH: usize = 16;

    fn attention() -> Attention {
        Attention::new(2, 2, Some(0.5), HeadLayout::Packed)
    }

    /// Constants that differ from each other, and so do those of another `salt`.
    fn weights(sketch: &mut Sketch, shape: &[usize], salt: usize) -> OutletId {
        let element = |at: usize| ((at + 31 * salt) * 7919 % 2003) as f32 / 1001.5 - 1.0;
        let elements: Vec<f32> = (0..shape.iter().product()).map(element).collect();
        sketch.constant(Tensor::from_shape(shape, &elements).unwrap())
    }

    fn product(sketch: &mut Sketch, x: OutletId, outputs: usize, salt: usize) -> OutletId {
        let inputs = sketch.model.outlet_fact(x).unwrap().shape.last().unwrap().to_usize().unwrap();
        let matrix = weights(sketch, &[inputs, outputs], salt);
        sketch.wire(MatMul, &[x, matrix])
    }

    fn biased(sketch: &mut Sketch, x: OutletId, salt: usize) -> OutletId {
        let (product, bias) = (product(sketch, x, WIDTH, salt), weights(sketch, &[1, 1, WIDTH], salt + 5));
        sketch.wire(add(), &[product, bias])
    }

    /// Of an input that makes weights so large that they are not dequantised beforehand.
    const MANY: usize = 512;

    /// A product of `MANY` inputs with integers that are dequantised, a scale for each column.
    fn dequantized(sketch: &mut Sketch, x: OutletId, salt: usize) -> OutletId {
        let elements: Vec<u8> = (0..MANY * WIDTH).map(|at| ((at + salt) * 37 % 256) as u8).collect();
        let elements = sketch.constant(Tensor::from_shape(&[MANY, WIDTH], &elements).unwrap());
        let scales: Vec<f32> = (1..=WIDTH).map(|at| (at + salt) as f32 / 1048576.0).collect();
        let scales = sketch.constant(tensor1(&scales));
        let matrix = sketch.wire(DequantizeLinear { axis: 1, block_size: 0, packed: None }, &[elements, scales]);
        sketch.wire(MatMul, &[x, matrix])
    }

    #[test]
    fn products_of_one_input() {
        use Expected::{Fused, Not};
        type Build = fn(&mut Sketch, OutletId) -> Vec<OutletId>;
        let cases: [(&str, Build, Expected); 9] = [
            (
                "with biases",
                |sketch, x| {
                    let parts = [0, 1, 2].map(|salt| biased(sketch, x, salt));
                    vec![sketch.wire(attention(), &parts)]
                },
                Fused,
            ),
            (
                "one without a bias, and a mask",
                |sketch, x| {
                    let (query, key, value) =
                        (biased(sketch, x, 0), product(sketch, x, WIDTH, 1), biased(sketch, x, 2));
                    let mask = sketch.input(&[0, 1, 1, 0]);
                    vec![sketch.wire(Attention { mask: true, ..attention() }, &[query, key, value, mask])]
                },
                Fused,
            ),
            (
                "fewer heads of keys and values",
                |sketch, x| {
                    let parts = [(32, 0), (16, 1), (16, 2)].map(|(outputs, salt)| product(sketch, x, outputs, salt));
                    vec![sketch.wire(Attention::new(4, 2, None, HeadLayout::Packed), &parts)]
                },
                Fused,
            ),
            (
                "integers with scales",
                |sketch, _| {
                    let x = sketch.input(&[0, 0, MANY]);
                    let parts = [0, 1, 2].map(|salt| dequantized(sketch, x, salt));
                    vec![sketch.wire(attention(), &parts)]
                },
                Fused,
            ),
            (
                "steps in the place of the softmax",
                |sketch, x| {
                    let parts = [0, 1, 2].map(|salt| biased(sketch, x, salt));
                    vec![sketch.wire(Attention { steps: vec![ScoreStep::Softmax], ..attention() }, &parts)]
                },
                Fused,
            ),
            (
                "a value of another input",
                |sketch, x| {
                    let y = sketch.input(&[0, 0, 12]);
                    let (query, key, value) = (biased(sketch, x, 0), biased(sketch, x, 1), biased(sketch, y, 2));
                    vec![sketch.wire(attention(), &[query, key, value])]
                },
                Fused,
            ),
            (
                "a key that is an output too",
                |sketch, x| {
                    let parts = [0, 1, 2].map(|salt| biased(sketch, x, salt));
                    vec![parts[1], sketch.wire(attention(), &parts)]
                },
                Fused,
            ),
            (
                "an input for each",
                |sketch, x| {
                    let (y, z) = (sketch.input(&[0, 0, 12]), sketch.input(&[0, 0, 12]));
                    let (query, key, value) = (biased(sketch, x, 0), biased(sketch, y, 1), biased(sketch, z, 2));
                    vec![sketch.wire(attention(), &[query, key, value])]
                },
                Not(""),
            ),
            (
                "another layout",
                |sketch, _| {
                    let x = sketch.input(&[0, 0, 2, 12]);
                    let parts = [0, 1, 2].map(|salt| product(sketch, x, 8, salt));
                    vec![sketch.wire(Attention::new(2, 2, Some(0.5), HeadLayout::PositionMajor), &parts)]
                },
                Not(""),
            ),
        ];
        for (what, build, expected) in cases {
            let mut sketch = Sketch::new();
            let x = sketch.input(&[0, 0, 12]);
            let outputs = build(&mut sketch, x);
            sketch.check(what, &outputs, "projections", expected);
        }
    }

    #[test]
    fn keys_and_values_of_one_input() {
        use Expected::{Fused, Not};
        /// Key and value, and outputs of the model besides.
        type Build = fn(&mut Sketch, OutletId) -> (OutletId, OutletId, Vec<OutletId>);
        let cases: [(&str, Build, Expected); 8] = [
            ("of the other input", |sketch, x| (biased(sketch, x, 1), biased(sketch, x, 2), vec![]), Fused),
            (
                "a key that is an output too",
                |sketch, x| {
                    let key = biased(sketch, x, 1);
                    (key, biased(sketch, x, 2), vec![key])
                },
                Not(""),
            ),
            (
                "one for both",
                |sketch, x| {
                    let both = biased(sketch, x, 1);
                    (both, both, vec![])
                },
                Not(""),
            ),
            (
                "an activation",
                |sketch, x| {
                    let value = biased(sketch, x, 2);
                    (biased(sketch, x, 1), sketch.wire(Activate(Activation::Relu), &[value]), vec![])
                },
                Not(""),
            ),
            (
                "a residual",
                |sketch, x| {
                    let (key, residual) = (biased(sketch, x, 1), sketch.input(&[0, 0, WIDTH]));
                    (sketch.wire(add(), &[key, residual]), biased(sketch, x, 2), vec![])
                },
                Not(""),
            ),
            (
                "kept in two ways",
                |sketch, _| {
                    let x = sketch.input(&[0, 0, MANY]);
                    (dequantized(sketch, x, 1), biased(sketch, x, 2), vec![])
                },
                Not(""),
            ),
            ("no whole panel", |sketch, x| (product(sketch, x, 4, 1), product(sketch, x, WIDTH, 2), vec![]), Not("")),
            (
                "weights that another product has too",
                |sketch, x| {
                    let (matrix, y) = (weights(sketch, &[12, WIDTH], 1), sketch.input(&[0, 0, 12]));
                    let other = sketch.wire(MatMul, &[y, matrix]);
                    (sketch.wire(MatMul, &[x, matrix]), biased(sketch, x, 2), vec![other])
                },
                Not(""),
            ),
        ];
        for (what, build, expected) in cases {
            let _sharing = Sharing::begin();
            let mut sketch = Sketch::new();
            let (x, y) = (sketch.input(&[0, 0, 12]), sketch.input(&[0, 0, 12]));
            let (key, value, mut outputs) = build(&mut sketch, y);
            let width = sketch.model.outlet_fact(key).unwrap().shape[2].to_usize().unwrap();
            let query = product(&mut sketch, x, width, 0);
            outputs.push(sketch.wire(attention(), &[query, key, value]));
            sketch.check(what, &outputs, "projections", expected);
        }
    }

    #[test]
    fn products_of_quantised_activations() {
        use Expected::{Fused, Not};
        struct Case {
            what: &'static str,
            heads: usize,
            dim: usize,
            /// Scales of query, key and value.
            scales: [usize; 3],
            /// Whether key and value have a zero point of their own each.
            zero_points: bool,
            expected: Expected,
        }
        let cases = [
            Case { what: "one scale", heads: 3, dim: 4, scales: [1; 3], zero_points: false, expected: Fused },
            Case { what: "more scales", heads: 2, dim: 10, scales: [20, 1, 20], zero_points: false, expected: Fused },
            Case { what: "no whole block", heads: 3, dim: 5, scales: [1; 3], zero_points: false, expected: Not("") },
            Case { what: "zero points", heads: 2, dim: 4, scales: [1; 3], zero_points: true, expected: Not("") },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let (x, scale) = (sketch.typed_input(u8::datum_type(), &[0, 0, 6]), sketch.input(&[]));
            let zero_point = sketch.typed_input(u8::datum_type(), &[]);
            let outputs = case.heads * case.dim;
            let parts = [0, 1, 2].map(|part| {
                let elements: Vec<i8> = (0..6 * outputs).map(|at| ((at + part) * 53 % 256) as u8 as i8).collect();
                let weights = IntegerWeights::new(&elements, 6, outputs, &[0, 3][..part.min(1)]).unwrap();
                let scales = (1..=case.scales[part]).map(|scale| (scale + part) as f32 / 4096.0).collect();
                let bias = (part != 1).then(|| Shared::new(vec![part as f32 / 8.0; outputs]));
                let operator = QuantizedLinear { bias, ..QuantizedLinear::new(Shared::new(weights), scales) };
                let own = case.zero_points && part > 0;
                let zero_point = if own { sketch.typed_input(u8::datum_type(), &[]) } else { zero_point };
                sketch.wire(operator, &[x, scale, zero_point])
            });
            let output = sketch.wire(Attention::new(case.heads, case.heads, None, HeadLayout::Packed), &parts);
            sketch.check(case.what, &[output], "projections", case.expected);
        }
    }

    #[test]
    fn layers_with_the_same_weights_share_them() {
        let _sharing = Sharing::begin();
        let mut sketch = Sketch::new();
        let mut x = sketch.input(&[0, 0, 12]);
        // The panels of the last ones need not be whole.
        let matrices = [(16, 3), (16, 4), (12, 5)].map(|(outputs, salt)| weights(&mut sketch, &[12, outputs], salt));
        for _ in 0..2 {
            let parts = matrices.map(|matrix| sketch.wire(MatMul, &[x, matrix]));
            x = sketch.wire(attention(), &parts);
        }
        sketch.model.select_output_outlets(&[x]).unwrap();
        let fused = fuse(sketch.model.clone(), &mut Report::default()).unwrap();
        let products: Vec<&Linear> = fused.nodes().iter().filter_map(|node| node.op_as()).collect();
        assert_eq!((products.len(), products[0].outputs), (2, 44));
        assert!(products[0].weights == products[1].weights);
        sketch.check("layers", &[x], "projections", Expected::Fused);
    }
}
