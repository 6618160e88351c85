//! ONNX `Max` and `Min` (8 to 13) and `Clip` (6 to 13): NaN stays NaN, and a constant bound that is NaN is refused.
//! Numbers and symbolic sizes of any type.

use super::binary::{wire_all, wire_operands};
use super::{Wiring, constant_f32, float, input, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::extremum::Extremum;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::cast::wire_cast;
use tract_core::ops::change_axes::wire_with_rank_broadcast;
use tract_core::ops::math::{max, min};

/// ONNX `Max`.
#[derive(Debug, Clone)]
pub struct Max;

/// ONNX `Min`.
#[derive(Debug, Clone)]
pub struct Min;

/// ONNX `Clip`: bounds are inputs, or attributes before opset 11.
#[derive(Debug, Clone)]
pub struct Clip {
    min: Option<Bound>,
    max: Option<Bound>,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    Input(usize),
    Attribute(f32),
}

impl Wiring for Max {
    const OPERATOR: &'static str = "Max";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &[])?;
        Ok(Max)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        extremum_of_all(prefix, model, inputs, true)
    }
}

impl Wiring for Min {
    const OPERATOR: &'static str = "Min";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &[])?;
        Ok(Min)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        extremum_of_all(prefix, model, inputs, false)
    }
}

impl Wiring for Clip {
    const OPERATOR: &'static str = "Clip";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        if opset < 11 {
            super::only_attributes(node, &["min", "max"])?;
            let bound = |name: &str| float(node, name).map(Bound::Attribute);
            return Ok(Clip { min: bound("min"), max: bound("max") });
        }
        super::only_attributes(node, &[])?;
        Ok(Clip { min: input(node, 1).map(Bound::Input), max: input(node, 2).map(Bound::Input) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let floats = are_floats(model, inputs)?;
        let mut wire = inputs[0];
        for (name, bound, greatest) in [("min", self.min, true), ("max", self.max, false)] {
            let Some(bound) = bound else { continue };
            let bound = match bound {
                Bound::Input(at) => inputs[at],
                Bound::Attribute(value) => {
                    let datum_type = model.outlet_fact(wire)?.datum_type;
                    model.add_const(format!("{prefix}.{name}"), tensor0(value).cast_to_dt(datum_type)?.into_owned())?
                }
            };
            if constant_f32(model, bound)?.is_some_and(|bound| bound.iter().any(|bound| bound.is_nan())) {
                return Err(unsupported(format!("`{name}` is NaN")));
            }
            let name = format!("{prefix}.at_{name}");
            wire = match floats {
                true => extremum(&name, model, wire, bound, greatest)?,
                false => {
                    let datum_type = model.outlet_fact(wire)?.datum_type;
                    let bound = wire_cast(&name, model, &[bound], datum_type)?[0];
                    wire_operands(&name, model, if greatest { max() } else { min() }, &[wire, bound])?[0]
                }
            };
        }
        model.wire_node(prefix, tract_core::ops::identity::Identity, &[wire])
    }
}

fn extremum_of_all(
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
    greatest: bool,
) -> TractResult<TVec<OutletId>> {
    if inputs.len() < 2 || !are_floats(model, inputs)? {
        return wire_all(prefix, model, if greatest { max } else { min }, inputs);
    }
    let mut wire = inputs[0];
    for (position, input) in inputs.iter().enumerate().skip(1) {
        let last = position + 1 == inputs.len();
        let name = if last { prefix.to_string() } else { format!("{prefix}.{position}") };
        wire = extremum(&name, model, wire, *input, greatest)?;
    }
    Ok(tvec!(wire))
}

fn extremum(name: &str, model: &mut TypedModel, a: OutletId, b: OutletId, greatest: bool) -> TractResult<OutletId> {
    Ok(wire_with_rank_broadcast(name, model, PlainOperator(Extremum { greatest }), &[a, b])?[0])
}

fn are_floats(model: &TypedModel, inputs: &[OutletId]) -> TractResult<bool> {
    let first = model.outlet_fact(inputs[0])?.datum_type;
    let same = inputs.iter().map(|input| Ok(model.outlet_fact(*input)?.datum_type == first));
    let same = same.collect::<TractResult<Vec<bool>>>()?;
    Ok([f32::datum_type(), f64::datum_type()].contains(&first) && same.into_iter().all(|same| same))
}
