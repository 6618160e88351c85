//! com.microsoft `BiasAdd`: `X + bias + skip`, where `bias` is `[channels]`.

use super::compose::Composer;
use super::{Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct BiasAdd;

impl Wiring for BiasAdd {
    const OPERATOR: &'static str = "com.microsoft.BiasAdd";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(BiasAdd)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[x, bias, skip] = inputs else { bail!("BiasAdd takes 3 inputs") };
        let composer = &mut Composer::new(prefix, model);
        let sum = composer.binary(add(), x, bias)?;
        Ok(tvec!(composer.binary(add(), sum, skip)?))
    }
}
