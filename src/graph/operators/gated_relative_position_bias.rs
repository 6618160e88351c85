//! com.microsoft `GatedRelativePositionBias`: a relative position bias times a gate that each query opens.
//!
//! Inputs, all f32: `query_layer` `[batch, sequence, width]`; `query_bias` `[width]`; `rel_pos` `[1, heads, sequence,
//! sequence]`; `weight` `[width / heads, 2 * half]`; `bias` `[2 * half]`; `eco_a` `[1, heads, 1, 1]`. Input `token_offset` is
//! refused. With u and r the sigmoids of the sums of either half of `query · weight + bias`, the gate is
//! `u · (r · eco_a - 1) + 2`. Output: f32 `[batch, heads, sequence, sequence]`. Attribute: `num_heads`.

use super::compose::Composer;
use super::{Wiring, input, int, is_f32, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::{Activate, MatMul};
use tract_core::internal::*;
use tract_core::ops::array::Slice;
use tract_core::ops::math::{add, mul};
use tract_core::ops::nn::{Reduce, Reducer};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct GatedRelativePositionBias {
    heads: usize,
}

impl Wiring for GatedRelativePositionBias {
    const OPERATOR: &'static str = "com.microsoft.GatedRelativePositionBias";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["num_heads"])?;
        if input(node, 6).is_some() {
            return Err(unsupported("queries without padding (token_offset) are not supported"));
        }
        let heads = usize::try_from(int(node, "num_heads", 0)).ok().filter(|heads| *heads > 0);
        Ok(GatedRelativePositionBias { heads: heads.ok_or_else(|| unsupported("num_heads is not positive"))? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[query, query_bias, bias, weight, weight_bias, scale] = inputs else {
            return Err(unsupported("it takes six inputs"));
        };
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let query = composer.binary(add(), query, query_bias)?;
        let query = self.by_head(composer, query)?;
        let weight = composer.wire(AxisOp::Add(0), &[weight])?;
        let weight = composer.wire(AxisOp::Add(0), &[weight])?;
        let projected = composer.wire(MatMul, &[query, weight])?;
        let projected = composer.binary(add(), projected, weight_bias)?;
        let [update, reset] = halves(composer, projected)?;
        let reset = composer.binary(mul(), reset, scale)?;
        let reset = composer.binary_with(add(), reset, -1.0)?;
        let gate = composer.binary(mul(), update, reset)?;
        let gate = composer.binary_with(add(), gate, 2.0)?;
        Ok(tvec!(composer.binary(mul(), gate, bias)?))
    }
}

impl GatedRelativePositionBias {
    /// `[batch, heads, sequence, width of a head]`.
    fn by_head(&self, composer: &mut Composer, query: OutletId) -> TractResult<OutletId> {
        let shape = composer.shape(query)?;
        ensure!(shape.len() == 3, "query_layer must be [batch, sequence, width], not {shape:?}");
        let sizes = [self.heads.to_dim(), shape[2].clone() / self.heads];
        let heads = composer.reshape(query, 2, &shape[2..], &sizes)?;
        composer.wire(AxisOp::Move(2, 1), &[heads])
    }
}

/// The sigmoid of the sum of either half of the last axis, which becomes 1.
fn halves(composer: &mut Composer, projected: OutletId) -> TractResult<[OutletId; 2]> {
    let shape = composer.shape(projected)?;
    let pairs = composer.reshape(projected, 3, &shape[3..], &[2.to_dim(), shape[3].clone() / 2])?;
    let sums = composer.wire(Reduce::new(tvec!(4), Reducer::Sum), &[pairs])?;
    let sums = composer.wire(AxisOp::Rm(4), &[sums])?;
    let gates = composer.wire(Activate(Activation::Sigmoid), &[sums])?;
    Ok([composer.wire(Slice::new(3, 0, 1), &[gates])?, composer.wire(Slice::new(3, 1, 2), &[gates])?])
}
