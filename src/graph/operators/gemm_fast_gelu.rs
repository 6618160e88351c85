//! com.microsoft `GemmFastGelu`: the GELU by the tanh approximation of `X × W + bias`, float32; `bias` is optional.

use super::compose::Composer;
use super::mat_mul::product;
use super::{Wiring, is_f32, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct GemmFastGelu;

impl Wiring for GemmFastGelu {
    const OPERATOR: &'static str = "com.microsoft.GemmFastGelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(GemmFastGelu)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        ensure!(inputs.len() >= 2, "it takes 2 or 3 inputs");
        let composer = &mut Composer::new(prefix, model);
        let mut x = product(composer, inputs[0], inputs[1])?;
        if let Some(bias) = inputs.get(2) {
            x = composer.binary(add(), x, *bias)?;
        }
        Ok(tvec!(composer.wire(Activate(Activation::GeluTanh), &[x])?))
    }
}
