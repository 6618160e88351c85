//! ONNX `GatherND` (11 to 13) of every type.

use super::{Wiring, int, wires::concrete};
use crate::onnx::pb::NodeProto;
use crate::ops::gather_nd::GatherNd;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct GatherND {
    batch_dims: i64,
}

impl Wiring for GatherND {
    const OPERATOR: &'static str = "GatherND";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["batch_dims"])?;
        Ok(GatherND { batch_dims: int(node, "batch_dims", 0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let indices = concrete(prefix, model, inputs[1], i64::datum_type())?;
        let operator = GatherNd { batch_dims: usize::try_from(self.batch_dims)? };
        model.wire_node(prefix, PlainOperator(operator), &[inputs[0], indices])
    }
}
