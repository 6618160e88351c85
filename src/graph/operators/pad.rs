//! ONNX `Pad` (2 to 25), any type.
//!
//! Inputs: `data`; `pads` constant, maybe symbolic (an attribute below opset 11); `constant_value`; `axes` constant. Attributes: `mode`:
//! `constant`, `reflect`, `edge` or `wrap`.

use super::{Wiring, arguments, constant, float, input, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::PadMode;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Pad {
    mode: PadMode,
    pads: Pads,
}

#[derive(Debug, Clone)]
enum Pads {
    Attributes { pads: Vec<i64>, value: f32 },
    Inputs { value: Option<usize>, axes: Option<usize> },
}

impl Wiring for Pad {
    const OPERATOR: &'static str = "Pad";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        let mode = match &*arguments::string(node, "mode", "constant") {
            "constant" => PadMode::Constant,
            "reflect" => PadMode::Reflect,
            "edge" => PadMode::Edge,
            "wrap" if opset >= 19 => PadMode::Wrap,
            other => return Err(unsupported(format!("mode `{other}`"))),
        };
        let pads = if opset < 11 {
            only_attributes(node, &["mode", "pads", "value"])?;
            let pads = arguments::ints(node, "pads").context("there are no pads")?;
            Pads::Attributes { pads, value: float(node, "value").unwrap_or(0.) }
        } else {
            only_attributes(node, &["mode"])?;
            Pads::Inputs { value: input(node, 2), axes: input(node, 3) }
        };
        Ok(Pad { mode, pads })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?.clone();
        let (pads, axes) = match &self.pads {
            Pads::Attributes { pads, .. } => (pads.iter().map(|pad| pad.to_dim()).collect(), None),
            Pads::Inputs { axes, .. } => {
                let axes = axes.map(|axes| arguments::constant_ints(model, inputs[axes], "axes")).transpose()?;
                (arguments::constant_sizes(model, *inputs.get(1).context("the pads are missing")?, "pads")?, axes)
            }
        };
        let pads = by_axis(&pads, axes.as_deref(), fact.rank())?;
        let value = match &self.pads {
            Pads::Attributes { value, .. } => Some(
                model
                    .add_const(format!("{prefix}.value"), tensor0(*value).cast_to_dt(fact.datum_type)?.into_owned())?,
            ),
            Pads::Inputs { value, .. } => value.map(|value| inputs[value]),
        };
        if self.mode == PadMode::Constant
            && is_f32(model, &inputs[..1])?
            && let Ok(pads) =
                pads.iter().map(|(b, a)| Ok((unsigned(b)?, unsigned(a)?))).collect::<TractResult<Vec<_>>>()
        {
            let value = value.map_or(Ok(Some(tensor0(0f32).into_arc_tensor())), |value| constant(model, value))?;
            if let Some(value) = value {
                return Pad::constant(prefix, model, inputs[0], &pads, value);
            }
        }
        let mut operands = tvec!(inputs[0]);
        operands.extend(value);
        model.wire_node(prefix, crate::ops::Pad { pads, mode: self.mode }, &operands)
    }
}

impl Pad {
    /// tract's own operator, which copies whole blocks; a convolution takes it in.
    fn constant(
        prefix: &str,
        model: &mut TypedModel,
        data: OutletId,
        pads: &[(usize, usize)],
        value: Arc<Tensor>,
    ) -> TractResult<TVec<OutletId>> {
        use tract_core::ops::array::{Pad, PadMode};
        let value = value.into_tensor().into_shape(&[])?;
        model.wire_node(prefix, Pad { pads: pads.to_vec(), mode: PadMode::Constant(value.into_arc_tensor()) }, &[data])
    }
}

/// A constant pad that adds something.
fn unsigned(pad: &TDim) -> TractResult<usize> {
    Ok(usize::try_from(pad.to_i64()?)?)
}

/// Pads before and after each of a tensor's axes; `pads` lists those before the given axes, then those after them.
fn by_axis(pads: &[TDim], axes: Option<&[i64]>, rank: usize) -> TractResult<Vec<(TDim, TDim)>> {
    let axes = match axes {
        Some(axes) => axes.iter().map(|axis| arguments::axis(*axis, rank)).collect::<TractResult<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    ensure!(pads.len() == 2 * axes.len(), "{} pads of {} axes", pads.len(), axes.len());
    let (before, after) = pads.split_at(axes.len());
    let mut by_axis = vec![(0.to_dim(), 0.to_dim()); rank];
    for ((axis, before), after) in axes.into_iter().zip(before).zip(after) {
        by_axis[axis] = (before.clone(), after.clone());
    }
    Ok(by_axis)
}
