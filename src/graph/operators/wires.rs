//! Small pieces of wiring that several operators share.

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;

/// The outlet with values of this type: sizes that are symbolic become numbers when the graph runs.
pub fn concrete(
    prefix: &str,
    model: &mut TypedModel,
    outlet: OutletId,
    datum_type: DatumType,
) -> TractResult<OutletId> {
    Ok(wire_cast(prefix, model, &[outlet], datum_type)?[0])
}

/// The integers of an input that must be constant. The error is a plain one: what is not constant may be known when the
/// graph runs.
pub fn constant_integers(model: &TypedModel, outlet: OutletId, what: &str) -> TractResult<Vec<i64>> {
    let constant = model.outlet_fact(outlet)?.konst.clone().with_context(|| format!("{what} is not constant"))?;
    Ok(constant.cast_to::<i64>()?.try_as_plain_ram()?.as_slice::<i64>()?.to_vec())
}

/// The axes in another order.
pub fn transpose(name: &str, model: &mut TypedModel, outlet: OutletId, axes: &[usize]) -> TractResult<OutletId> {
    let mut wire = outlet;
    for (position, step) in perm_to_ops(axes).into_iter().enumerate() {
        wire = model.wire_node(format!("{name}.{position}"), step, &[wire])?[0];
    }
    Ok(wire)
}
