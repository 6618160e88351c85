//! ONNX `Range` (11 to 27) of numbers.
//!
//! Inputs: `start`, `limit` and `delta`, one value each, maybe symbolic. Where the limit is known in symbols and the step is positive,
//! so is the length.

use super::{Wiring, only_attributes};
use crate::graph::builder::fresh_symbol;
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::array;
use tract_core::ops::cast::wire_cast;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Range;

impl Wiring for Range {
    const OPERATOR: &'static str = "Range";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Range)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let types = inputs.iter().map(|input| Ok(model.outlet_fact(*input)?.datum_type));
        let types = types.collect::<TractResult<Vec<DatumType>>>()?;
        let datum_type = DatumType::super_type_for(&types).with_context(|| format!("{types:?} have no common type"))?;
        let operands = wire_cast(prefix, model, inputs, datum_type)?;
        let &[start, limit, step] = &*operands else { bail!("three operands are needed") };
        let [start, limit, step] = [model.outlet_fact(start)?, model.outlet_fact(limit)?, model.outlet_fact(step)?];
        let step = size(step).and_then(|step| step.to_usize().ok()).filter(|step| *step > 0);
        let length = match (size(start), &limit.uniform_tdim, step) {
            (Some(start), Some(limit), Some(step)) => (limit.clone() - start).divceil(step),
            _ => fresh_symbol(&model.symbols, "range").to_dim(),
        };
        model.wire_node(prefix, array::Range::new(length), &operands)
    }
}

/// The one value that is known of an operand, as a size.
fn size(fact: &TypedFact) -> Option<TDim> {
    let value = fact.uniform.as_ref().or(fact.konst.as_ref()).filter(|value| value.len() == 1)?;
    value.cast_to::<TDim>().ok()?.try_as_plain_ram().ok()?.as_slice::<TDim>().ok()?.first().cloned()
}
