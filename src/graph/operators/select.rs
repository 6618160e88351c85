//! ONNX `Where` (9 to 16), any type: the elements of one tensor where a condition holds, else those of another; all three broadcast.

use super::{Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::broadcast_shape;
use tract_core::internal::*;
use tract_core::ops::cast::wire_cast;
use tract_core::ops::change_axes::wire_rank_broadcast;
use tract_core::ops::logic::Iff;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Where;

impl Wiring for Where {
    const OPERATOR: &'static str = "Where";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Where)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[condition, kept, other] = inputs else { bail!("three operands are needed") };
        let types = [model.outlet_fact(kept)?.datum_type, model.outlet_fact(other)?.datum_type];
        let datum_type = DatumType::super_type_for(types).with_context(|| format!("{types:?} have no common type"))?;
        let branches = wire_cast(prefix, model, &[kept, other], datum_type)?;
        let operands = wire_rank_broadcast(prefix, model, &[condition, branches[0], branches[1]])?;
        let facts = operands.iter().map(|operand| model.outlet_fact(*operand)).collect::<TractResult<Vec<_>>>()?;
        broadcast_shape(&facts)?;
        model.wire_node(prefix, Iff, &operands)
    }
}
