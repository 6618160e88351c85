//! ONNX `Cast` (6 to 28) and `CastLike` (15 to 25) from floating-point numbers to integers; other casts are left to tract.
//! `saturate` and `round_mode` concern float8 types only.

use super::{Wiring, int};
use crate::ops::cast_to_integer::CastToInteger;
use crate::ops::plain::PlainOperator;
use tract_onnx::pb::{NodeProto, tensor_proto::DataType};
use tract_onnx::tract_hir::internal::*;

/// ONNX `Cast`.
#[derive(Debug, Clone)]
pub struct Cast {
    to: Option<DatumType>,
}

/// ONNX `CastLike`.
#[derive(Debug, Clone)]
pub struct CastLike;

impl Wiring for Cast {
    const OPERATOR: &'static str = "Cast";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["to", "saturate", "round_mode"])?;
        let to = DataType::try_from(int(node, "to", 0) as i32).ok().and_then(|to| DatumType::try_from(to).ok());
        Ok(Cast { to })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        self.to.map_or(Ok(None), |to| to_integer(prefix, model, inputs[0], to))
    }
}

impl Wiring for CastLike {
    const OPERATOR: &'static str = "CastLike";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["saturate", "round_mode"])?;
        Ok(CastLike)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let to = model.outlet_fact(inputs[1])?.datum_type;
        to_integer(prefix, model, inputs[0], to)
    }
}

fn to_integer(
    prefix: &str,
    model: &mut TypedModel,
    input: OutletId,
    to: DatumType,
) -> TractResult<Option<TVec<OutletId>>> {
    if !model.outlet_fact(input)?.datum_type.is_float() || !to.is_integer() {
        return Ok(None);
    }
    model.wire_node(prefix, PlainOperator(CastToInteger { to }), &[input]).map(Some)
}
