//! ONNX `GroupNormalization` (18 to 21): `X` `[batch, channels, ...]` normalised over the channels of each group and all that
//! follows; `scale` and `bias` have an element for each group below opset 21, for each channel from there on.
//! Attributes: `num_groups`, `epsilon`, `stash_type` 1.

use super::compose::Composer;
use super::normalise::{Kind, Normalisation};
use super::{Wiring, float, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::array::MultiBroadcastTo;
use tract_core::ops::math::{add, mul};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct GroupNormalization {
    groups: usize,
    epsilon: f32,
    by_channel: bool,
}

impl Wiring for GroupNormalization {
    const OPERATOR: &'static str = "GroupNormalization";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(node, &["num_groups", "epsilon", "stash_type"])?;
        if int(node, "stash_type", 1) != 1 {
            return Err(unsupported("only statistics in float32 (stash_type 1) are supported"));
        }
        let groups = usize::try_from(int(node, "num_groups", 0)).ok().filter(|groups| *groups > 0);
        Ok(GroupNormalization {
            groups: groups.context("num_groups is missing or not positive")?,
            epsilon: float(node, "epsilon").unwrap_or(1e-5),
            by_channel: opset >= 21,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[x, scale, bias] = inputs else { bail!("GroupNormalization takes 3 inputs") };
        let composer = &mut Composer::new(prefix, model);
        let mut scale_and_bias = [scale, bias];
        if !self.by_channel {
            let channels = group_size(composer, x, self.groups)?;
            for parameter in &mut scale_and_bias {
                *parameter = repeated(composer, *parameter, self.groups, channels)?;
            }
        }
        let [scale, bias] = scale_and_bias;
        Ok(tvec!(group_norm(composer, x, self.groups, self.epsilon, scale, bias)?))
    }
}

/// Wires the normalisation by groups of `x` `[batch, channels, ...]`, times `scale` and plus `bias`, both `[channels]`.
pub fn group_norm(
    composer: &mut Composer,
    x: OutletId,
    groups: usize,
    epsilon: f32,
    scale: OutletId,
    bias: OutletId,
) -> TractResult<OutletId> {
    let size = group_size(composer, x, groups)?;
    let channels = [(groups * size).to_dim()];
    let grouped = [groups.to_dim(), size.to_dim()];
    let rank = composer.fact(x)?.rank();
    let x = composer.reshape(x, 1, &channels, &grouped)?;
    let normal = Normalisation { kind: Kind::Layer, axis: 2, epsilon }.wire(composer, x, None, None)?;
    let normal = composer.reshape(normal, 1, &grouped, &channels)?;
    let scale = composer.trailing_axes(scale, rank - 1)?;
    let bias = composer.trailing_axes(bias, rank - 1)?;
    let product = composer.binary(mul(), normal, scale)?;
    composer.binary(add(), product, bias)
}

/// Channels in each group.
fn group_size(composer: &Composer, x: OutletId, groups: usize) -> TractResult<usize> {
    let shape = composer.shape(x)?;
    let channels = shape.get(1).context("the operand has no axis of channels")?;
    let channels = channels.to_usize().context("the number of channels is not known")?;
    ensure!(channels % groups == 0, "{channels} channels do not fall into {groups} groups");
    Ok(channels / groups)
}

/// Each of the elements of `[groups]`, `times` times.
fn repeated(composer: &mut Composer, parameter: OutletId, groups: usize, times: usize) -> TractResult<OutletId> {
    let (grouped, channels) = ([groups.to_dim(), times.to_dim()], [(groups * times).to_dim()]);
    let column = composer.trailing_axes(parameter, 2)?;
    let shape = tvec!(groups.to_dim(), times.to_dim()).into();
    let repeated = composer.wire(MultiBroadcastTo { shape }, &[column])?;
    composer.reshape(repeated, 0, &grouped, &channels)
}
