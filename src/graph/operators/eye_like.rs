//! ONNX `EyeLike` (9 to 22): ones on a diagonal of zeros. Attributes: `dtype`, `k`.

use super::arguments::element_type;
use super::{Wiring, int, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::eye::Eye;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct EyeLike {
    datum_type: Option<DatumType>,
    diagonal: i64,
}

impl Wiring for EyeLike {
    const OPERATOR: &'static str = "EyeLike";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["dtype", "k"])?;
        Ok(EyeLike { datum_type: element_type(node, "dtype")?, diagonal: int(node, "k", 0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let to = self.datum_type.unwrap_or(model.outlet_fact(inputs[0])?.datum_type);
        model.wire_node(prefix, PlainOperator(Eye { to, diagonal: self.diagonal }), inputs)
    }
}
