//! ONNX `Mod` (10 to 28): the remainder of a division, with the sign of the divisor; of the dividend where `fmod` is 1.

use super::binary::wire_operands;
use super::{Composer, Wiring, int, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::logic::{Iff, and, comp_lt, comp_ne, xor};
use tract_core::ops::math::{add, rem};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Mod {
    sign_of_dividend: bool,
}

impl Wiring for Mod {
    const OPERATOR: &'static str = "Mod";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["fmod"])?;
        Ok(Mod { sign_of_dividend: int(node, "fmod", 0) == 1 })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let remainder = wire_operands(prefix, model, rem(), inputs)?[0];
        let datum_type = model.outlet_fact(remainder)?.datum_type;
        if self.sign_of_dividend || datum_type.is_unsigned() || datum_type.is_tdim() {
            return Ok(tvec!(remainder));
        }
        let composer = &mut Composer::new(prefix, model);
        let divisor = composer.cast(inputs[1], datum_type)?;
        let zero = composer.constant(Tensor::zero_scalar_dt(datum_type)?)?;
        let is_negative = || TypedBinOp(comp_lt(), None);
        let signs = [composer.binary(is_negative(), remainder, zero)?, composer.binary(is_negative(), divisor, zero)?];
        let differ = composer.binary(xor(), signs[0], signs[1])?;
        let is_some = composer.binary(TypedBinOp(comp_ne(), None), remainder, zero)?;
        let adjust = composer.binary(and(), differ, is_some)?;
        let adjusted = composer.binary(add(), remainder, divisor)?;
        Ok(tvec!(composer.wire(Iff, &[adjust, adjusted, remainder])?))
    }
}
