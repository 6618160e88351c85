//! ONNX `PRelu` (7 to 16): `x` where it is not negative, else `slope · x`; `slope` broadcasts to `x`.

use super::{Composer, Wiring, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::logic::{Iff, comp_lt};
use tract_core::ops::math::mul;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct PRelu;

impl Wiring for PRelu {
    const OPERATOR: &'static str = "PRelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| PRelu)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let scaled = composer.binary(mul(), inputs[0], inputs[1])?;
        let zero = composer.constant(Tensor::zero_scalar_dt(composer.fact(inputs[0])?.datum_type)?)?;
        let is_negative = composer.binary(TypedBinOp(comp_lt(), None), inputs[0], zero)?;
        Ok(tvec!(composer.wire(Iff, &[is_negative, scaled, inputs[0]])?))
    }
}
