//! Rows gathered from a constant table: f32, or integers with scales applied to the table or to the gathered rows.

use super::Match;
use super::linear::{quantized, quantized_matrix, quantized_rows};
use super::pattern::{binary, producer, replace, same_shape, sole_reader};
use crate::kernels::embedding::EmbeddingTable;
use crate::ops::{CheckIndices, DequantizeLinear, Embedding, Shared, f32_slice};
use tract_core::internal::*;
use tract_core::ops::array::Gather;
use tract_core::ops::cast::cast;

/// Looks for a `Gather`, or for a `DequantizeLinear` of what one gathered.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if is_gather(node) && is_part(model, node) {
        return Ok(Match::None);
    }
    let found = if is_gather(node) {
        table(model, node.inputs[0])?.map(|table| (table, node.inputs[1]))
    } else {
        dequantized_rows(model, node)?
    };
    let Some((table, ids)) = found else { return Ok(Match::None) };
    let ids = unchecked(model, ids, &table)?;
    let mut patch = TypedModelPatch::default();
    let mut tap = patch.tap_model(model, ids)?;
    if model.outlet_fact(ids)?.datum_type != i64::datum_type() {
        tap = patch.wire_node(format!("{}.ids", node.name), cast(i64::datum_type()), &[tap])?[0];
    }
    let outlet = patch.wire_node(&*node.name, table, &[tap])?[0];
    patch.shunt_outside(model, OutletId::new(node.id, 0), outlet)?;
    Ok(Match::Found(Box::new(patch)))
}

/// Looks for an `Embedding` whose only reader adds it to rows of the sum's shape.
pub fn look_for_sum(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(embedding) = node.op_as::<Embedding>().filter(|embedding| !embedding.added) else {
        return Ok(Match::None);
    };
    let Some(reader) = sole_reader(model, node) else { return Ok(Match::None) };
    let Some([left, right]) = binary(reader, "Add") else { return Ok(Match::None) };
    let (added, sum) = (if left.node == node.id { right } else { left }, OutletId::new(reader.id, 0));
    let fits = embedding.fits(&model.outlet_fact(node.inputs[0])?.shape, &model.outlet_fact(added)?.shape);
    if left == right || !fits || !same_shape(model, added, sum) {
        return Ok(Match::None);
    }
    let operator = Embedding { added: true, ..embedding.clone() };
    Ok(Match::Found(replace(model, &reader.name, operator, &[node.inputs[0], added], sum)?))
}

/// Ids before a check against the table's rows: the embedding checks them itself.
fn unchecked(model: &TypedModel, ids: OutletId, embedding: &Embedding) -> TractResult<OutletId> {
    let node = producer(model, ids);
    let Some(CheckIndices { axis }) = node.op_as::<CheckIndices>() else { return Ok(ids) };
    let same = model.outlet_fact(node.inputs[1])?.shape[*axis] == embedding.rows.to_dim();
    Ok(if same { node.inputs[0] } else { ids })
}

/// A constant of float32, which a table is read from.
struct HeldTable(Arc<Tensor>);

impl AsRef<[f32]> for HeldTable {
    fn as_ref(&self) -> &[f32] {
        f32_slice(&self.0).unwrap_or_default()
    }
}

/// Whether the rows are scales or integers of rows that are dequantised.
fn is_part(model: &TypedModel, node: &TypedNode) -> bool {
    node.outputs[0].successors.iter().any(|reader| model.node(reader.node).op_is::<DequantizeLinear>())
}

fn is_gather(node: &TypedNode) -> bool {
    node.op_as::<Gather>().is_some_and(|gather| gather.axis == 0)
}

fn table(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Embedding>> {
    let fact = model.outlet_fact(outlet)?;
    match &fact.konst {
        Some(constant) if fact.rank() == 2 && fact.datum_type == f32::datum_type() => {
            let (rows, width, held) = (constant.shape()[0], constant.shape()[1], constant.clone());
            f32_slice(constant)?;
            let table = Shared::of(&[constant], "rows", move || EmbeddingTable::from_f32(HeldTable(held), rows, width));
            Ok(Some(Embedding::new(rows, width, table)))
        }
        Some(_) => Ok(None),
        None => quantized(model, producer(model, outlet))?.map_or(Ok(None), |quantized| quantized.embedding(model)),
    }
}

fn dequantized_rows(model: &TypedModel, node: &TypedNode) -> TractResult<Option<(Embedding, OutletId)>> {
    let Some(operator) = node.op_as::<DequantizeLinear>() else { return Ok(None) };
    let gather = producer(model, node.inputs[0]);
    if !is_gather(gather) {
        return Ok(None);
    }
    let Some(matrix) = model.outlet_fact(gather.inputs[0])?.konst.clone() else { return Ok(None) };
    match quantized_matrix(model, matrix, operator, &node.inputs)? {
        // Scales of the gathered rows are those of the table's rows only where there is one for all.
        Some(quantized) if quantized.scales.len() == 1 => {
            Ok(quantized.embedding(model)?.map(|table| (table, gather.inputs[1])))
        }
        _ => match quantized_rows(model, node, operator, gather)? {
            Some(quantized) => Ok(quantized.embedding(model)?.map(|table| (table, gather.inputs[1]))),
            None => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use crate::graph::Report;
    use crate::ops::{Linear, MatMul, QuantizedType};
    use tract_core::ops::math::add;

    /// Rows of a table of 4-bit blocks, and products with all of it. It is too large to be dequantised beforehand.
    fn tied(sketch: &mut Sketch, zero_points: bool) -> [OutletId; 2] {
        let (rows, columns, blocks) = (33_000, 32, 2);
        let bytes = |count: usize| (0..count as u32).map(|at| (at * 37 % 256) as u8).collect::<Vec<_>>();
        let scales: Vec<f32> = (0..rows * blocks).map(|at| (at + 1) as f32 / 1024.0).collect();
        let mut parts = vec![
            Tensor::from_shape(&[rows, columns / 2], &bytes(rows * columns / 2)).unwrap(),
            Tensor::from_shape(&[rows, blocks], &scales).unwrap(),
        ];
        let zeros: Vec<u8> = bytes(rows * blocks).iter().map(|byte| byte % 16).collect();
        parts.extend(zero_points.then(|| Tensor::from_shape(&[rows, blocks], &zeros).unwrap()));
        let parts: Vec<OutletId> = parts.into_iter().map(|part| sketch.constant(part)).collect();
        let ids = sketch.typed_input(i64::datum_type(), &[0, 0]);
        let gathered: Vec<OutletId> = parts.iter().map(|part| sketch.wire(Gather::new(0), &[*part, ids])).collect();
        let packed = Some(QuantizedType { bits: 4, signed: false });
        let embedded = sketch.wire(DequantizeLinear { axis: 2, block_size: 16, packed }, &gathered);
        let matrix = sketch.wire(DequantizeLinear { axis: 1, block_size: 16, packed }, &parts);
        let matrix = sketch.wire(AxisOp::Move(0, 1), &[matrix]);
        let x = sketch.input(&[0, 0, columns]);
        [embedded, sketch.wire(MatMul, &[x, matrix])]
    }

    #[test]
    fn tables_in_blocks() {
        for zero_points in [false, true] {
            let mut sketch = Sketch::new();
            let outputs = tied(&mut sketch, zero_points);
            sketch.check("tied", &outputs, "embedding", Expected::Fused);
        }
    }

    #[test]
    fn a_table_tied_to_a_layer_is_stored_once() {
        let mut sketch = Sketch::new();
        let outputs = tied(&mut sketch, true);
        sketch.model.select_output_outlets(&outputs).unwrap();
        let fused = super::super::fuse(sketch.model, &mut Report::default()).unwrap();
        let table = fused.nodes().iter().find_map(|node| node.op_as::<Embedding>()).unwrap();
        let linear = fused.nodes().iter().find_map(|node| node.op_as::<Linear>()).unwrap();
        assert!(table.table.shares(&linear.weights), "{:?} and {:?}", *table.table, *linear.weights);
    }

    #[test]
    fn sums_of_embeddings() {
        use Expected::{Fused, Not};
        // Given embeddings of `[B, S]` and of `[1, S]`, makes the outputs.
        type Build = fn(&mut Sketch, [OutletId; 2]) -> Vec<OutletId>;
        let cases: [(&str, Build, Expected); 6] = [
            ("both to each other", |sketch, [whole, row]| vec![sketch.wire(add(), &[whole, row])], Fused),
            (
                "one row for all",
                |sketch, [whole, _]| {
                    let other = sketch.input(&[0, 1, 4]);
                    vec![sketch.wire(add(), &[whole, other])]
                },
                Not(""),
            ),
            (
                "rows of an input",
                |sketch, [whole, _]| {
                    let other = sketch.input(&[0, 0, 4]);
                    vec![sketch.wire(add(), &[other, whole])]
                },
                Fused,
            ),
            (
                "sums of sums",
                |sketch, [whole, row]| {
                    let other = sketch.input(&[0, 0, 4]);
                    let sum = sketch.wire(add(), &[whole, other]);
                    vec![sketch.wire(add(), &[row, sum])]
                },
                Fused,
            ),
            ("added to itself", |sketch, [whole, _]| vec![sketch.wire(add(), &[whole, whole])], Not("")),
            (
                "an output itself",
                |sketch, [whole, _]| {
                    let other = sketch.input(&[0, 0, 4]);
                    vec![whole, sketch.wire(add(), &[whole, other])]
                },
                Not(""),
            ),
        ];
        for (what, build, expected) in cases {
            let mut sketch = Sketch::new();
            let table = sketch.weights(&[5, 4]);
            let shapes = [[0, 0], [1, 0]];
            let ids = shapes.map(|shape| sketch.typed_input(i64::datum_type(), &shape));
            let embedded = ids.map(|ids| sketch.wire(Gather::new(0), &[table, ids]));
            let outputs = build(&mut sketch, embedded);
            sketch.check(what, &outputs, "embedding sum", expected);
        }
    }
}
