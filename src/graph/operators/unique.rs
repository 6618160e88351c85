//! ONNX `Unique` (11 to 28), all number types and bool; NaN is refused when it is met.
//!
//! Input: `X`. Outputs: `Y`, optionally `indices`, `inverse_indices`, `counts`. Attributes: `axis`, `sorted`.

use super::{Wiring, arguments, attribute, int, only_attributes};
use crate::graph::builder::fresh_symbol;
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Unique {
    axis: Option<i64>,
    sorted: bool,
    /// Whether the node names each output.
    outputs: Vec<bool>,
}

impl Wiring for Unique {
    const OPERATOR: &'static str = "Unique";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis", "sorted"])?;
        Ok(Unique {
            axis: attribute(node, "axis").map(|axis| axis.i),
            sorted: int(node, "sorted", 1) != 0,
            outputs: node.output.iter().map(|name| !name.is_empty()).collect(),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        let axis = self.axis.map(|axis| arguments::axis(axis, rank)).transpose()?;
        let count = fresh_symbol(&model.symbols, "unique").to_dim();
        let outlets = model.wire_node(prefix, crate::ops::Unique { axis, sorted: self.sorted, count }, inputs)?;
        Ok(outlets.into_iter().zip(&self.outputs).filter(|(_, named)| **named).map(|(outlet, _)| outlet).collect())
    }
}
