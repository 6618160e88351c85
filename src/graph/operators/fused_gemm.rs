//! com.microsoft `FusedGemm`: a `Gemm` and an activation. Attributes: those of `Gemm`; `activation`, and of that its
//! `activation_alpha`, `activation_beta` and `activation_gamma`.

use super::compose::Composer;
use super::gemm::Gemm;
use super::named_activation::NamedActivation;
use super::{Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct FusedGemm {
    gemm: Gemm,
    activation: NamedActivation,
}

impl Wiring for FusedGemm {
    const OPERATOR: &'static str = "com.microsoft.FusedGemm";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[&Gemm::ATTRIBUTES[..], &NamedActivation::ATTRIBUTES].concat())?;
        Ok(FusedGemm { gemm: Gemm::of(node), activation: NamedActivation::of(node)? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let product = self.gemm.compose(composer, inputs)?;
        Ok(tvec!(self.activation.wire(composer, product)?))
    }
}
