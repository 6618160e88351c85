//! com.microsoft `SkipSimplifiedLayerNormalization`: `input`, `skip` of the same shape or without its batch, `gamma`,
//! optional `bias`. Outputs: the rows of `input + skip + bias` divided by their root mean square; zeros for a mean, and the
//! inverse of that root, in float32; that sum. Attribute: `epsilon`.

use super::compose::Composer;
use super::normalise::Kind;
use super::skip_layer_normalization::SkipNormalization;
use super::{Wiring, input};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct SkipSimplifiedLayerNormalization(SkipNormalization);

impl Wiring for SkipSimplifiedLayerNormalization {
    const OPERATOR: &'static str = "com.microsoft.SkipSimplifiedLayerNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        let skip = SkipNormalization::parse(node, Kind::RootMeanSquare, None, input(node, 3))?;
        Ok(SkipSimplifiedLayerNormalization(skip))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(&mut Composer::new(prefix, model), inputs)
    }
}
