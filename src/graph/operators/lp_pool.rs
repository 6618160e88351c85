//! ONNX `LpPool` (2 to 22) and `GlobalLpPool` (2 to 22), f32: the roots of sums of powers of what windows read, or all of an image.
//! Attributes: `p`; of `LpPool` also `kernel_shape`, `strides`, `dilations`, `pads`, `auto_pad`, `ceil_mode`.

use super::compose::Composer;
use super::window::WindowAttributes;
use super::{Wiring, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use crate::ops::pool::{Pool, Pooling};
use tract_core::internal::*;
use tract_core::ops::math::{abs, pow};
use tract_core::ops::nn::{Reduce, Reducer};

/// ONNX `LpPool`.
#[derive(Debug, Clone)]
pub struct LpPool {
    power: f32,
    windows: WindowAttributes,
}

/// ONNX `GlobalLpPool`.
#[derive(Debug, Clone)]
pub struct GlobalLpPool {
    power: f32,
}

impl Wiring for LpPool {
    const OPERATOR: &'static str = "LpPool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["p", "kernel_shape", "strides", "dilations", "pads", "auto_pad", "ceil_mode"])?;
        Ok(LpPool { power: power(node)?, windows: WindowAttributes::of(node)? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let kernel = self.windows.kernel()?;
        let steps = self.windows.steps(&kernel)?;
        let sum = PlainOperator(Pool { pooling: Pooling::Sum, kernel, steps, round_up: self.windows.round_up });
        root_of_sum(prefix, model, inputs[0], self.power, sum).map(|outlet| tvec!(outlet))
    }
}

impl Wiring for GlobalLpPool {
    const OPERATOR: &'static str = "GlobalLpPool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["p"])?;
        Ok(GlobalLpPool { power: power(node)? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axes = (2..model.outlet_fact(inputs[0])?.rank()).collect();
        let sum = Reduce { axes, reducer: Reducer::Sum };
        root_of_sum(prefix, model, inputs[0], self.power, sum).map(|outlet| tvec!(outlet))
    }
}

fn power(node: &NodeProto) -> TractResult<f32> {
    match int(node, "p", 2) {
        power @ 1.. => Ok(power as f32),
        other => Err(unsupported(format!("`p` is {other}"))),
    }
}

fn root_of_sum(
    prefix: &str,
    model: &mut TypedModel,
    x: OutletId,
    power: f32,
    sum: impl Into<Box<dyn TypedOp>>,
) -> TractResult<OutletId> {
    if !is_f32(model, &[x])? {
        return Err(unsupported("only float32 is supported"));
    }
    let composer = &mut Composer::new(prefix, model);
    let sizes = composer.wire(abs(), &[x])?;
    let powers = composer.binary_with(pow(), sizes, power)?;
    let sum = composer.wire(sum, &[powers])?;
    composer.binary_with(pow(), sum, power.recip())
}
