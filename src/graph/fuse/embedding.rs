//! Rows gathered from a constant table: f32, or integers with scales applied to the table or to the gathered rows.

use super::Match;
use super::linear::{quantized, quantized_matrix, quantized_rows};
use super::pattern::producer;
use crate::kernels::embedding::EmbeddingTable;
use crate::ops::{CheckIndices, DequantizeLinear, Embedding, Shared, f32_slice};
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::Gather;
use tract_onnx::tract_hir::tract_core::ops::cast::cast;

/// Looks for a `Gather`, or for a `DequantizeLinear` of what one gathered.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
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

/// Ids before a check against the table's rows: the embedding checks them itself.
fn unchecked(model: &TypedModel, ids: OutletId, embedding: &Embedding) -> TractResult<OutletId> {
    let node = producer(model, ids);
    let Some(CheckIndices { axis }) = node.op_as::<CheckIndices>() else { return Ok(ids) };
    let same = model.outlet_fact(node.inputs[1])?.shape[*axis] == embedding.table.rows().to_dim();
    Ok(if same { node.inputs[0] } else { ids })
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
            let table = Shared::of(&[constant], "rows", move || {
                EmbeddingTable::from_f32(f32_slice(&held).unwrap_or_default().to_vec(), rows, width)
            });
            Ok(Some(Embedding { width, table }))
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
