//! ONNX `CumSum` (11 to 14) and `CumProd` (26) along an axis that may be known only when the graph runs.

use super::{Wiring, int, wires::concrete};
use crate::onnx::pb::NodeProto;
use crate::ops::cumulative::Cumulative;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// ONNX `CumSum`.
#[derive(Debug, Clone)]
pub struct CumSum(Cumulative);

/// ONNX `CumProd`.
#[derive(Debug, Clone)]
pub struct CumProd(Cumulative);

impl Wiring for CumSum {
    const OPERATOR: &'static str = "CumSum";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        Ok(CumSum(parse(node, false)?))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        wire(&self.0, prefix, model, inputs)
    }
}

impl Wiring for CumProd {
    const OPERATOR: &'static str = "CumProd";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        Ok(CumProd(parse(node, true)?))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        wire(&self.0, prefix, model, inputs)
    }
}

fn parse(node: &NodeProto, product: bool) -> TractResult<Cumulative> {
    super::only_attributes(node, &["exclusive", "reverse"])?;
    let (exclusive, reverse) = (int(node, "exclusive", 0) != 0, int(node, "reverse", 0) != 0);
    Ok(Cumulative { product, exclusive, reverse })
}

fn wire(
    operator: &Cumulative,
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    let mut numbers = inputs[0];
    if model.outlet_fact(numbers)?.datum_type == TDim::datum_type() {
        numbers = concrete(prefix, model, numbers, i64::datum_type())?;
    }
    let axis = concrete(&format!("{prefix}.axis"), model, inputs[1], i64::datum_type())?;
    model.wire_node(prefix, PlainOperator(operator.clone()), &[numbers, axis])
}
