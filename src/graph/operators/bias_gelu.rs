//! com.microsoft `BiasGelu`: the exact GELU of `A + B`, float32, where `B` is `[width]`.

use super::compose::Composer;
use super::{Wiring, is_f32, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct BiasGelu;

impl Wiring for BiasGelu {
    const OPERATOR: &'static str = "com.microsoft.BiasGelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(BiasGelu)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let sum = composer.binary(add(), inputs[0], inputs[1])?;
        Ok(tvec!(composer.wire(Activate(Activation::Gelu), &[sum])?))
    }
}
