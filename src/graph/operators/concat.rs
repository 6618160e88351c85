//! ONNX `Concat` (4 to 13), any type. Attribute: `axis`.

use super::{Wiring, axis_of, int, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::array::TypedConcat;
use tract_core::ops::cast::wire_cast;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Concat {
    axis: i64,
}

impl Wiring for Concat {
    const OPERATOR: &'static str = "Concat";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis"])?;
        Ok(Concat { axis: int(node, "axis", 0) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let types = inputs.iter().map(|input| Ok(model.outlet_fact(*input)?.datum_type));
        let types = types.collect::<TractResult<Vec<DatumType>>>()?;
        let datum_type = DatumType::super_type_for(&types).with_context(|| format!("{types:?} have no common type"))?;
        let axis = axis_of(self.axis, model.outlet_fact(inputs[0])?.rank())?;
        let operands = wire_cast(prefix, model, inputs, datum_type)?;
        model.wire_node(prefix, TypedConcat::new(axis), &operands)
    }
}
