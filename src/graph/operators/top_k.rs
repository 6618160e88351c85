//! ONNX `TopK` (1 to 24), all number types.
//!
//! Inputs: `X`; `K` (an attribute below opset 10). Attributes: `axis`, `largest`, `sorted`: the result is always sorted.

use super::{Wiring, arguments, constant, int, only_attributes};
use crate::graph::builder::fresh_symbol;
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct TopK {
    axis: i64,
    largest: bool,
    k: Option<i64>,
    /// Whether the node names each output.
    outputs: [bool; 2],
}

impl Wiring for TopK {
    const OPERATOR: &'static str = "TopK";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        let attributes: &[&str] = match opset {
            ..10 => &["axis", "k"],
            10 => &["axis"],
            _ => &["axis", "largest", "sorted"],
        };
        only_attributes(node, attributes)?;
        let named = |output: usize| node.output.get(output).is_some_and(|name| !name.is_empty());
        Ok(TopK {
            axis: int(node, "axis", -1),
            largest: int(node, "largest", 1) != 0,
            k: (opset < 10).then(|| int(node, "k", 0)),
            outputs: [named(0), named(1)],
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let k = match self.k {
            Some(k) => model.add_const(format!("{prefix}.k"), tensor0(k))?,
            None => *inputs.get(1).context("K is missing")?,
        };
        let known = match constant(model, k)? {
            Some(_) => arguments::constant_ints(model, k, "K")?.first().copied().context("K is empty")?.to_dim(),
            None => fresh_symbol(&model.symbols, "k").to_dim(),
        };
        let axis = arguments::axis(self.axis, model.outlet_fact(inputs[0])?.rank())?;
        let operator = crate::ops::TopK { axis, largest: self.largest, k: known };
        let outlets = model.wire_node(prefix, operator, &[inputs[0], k])?;
        Ok(outlets.into_iter().zip(self.outputs).filter(|(_, named)| *named).map(|(outlet, _)| outlet).collect())
    }
}
