//! ONNX `Softplus` (1): `ln(e^x + 1)`, as `max(x, 0) + ln(1 + e^-|x|)`, which does not overflow.

use super::compose::Composer;
use super::{Wiring, only_attributes};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::math::{abs, add, exp, ln, max, neg};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Softplus;

impl Wiring for Softplus {
    const OPERATOR: &'static str = "Softplus";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(Softplus)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        Ok(Some(tvec!(softplus(&mut Composer::new(prefix, model), inputs[0])?)))
    }
}

/// Wires the softplus of an outlet.
pub fn softplus(composer: &mut Composer, x: OutletId) -> TractResult<OutletId> {
    let distance = composer.wire(abs(), &[x])?;
    let distance = composer.wire(neg(), &[distance])?;
    let power = composer.wire(exp(), &[distance])?;
    let sum = composer.binary_with(add(), power, 1.0)?;
    let logarithm = composer.wire(ln(), &[sum])?;
    let positive = composer.binary_with(max(), x, 0.0)?;
    composer.binary(add(), positive, logarithm)
}
