//! ONNX `ScatterElements` (11 to 18), `Scatter` (9) and `ScatterND` (11 to 18), any type.
//!
//! Inputs: `data`, `indices`, `updates`. Attributes: `axis` (not for `ScatterND`); `reduction`: `none`, `add`, `mul`, `min` or `max`.

use super::wires::concrete;
use super::{Wiring, arguments, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::Reduction;
use tract_core::internal::*;

/// `ScatterElements`.
#[derive(Debug, Clone)]
pub struct ScatterElements {
    axis: i64,
    reduction: Reduction,
}

/// `Scatter`, the old name of `ScatterElements`.
#[derive(Debug, Clone)]
pub struct Scatter(ScatterElements);

/// `ScatterND`.
#[derive(Debug, Clone)]
pub struct ScatterNd(Reduction);

impl Wiring for ScatterElements {
    const OPERATOR: &'static str = "ScatterElements";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis", "reduction"])?;
        Ok(ScatterElements { axis: int(node, "axis", 0), reduction: reduction(node)? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axis = arguments::axis(self.axis, model.outlet_fact(inputs[0])?.rank())?;
        let operator = crate::ops::ScatterElements { axis, reduction: self.reduction };
        let inputs = numbers(prefix, model, inputs)?;
        model.wire_node(prefix, operator, &inputs)
    }
}

impl Wiring for Scatter {
    const OPERATOR: &'static str = "Scatter";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        ScatterElements::parse(node, opset).map(Scatter)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs)
    }
}

impl Wiring for ScatterNd {
    const OPERATOR: &'static str = "ScatterND";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["reduction"])?;
        reduction(node).map(ScatterNd)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let inputs = numbers(prefix, model, inputs)?;
        model.wire_node(prefix, crate::ops::ScatterNd { reduction: self.0 }, &inputs)
    }
}

/// The inputs, with int64 for tract's symbolic sizes where only the data or only the updates are such.
fn numbers(prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
    let is_symbolic = |at: usize| -> TractResult<bool> { Ok(model.outlet_fact(inputs[at])?.datum_type.is_tdim()) };
    let one_is_symbolic = is_symbolic(0)? != is_symbolic(2)?;
    let mut inputs: TVec<OutletId> = inputs.into();
    if one_is_symbolic {
        for position in [0, 2] {
            let name = format!("{prefix}.numbers_{position}");
            inputs[position] = concrete(&name, model, inputs[position], i64::datum_type())?;
        }
    }
    Ok(inputs)
}

fn reduction(node: &NodeProto) -> TractResult<Reduction> {
    Ok(match &*arguments::string(node, "reduction", "none") {
        "none" => Reduction::Replace,
        "add" => Reduction::Add,
        "mul" => Reduction::Mul,
        "min" => Reduction::Min,
        "max" => Reduction::Max,
        other => return Err(unsupported(format!("reduction `{other}`"))),
    })
}
