//! Small pieces of wiring that several operators share.

use tract_core::internal::*;
use tract_core::ops::cast::wire_cast;

/// The outlet with values of this type: sizes that are symbolic become numbers when the graph runs.
pub fn concrete(
    prefix: &str,
    model: &mut TypedModel,
    outlet: OutletId,
    datum_type: DatumType,
) -> TractResult<OutletId> {
    Ok(wire_cast(prefix, model, &[outlet], datum_type)?[0])
}

/// The axes in another order.
pub fn transpose(name: &str, model: &mut TypedModel, outlet: OutletId, axes: &[usize]) -> TractResult<OutletId> {
    let mut wire = outlet;
    for (position, step) in perm_to_ops(axes).into_iter().enumerate() {
        wire = model.wire_node(format!("{name}.{position}"), step, &[wire])?[0];
    }
    Ok(wire)
}
