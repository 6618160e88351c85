//! com.microsoft `FastGelu`: the GELU by the tanh approximation of `X`, float32, plus optionally `bias` `[width]`.

use super::compose::Composer;
use super::{Wiring, is_f32, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct FastGelu;

impl Wiring for FastGelu {
    const OPERATOR: &'static str = "com.microsoft.FastGelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(FastGelu)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let x = match *inputs {
            [x, bias] => composer.binary(add(), x, bias)?,
            _ => inputs[0],
        };
        Ok(tvec!(composer.wire(Activate(Activation::GeluTanh), &[x])?))
    }
}
