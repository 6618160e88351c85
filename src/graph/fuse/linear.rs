//! A product with a constant matrix, f32, or 8-bit or 4-bit with scales, as a `MatMul` or as an Einstein sum.

use super::Match;
use super::pattern::producer;
use crate::kernels::embedding::{EmbeddingTable, gather};
use crate::kernels::linear::{LinearWeights, Quantised};
use crate::ops::einsum::{EinSum, positions};
use crate::ops::plain::PlainOperator;
use crate::ops::{DequantizeLinear, Embedding, Linear, MatMul, Shared, f32_slice, runs, to_f32};
use std::borrow::Cow;
use tract_core::internal::*;

/// Looks for a product of which one operand is a constant matrix.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let product = if node.op_is::<MatMul>() {
        product(model, node)?
    } else if let Some(PlainOperator(sum)) = node.op_as::<PlainOperator<EinSum>>() {
        contraction(model, node, sum)?
    } else {
        return Ok(Match::None);
    };
    let product = match product {
        Some(Ok(product)) => product,
        Some(Err(reason)) => return Ok(Match::Almost(reason)),
        None => return Ok(Match::None),
    };
    match weights(model, &product)? {
        Ok(linear) => fused(model, node, &product, linear),
        Err(reason) => Ok(Match::Almost(reason)),
    }
}

/// `x` times a constant matrix.
struct Product {
    x: OutletId,
    /// `[inputs, outputs]`, or the other way round if `transposed`.
    matrix: OutletId,
    transposed: bool,
    /// Axis of `x` over which is summed.
    inner: usize,
    /// Axis of the result that comes from the matrix.
    outer: usize,
}

/// A product, or why it is no `Linear`; `None` where no operand is constant.
type Found = Option<Result<Product, String>>;

fn product(model: &TypedModel, node: &TypedNode) -> TractResult<Found> {
    let [x, matrix] = [node.inputs[0], node.inputs[1]];
    if !is_constant(model, matrix)? {
        let reason = || Err("the constant is the left operand".to_string());
        return Ok(is_constant(model, x)?.then(reason));
    }
    let (rank, shape) = (model.outlet_fact(x)?.rank(), model.outlet_fact(matrix)?.shape.to_tvec());
    let (leading, _) = shape.split_at(shape.len() - 2);
    if leading.iter().any(|dim| *dim != 1.to_dim()) || shape.len() > rank {
        return Ok(Some(Err(format!("the constant has the shape {shape:?}, it is not one matrix for all"))));
    }
    Ok(Some(Ok(Product { x, matrix, transposed: false, inner: rank - 1, outer: rank - 1 })))
}

fn contraction(model: &TypedModel, node: &TypedNode, sum: &EinSum) -> TractResult<Found> {
    let &[left, right] = &*node.inputs else { return Ok(None) };
    let (at, x, matrix) = match (is_constant(model, left)?, is_constant(model, right)?) {
        (_, true) => (0, left, right),
        (true, false) => (1, right, left),
        (false, false) => return Ok(None),
    };
    let other = || Ok(Some(Err(format!("it is the Einstein sum {sum}, not a product with a matrix"))));
    let [of_x, of_matrix] = [at, 1 - at].map(|operand| &*sum.operands[operand]);
    if model.outlet_fact(matrix)?.rank() != 2 {
        return other();
    }
    let (mut inner, mut outer, mut kept) = (None, None, Vec::new());
    for letter in sum.letters() {
        match [of_x, of_matrix, &sum.result].map(|letters| positions(letters, letter)).each_ref().map(|found| &**found)
        {
            [&[x], &[_], &[]] => inner = Some(x),
            [&[], &[matrix], &[result]] => outer = Some((matrix, result)),
            [&[x], &[], &[result]] => kept.push((x, result)),
            _ => return other(),
        }
    }
    let (Some(inner), Some((column, outer))) = (inner, outer) else { return other() };
    let place = |(position, axis): (usize, usize)| (position - usize::from(position > inner), axis);
    let ordered = |(position, axis): (usize, usize)| axis == position + usize::from(position >= outer);
    if !kept.into_iter().map(place).all(ordered) {
        return other();
    }
    Ok(Some(Ok(Product { x, matrix, transposed: column == 0, inner, outer })))
}

fn fused(model: &TypedModel, node: &TypedNode, product: &Product, linear: Linear) -> TractResult<Match> {
    let result = OutletId::new(node.id, 0);
    let last = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.rank() - 1);
    let (last_of_x, last_of_result) = (last(product.x)?, last(result)?);
    let mut patch = TypedModelPatch::default();
    let mut wire = patch.tap_model(model, product.x)?;
    if product.inner != last_of_x {
        wire = patch.wire_node(format!("{}.x", node.name), AxisOp::Move(product.inner, last_of_x), &[wire])?[0];
    }
    wire = patch.wire_node(&*node.name, linear, &[wire])?[0];
    if product.outer != last_of_result {
        let moved = AxisOp::Move(last_of_result, product.outer);
        wire = patch.wire_node(format!("{}.moved", node.name), moved, &[wire])?[0];
    }
    patch.shunt_outside(model, result, wire)?;
    Ok(Match::Found(Box::new(patch)))
}

/// The tensor behind axis operations that swap the last two axes, and whether they do.
fn untransposed(model: &TypedModel, mut outlet: OutletId) -> TractResult<(OutletId, bool)> {
    let mut transposed = false;
    loop {
        let node = producer(model, outlet);
        let rank = model.outlet_fact(outlet)?.rank();
        match node.op_as::<AxisOp>() {
            Some(AxisOp::Move(from, to)) if from.abs_diff(*to) == 1 && from.max(to) + 1 == rank => {
                outlet = node.inputs[0];
                transposed = !transposed;
            }
            _ => return Ok((outlet, transposed)),
        }
    }
}

/// Whether an operand is a matrix, or a stack of them, whose elements are known.
fn is_constant(model: &TypedModel, outlet: OutletId) -> TractResult<bool> {
    let (outlet, _) = untransposed(model, outlet)?;
    let node = producer(model, outlet);
    let stored = if node.op_is::<DequantizeLinear>() { node.inputs[0] } else { outlet };
    let fact = model.outlet_fact(outlet)?;
    Ok(model.outlet_fact(stored)?.konst.is_some() && fact.datum_type == f32::datum_type() && fact.rank() >= 2)
}

/// The operator with the weights of a product, or why they cannot be packed.
fn weights(model: &TypedModel, product: &Product) -> TractResult<Result<Linear, String>> {
    let (outlet, moved) = untransposed(model, product.matrix)?;
    let transposed = product.transposed != moved;
    if let Some(constant) = &model.outlet_fact(outlet)?.konst {
        return matrix(constant, transposed, 1.0).map(Ok);
    }
    let Some(quantized) = quantized(model, producer(model, outlet))? else {
        return Ok(Err("the weights are quantised in a way that is not supported".into()));
    };
    let varying = "the scales of the weights vary along the axis over which is summed";
    Ok(quantized.linear(transposed).ok_or_else(|| varying.to_string()))
}

/// The operator whose weights are `factor` times the last two axes of a float32 constant, or these transposed.
///
/// # Errors
/// When the constant is not of float32.
pub fn matrix(constant: &Arc<Tensor>, transposed: bool, factor: f32) -> TractResult<Linear> {
    let &[.., rows, columns] = constant.shape() else { bail!("a matrix of rank {}", constant.rank()) };
    let (inputs, outputs, input_stride, output_stride) =
        if transposed { (columns, rows, 1, columns) } else { (rows, columns, columns, 1) };
    f32_slice(constant)?;
    let held = constant.clone();
    let weights = Shared::of(&[constant], (transposed, factor.to_bits()), move || {
        let elements = f32_slice(&held).unwrap_or_default();
        let elements = match factor {
            1.0 => Cow::Borrowed(elements),
            _ => elements.iter().map(|element| element * factor).collect(),
        };
        LinearWeights::from_f32(&elements, inputs, outputs, input_stride, output_stride)
    });
    Ok(Linear::new(inputs, outputs, weights))
}

/// What stands at a row and column.
trait At<T>: Fn(usize, usize) -> T {}

impl<T, F: Fn(usize, usize) -> T> At<T> for F {}

/// A constant matrix of integers of 4 or 8 bits with its scales.
pub struct Quantized {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// How it is dequantised; bytes may hold two elements.
    pub operator: DequantizeLinear,
    /// The integers, as they are stored.
    elements: Arc<Tensor>,
    /// As the operator wants them.
    pub scales: Vec<f32>,
    /// As many as scales, or none where they are zero.
    zero_points: Vec<f32>,
    /// What all of it is made of.
    constants: Vec<Arc<Tensor>>,
}

impl Quantized {
    fn bits(&self) -> usize {
        8 / self.operator.in_byte()
    }

    /// What is added to make integers unsigned.
    fn offset(&self) -> u8 {
        let signed =
            self.operator.packed.map_or(self.elements.datum_type() == i8::datum_type(), |packed| packed.signed);
        if signed { 1 << (self.bits() - 1) } else { 0 }
    }

    /// A linear layer that sums over the rows, or over the columns if `transposed`; `None` where the scales vary along that
    /// axis otherwise than in blocks.
    pub fn linear(self, transposed: bool) -> Option<Linear> {
        let (inputs, outputs) = self.sides(transposed);
        let block_size = self.block_size(transposed)?;
        let constants = self.constants.clone();
        let constants: Vec<&Arc<Tensor>> = constants.iter().collect();
        let how = (self.operator.clone(), transposed);
        let weights = Shared::of(&constants, how, move || self.linear_weights(transposed, block_size));
        Some(Linear::new(inputs, outputs, weights))
    }

    /// How many elements go in and come out.
    fn sides(&self, transposed: bool) -> (usize, usize) {
        let [rows, columns] = self.shape;
        if transposed { (columns, rows) } else { (rows, columns) }
    }

    /// Elements that share a scale along the axis over which is summed.
    fn block_size(&self, transposed: bool) -> Option<usize> {
        let (inputs, _) = self.sides(transposed);
        let along_inputs = self.operator.axis == usize::from(transposed);
        let block_size = match (along_inputs, self.operator.block_size) {
            _ if self.scales.len() == 1 => inputs,
            (true, block_size @ 1..) => block_size,
            (false, 0) => inputs,
            _ => return None,
        };
        Some(block_size.max(1))
    }

    fn linear_weights(&self, transposed: bool, block_size: usize) -> LinearWeights {
        LinearWeights::from_quantised(self.quantised(transposed, block_size))
    }

    fn quantised(&self, transposed: bool, block_size: usize) -> Quantised<impl At<u8>, impl At<f32>, impl At<f32>> {
        let [_, columns] = self.shape;
        let (inputs, outputs) = self.sides(transposed);
        let (bits, offset, bytes) = (self.bits(), self.offset(), self.elements.as_bytes());
        let mask = ((1u32 << bits) - 1) as u8;
        let element = move |k: usize, n: usize| {
            let index = if transposed { n * columns + k } else { k * columns + n };
            let position = index * bits;
            (bytes[position / 8] >> (position % 8)).wrapping_add(offset) & mask
        };
        let one_scale = self.scales.len() == 1;
        let blocks = inputs.div_ceil(block_size);
        let at = move |block: usize, n: usize| match (one_scale, transposed) {
            (true, _) => 0,
            (false, true) => n * blocks + block,
            (false, false) => block * outputs + n,
        };
        Quantised {
            bits,
            inputs,
            outputs,
            block_size,
            element,
            scale: move |block, n| self.scales[at(block, n)],
            zero_point: Some(move |block: usize, n: usize| {
                f32::from(offset) + self.zero_points.get(at(block, n)).copied().unwrap_or(0.0)
            }),
        }
    }

    fn table_of_blocks(self, model: &TypedModel) -> TractResult<EmbeddingTable> {
        let block_size = self.block_size(true).context("scales vary otherwise than in blocks of a row")?;
        let linears = model.nodes().iter().filter_map(|node| node.op_as::<Linear>());
        let alike = linears.filter(|linear| (linear.inputs, linear.outputs) == self.sides(true));
        let mut tables = alike.filter_map(|linear| EmbeddingTable::from_linear(&linear.weights));
        let shared = tables.find(|table| self.has_rows_of(table, block_size));
        let own = || EmbeddingTable::from_linear(&self.linear_weights(true, block_size));
        shared.or_else(own).context("the blocks of a row are no multiple of 16 long")
    }

    /// Whether a table of as many rows and columns holds the same numbers.
    fn has_rows_of(&self, table: &EmbeddingTable, block_size: usize) -> bool {
        let Quantised { inputs, outputs, element, scale, zero_point, .. } = self.quantised(true, block_size);
        let Some(zero_point) = zero_point else { return false };
        let mut row = vec![0.0; inputs];
        (0..outputs).all(|n| {
            let number =
                |k: usize| (f32::from(element(k, n)) - zero_point(k / block_size, n)) * scale(k / block_size, n);
            gather(table, &[n as i64], &mut row).is_ok() && row.iter().enumerate().all(|(k, held)| *held == number(k))
        })
    }

    /// An embedding: in blocks of a row, or, where bytes hold one element, with one scale for each row or for all. A linear layer
    /// of the model that has the same integers in blocks shares them.
    ///
    /// # Errors
    /// When a scale is not finite, or the blocks of a row are no multiple of 16 long.
    pub fn embedding(self, model: &TypedModel) -> TractResult<Option<Embedding>> {
        let [rows, width] = self.shape;
        let constants = self.constants.clone();
        let constants: Vec<&Arc<Tensor>> = constants.iter().collect();
        let by_row = self.scales.len() == 1 || (self.operator.axis, self.operator.block_size) == (0, 0);
        if self.operator.axis == 1 && self.operator.block_size > 0 && !by_row {
            let how = (self.operator.clone(), "rows");
            let table = Shared::try_of(&constants, how, || self.table_of_blocks(model))?;
            return Ok(Some(Embedding::new(rows, width, table)));
        }
        if self.bits() != 8 || !by_row {
            return Ok(None);
        }
        let flip = 0x80 ^ self.offset();
        let shift = if flip == 0 { 0.0 } else { 128.0 };
        let zero_points = match &*self.zero_points {
            [] => vec![-shift; self.scales.len()],
            zero_points => zero_points.iter().map(|zero_point| zero_point - shift).collect(),
        };
        let zero_points = zero_points.into_iter().map(|zero_point| zero_point as i8).collect();
        let table = Shared::try_of(&constants, &self.operator, || {
            let elements = self.elements.as_bytes().iter().map(|byte| (byte ^ flip) as i8).collect();
            Ok(EmbeddingTable::from_int8(elements, rows, width, self.scales.clone(), zero_points)?)
        })?;
        Ok(Some(Embedding::new(rows, width, table)))
    }
}

/// The constant integers behind a `DequantizeLinear`.
pub fn quantized(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Quantized>> {
    let Some(operator) = node.op_as::<DequantizeLinear>() else { return Ok(None) };
    let Some(matrix) = model.outlet_fact(node.inputs[0])?.konst.clone() else { return Ok(None) };
    quantized_matrix(model, matrix, operator, &node.inputs)
}

/// The constant integers, in blocks along rows, of which a `DequantizeLinear` has gathered rows, as scales and zero points
/// were; zero points may be one for all. `integers` is the gathering of the integers.
pub fn quantized_rows(
    model: &TypedModel,
    node: &TypedNode,
    operator: &DequantizeLinear,
    integers: &TypedNode,
) -> TractResult<Option<Quantized>> {
    let konst = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.konst.clone());
    let gathered = |outlet: OutletId| {
        let gather = producer(model, outlet);
        let alike = *gather.op == *integers.op && gather.inputs.get(1) == integers.inputs.get(1);
        if alike { konst(gather.inputs[0]) } else { Ok(None) }
    };
    let (Some(elements), Some(scales)) = (konst(integers.inputs[0])?, gathered(node.inputs[1])?) else {
        return Ok(None);
    };
    let last = model.outlet_fact(OutletId::new(node.id, 0))?.rank() - 1;
    let byte_sized = [i8::datum_type(), u8::datum_type()].contains(&elements.datum_type());
    let &[rows, columns] = &*operator.unpacked_shape(elements.shape()) else { return Ok(None) };
    let fits = operator.block_size > 0 && runs(&[rows, columns], 1, operator.block_size, scales.shape()).is_ok();
    if !byte_sized || !fits || operator.axis != last || scales.datum_type() != f32::datum_type() {
        return Ok(None);
    }
    let count = scales.volume();
    let zero_points = match node.inputs.get(2) {
        None => None,
        Some(outlet) => match (konst(*outlet)?, gathered(*outlet)?) {
            (Some(one), _) if one.volume() == 1 => Some(one),
            (_, Some(each)) if each.volume() == count => Some(each),
            _ => return Ok(None),
        },
    };
    let constants = [Some(&elements), Some(&scales), zero_points.as_ref()].into_iter().flatten().cloned().collect();
    let scales = f32_slice(&scales)?.to_vec();
    let zero_points = match &zero_points {
        None => vec![],
        Some(one) if one.volume() == 1 => vec![to_f32(one)?[0]; count],
        Some(each) => to_f32(each)?,
    };
    let operator = DequantizeLinear { axis: 1, ..operator.clone() };
    Ok(Some(Quantized { shape: [rows, columns], operator, elements, scales, zero_points, constants }))
}

/// Constant integers with the scales and zero points that a `DequantizeLinear` of these inputs applies.
pub fn quantized_matrix(
    model: &TypedModel,
    elements: Arc<Tensor>,
    operator: &DequantizeLinear,
    inputs: &[OutletId],
) -> TractResult<Option<Quantized>> {
    let konst = |outlet: OutletId| model.outlet_fact(outlet).map(|fact| fact.konst.clone());
    let Some(scales) = konst(inputs[1])? else { return Ok(None) };
    let mut constants = vec![elements.clone(), scales.clone()];
    let zero_points = match inputs.get(2) {
        Some(outlet) => match konst(*outlet)? {
            Some(zero_points) => {
                constants.push(zero_points.clone());
                to_f32(&zero_points)?
            }
            None => return Ok(None),
        },
        None => vec![],
    };
    let byte_sized = [i8::datum_type(), u8::datum_type()].contains(&elements.datum_type());
    let &[rows, columns] = &*operator.unpacked_shape(elements.shape()) else { return Ok(None) };
    let fits = runs(&[rows, columns], operator.axis, operator.block_size, scales.shape()).is_ok()
        && (zero_points.is_empty() || zero_points.len() == scales.volume());
    if !byte_sized || !fits {
        return Ok(None);
    }
    let scales = f32_slice(&scales)?.to_vec();
    Ok(Some(Quantized { shape: [rows, columns], operator: operator.clone(), elements, scales, zero_points, constants }))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;

    fn einsum(formula: &str) -> PlainOperator<EinSum> {
        let (operands, result) = formula.split_once("->").unwrap();
        let operands = operands.split(',').map(String::from).collect();
        PlainOperator(EinSum { operands, result: result.into() })
    }

    #[test]
    fn products_with_constants() {
        use Expected::{Fused, Not};
        type Build = fn(&mut Sketch) -> OutletId;
        fn dequantized(sketch: &mut Sketch, scales: usize, axis: usize) -> OutletId {
            let elements: Vec<u8> = (0..8192u32).map(|at| (at * 37 % 256) as u8).collect();
            let elements = sketch.constant(Tensor::from_shape(&[128, 64], &elements).unwrap());
            let scales = Tensor::from_shape(&[scales], &(1..=scales).map(|at| at as f32 / 65536.0).collect::<Vec<_>>());
            let scales = sketch.constant(scales.unwrap());
            sketch.wire(DequantizeLinear { axis, block_size: 0, packed: None }, &[elements, scales])
        }
        let cases: [(&str, Build, Expected); 10] = [
            (
                "MatMul",
                |sketch| {
                    let (x, weights) = (sketch.input(&[0, 0, 4]), sketch.weights(&[4, 3]));
                    sketch.wire(MatMul, &[x, weights])
                },
                Fused,
            ),
            (
                "Gemm with transposed weights",
                |sketch| {
                    let (x, weights) = (sketch.input(&[0, 4]), sketch.weights(&[3, 4]));
                    sketch.wire(einsum("mk,nk->mn"), &[x, weights])
                },
                Fused,
            ),
            (
                "Gemm with transposed rows and result",
                |sketch| {
                    let (x, weights) = (sketch.input(&[4, 0]), sketch.weights(&[4, 3]));
                    sketch.wire(einsum("km,kn->nm"), &[x, weights])
                },
                Fused,
            ),
            (
                "the rows permuted",
                |sketch| {
                    let (x, weights) = (sketch.input(&[0, 0, 4]), sketch.weights(&[4, 3]));
                    sketch.wire(einsum("abk,kn->ban"), &[x, weights])
                },
                Not("Einstein sum"),
            ),
            (
                "the constant on the left",
                |sketch| {
                    let (x, weights) = (sketch.input(&[0, 4, 0]), sketch.weights(&[1, 3, 4]));
                    sketch.wire(MatMul, &[weights, x])
                },
                Not("left operand"),
            ),
            (
                "a matrix for each head",
                |sketch| {
                    let (x, weights) = (sketch.input(&[0, 2, 0, 4]), sketch.weights(&[2, 4, 3]));
                    sketch.wire(MatMul, &[x, weights])
                },
                Not("one matrix for all"),
            ),
            (
                "dequantised, a scale for each column",
                |sketch| {
                    let (x, weights) = (sketch.input(&[0, 0, 128]), dequantized(sketch, 64, 1));
                    sketch.wire(MatMul, &[x, weights])
                },
                Fused,
            ),
            (
                "dequantised and transposed",
                |sketch| {
                    let (x, weights) = (sketch.input(&[0, 0, 64]), dequantized(sketch, 128, 0));
                    let weights = sketch.wire(AxisOp::Move(0, 1), &[weights]);
                    sketch.wire(MatMul, &[x, weights])
                },
                Fused,
            ),
            (
                "a scale for each row",
                |sketch| {
                    let (x, weights) = (sketch.input(&[0, 0, 128]), dequantized(sketch, 128, 0));
                    sketch.wire(MatMul, &[x, weights])
                },
                Not("over which is summed"),
            ),
            (
                "two computed operands",
                |sketch| {
                    let (x, y) = (sketch.input(&[0, 0, 4]), sketch.input(&[0, 4, 3]));
                    sketch.wire(MatMul, &[x, y])
                },
                Not(""),
            ),
        ];
        for (what, build, expected) in cases {
            let mut sketch = Sketch::new();
            let output = build(&mut sketch);
            sketch.check(what, &[output], "linear", expected);
        }
    }
}
