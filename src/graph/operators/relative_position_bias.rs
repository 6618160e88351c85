//! com.microsoft `RelativePositionBias`: T5's bias of each head for each distance between a query and a key.
//!
//! Inputs: `bias_table` f32, `[buckets, heads]` as its shape says while its elements lie head by head; `query_length` and
//! `key_length`, equal integers, which may be symbolic. Output: f32 `[1, heads, query_length, key_length]`.
//! Attributes: `max_distance`, positive; `is_bidirectional`, 0 by default.

use super::compose::Composer;
use super::{Wiring, constant, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::RelativePositionBucket;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::array::{Gather, Range};
use tract_core::ops::math::sub;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct RelativePositionBias {
    max_distance: i64,
    bidirectional: bool,
}

impl Wiring for RelativePositionBias {
    const OPERATOR: &'static str = "com.microsoft.RelativePositionBias";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["max_distance", "is_bidirectional"])?;
        let max_distance = int(node, "max_distance", 0);
        if max_distance <= 0 {
            return Err(unsupported(format!("max_distance is {max_distance}, not positive")));
        }
        Ok(RelativePositionBias { max_distance, bidirectional: int(node, "is_bidirectional", 0) == 1 })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[..1])? {
            return Err(unsupported("only a float32 bias_table is supported"));
        }
        let length = length(model, inputs[1])?;
        if length != self::length(model, inputs[2])? {
            return Err(unsupported("query_length is not key_length"));
        }
        let composer = &mut Composer::new(prefix, model);
        let buckets = self.buckets(composer, inputs[0])?;
        let table = by_head(composer, inputs[0])?;
        let relative = relative_positions(composer, length)?;
        let bucket = composer.wire(PlainOperator(buckets), &[relative])?;
        let bias = composer.wire(Gather::new(1), &[table, bucket])?;
        Ok(tvec!(composer.wire(AxisOp::Add(0), &[bias])?))
    }
}

impl RelativePositionBias {
    fn buckets(&self, composer: &Composer, table: OutletId) -> TractResult<RelativePositionBucket> {
        let shape = composer.shape(table)?;
        let buckets = shape[0].to_i64().map_err(|_| unsupported("bias_table has no fixed number of buckets"))?;
        let exact = if self.bidirectional { buckets / 4 } else { buckets / 2 };
        if exact < 1 || self.max_distance <= exact {
            return Err(unsupported(format!("{buckets} buckets for distances up to {}", self.max_distance)));
        }
        let (max_distance, bidirectional) = (self.max_distance, self.bidirectional);
        Ok(RelativePositionBucket { buckets, max_distance, bidirectional })
    }
}

fn length(model: &TypedModel, outlet: OutletId) -> TractResult<TDim> {
    let length = constant(model, outlet)?.context("a length is not known")?;
    ensure!(length.len() == 1, "{length:?} is no length");
    Ok(length.cast_to::<TDim>()?.try_as_plain_ram()?.as_slice::<TDim>()?[0].clone())
}

/// The table as its elements lie: `[heads, buckets]`.
fn by_head(composer: &mut Composer, table: OutletId) -> TractResult<OutletId> {
    let shape = composer.shape(table)?;
    ensure!(shape.len() == 2, "bias_table must be [buckets, heads], not {shape:?}");
    composer.reshape(table, 0, &shape, &[shape[1].clone(), shape[0].clone()])
}

/// The position of each key minus that of each query: `[length, length]`.
fn relative_positions(composer: &mut Composer, length: TDim) -> TractResult<OutletId> {
    let bounds = [0.to_dim(), length.clone(), 1.to_dim()];
    let bounds = bounds.into_iter().map(|bound| composer.constant(tensor0(bound))).collect::<TractResult<TVec<_>>>()?;
    let positions = composer.wire(Range::new(length), &bounds)?;
    let of_queries = composer.wire(AxisOp::Add(1), &[positions])?;
    composer.binary(sub(), positions, of_queries)
}
