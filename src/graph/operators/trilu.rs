//! ONNX `Trilu` (14), any type: `k`, one value, 0 where it is left out. Attribute: `upper`.

use super::wires::concrete;
use super::{Wiring, input, int, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::array;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Trilu {
    upper: bool,
    diagonal: Option<usize>,
}

impl Wiring for Trilu {
    const OPERATOR: &'static str = "Trilu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["upper"])?;
        Ok(Trilu { upper: int(node, "upper", 1) == 1, diagonal: input(node, 1) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let diagonal = match self.diagonal {
            Some(diagonal) => concrete(prefix, model, inputs[diagonal], i64::datum_type())?,
            None => model.add_const(format!("{prefix}.k"), tensor0(0i64))?,
        };
        model.wire_node(prefix, array::Trilu { upper: self.upper }, &[inputs[0], diagonal])
    }
}
