//! ONNX `Transpose` (1 to 25), any type. Attribute: `perm`; without it the axes are reversed.

use super::{Wiring, arguments, axis_of, only_attributes, wires};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Transpose {
    order: Option<Vec<i64>>,
}

impl Wiring for Transpose {
    const OPERATOR: &'static str = "Transpose";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["perm"])?;
        Ok(Transpose { order: arguments::ints(node, "perm") })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        let order: Vec<usize> = match &self.order {
            Some(order) => order.iter().map(|axis| axis_of(*axis, rank)).collect::<TractResult<_>>()?,
            None => (0..rank).rev().collect(),
        };
        ensure!(
            order.len() == rank && (0..rank).all(|axis| order.contains(&axis)),
            "{order:?} is no order of {rank} axes"
        );
        Ok(tvec!(wires::transpose(prefix, model, inputs[0], &order)?))
    }
}
