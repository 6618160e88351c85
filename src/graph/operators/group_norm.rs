//! com.microsoft `GroupNorm` and `SkipGroupNorm`: `X` of rank 3 or more, with the channels last or second, normalised by
//! groups of channels; `gamma`, `beta` `[channels]`; the latter first adds `skip` (of `X`'s shape, `[batch, channels]`, or
//! with axes of size 1 between) and optionally `bias` `[channels]`, and gives the sum as an optional second output.
//! Attributes: `groups`, `epsilon`, `activation` (0 none, 1 SiLU), `channels_last`.

use super::compose::Composer;
use super::group_normalization::group_norm;
use super::{Wiring, float, has_output, input, int, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    groups: usize,
    epsilon: f32,
    activation: Activation,
    channels_last: bool,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct SkipGroupNorm {
    norm: GroupNorm,
    bias: Option<usize>,
    sum: bool,
}

impl Wiring for GroupNorm {
    const OPERATOR: &'static str = "com.microsoft.GroupNorm";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["groups", "epsilon", "activation", "channels_last"])?;
        let groups = usize::try_from(int(node, "groups", 0)).ok().filter(|groups| *groups > 0);
        Ok(GroupNorm {
            groups: groups.context("groups is missing or not positive")?,
            epsilon: float(node, "epsilon").unwrap_or(1e-5),
            activation: match int(node, "activation", 0) {
                0 => Activation::Identity,
                1 => Activation::Silu,
                other => return Err(unsupported(format!("activation {other}"))),
            },
            channels_last: int(node, "channels_last", 1) != 0,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[x, gamma, beta] = inputs else { bail!("GroupNorm takes 3 inputs") };
        Ok(tvec!(self.compose(&mut Composer::new(prefix, model), x, gamma, beta)?))
    }
}

impl Wiring for SkipGroupNorm {
    const OPERATOR: &'static str = "com.microsoft.SkipGroupNorm";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        Ok(SkipGroupNorm { norm: GroupNorm::parse(node, opset)?, bias: input(node, 4), sum: has_output(node, 1) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let rank = composer.fact(inputs[0])?.rank();
        let mut skip = inputs[3];
        while composer.fact(skip)?.rank() < rank {
            let axis = if self.norm.channels_last { 1 } else { composer.fact(skip)?.rank() };
            skip = composer.wire(AxisOp::Add(axis), &[skip])?;
        }
        let mut sum = composer.binary(add(), inputs[0], skip)?;
        if let Some(bias) = self.bias {
            let axes = if self.norm.channels_last { 1 } else { rank - 1 };
            let bias = composer.trailing_axes(inputs[bias], axes)?;
            sum = composer.binary(add(), sum, bias)?;
        }
        let mut outputs = tvec!(self.norm.compose(composer, sum, inputs[1], inputs[2])?);
        outputs.extend(self.sum.then_some(sum));
        Ok(outputs)
    }
}

impl GroupNorm {
    fn compose(
        &self,
        composer: &mut Composer,
        mut x: OutletId,
        gamma: OutletId,
        beta: OutletId,
    ) -> TractResult<OutletId> {
        let last = composer.fact(x)?.rank().checked_sub(1).context("GroupNorm of a scalar")?;
        if self.channels_last {
            x = composer.wire(AxisOp::Move(last, 1), &[x])?;
        }
        let mut normal = group_norm(composer, x, self.groups, self.epsilon, gamma, beta)?;
        if self.channels_last {
            normal = composer.wire(AxisOp::Move(1, last), &[normal])?;
        }
        match self.activation {
            Activation::Identity => Ok(normal),
            activation => composer.wire(Activate(activation), &[normal]),
        }
    }
}
