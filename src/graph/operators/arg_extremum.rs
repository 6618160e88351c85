//! ONNX `ArgMax` and `ArgMin` (1 to 13) of numbers.

use super::{Wiring, int, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::arg_extremum::ArgExtremum;
use crate::ops::plain::{PlainOperator, wrapped};
use tract_core::internal::*;

#[derive(Debug, Clone)]
struct Attributes {
    axis: i64,
    keep_axis: bool,
    last: bool,
}

/// ONNX `ArgMax`.
#[derive(Debug, Clone)]
pub struct ArgMax(Attributes);

/// ONNX `ArgMin`.
#[derive(Debug, Clone)]
pub struct ArgMin(Attributes);

impl Wiring for ArgMax {
    const OPERATOR: &'static str = "ArgMax";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        Ok(ArgMax(Attributes::of(node)?))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs, true)
    }
}

impl Wiring for ArgMin {
    const OPERATOR: &'static str = "ArgMin";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        Ok(ArgMin(Attributes::of(node)?))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs, false)
    }
}

impl Attributes {
    fn of(node: &NodeProto) -> TractResult<Attributes> {
        super::only_attributes(node, &["axis", "keepdims", "select_last_index"])?;
        Ok(Attributes {
            axis: int(node, "axis", 0),
            keep_axis: int(node, "keepdims", 1) != 0,
            last: int(node, "select_last_index", 0) != 0,
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
        greatest: bool,
    ) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?;
        if !fact.datum_type.is_number() {
            return Err(unsupported(format!("{:?} is not supported", fact.datum_type)));
        }
        let axis = wrapped(self.axis, fact.rank()).ok_or_else(|| unsupported(format!("axis {}", self.axis)))?;
        let operator = ArgExtremum { greatest, axis, keep_axis: self.keep_axis, last: self.last };
        model.wire_node(prefix, PlainOperator(operator), inputs)
    }
}
