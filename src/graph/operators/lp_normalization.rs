//! ONNX `LpNormalization` (1 to 22) of floating-point tensors: each slice along an axis divided by its norm; zeros stay zeros.
//! Attributes: `axis`, `p` 1 or 2.

use super::reduce::of_floats;
use super::{Composer, Wiring, axis_of, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::Reducer;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::logic::{Iff, comp_eq};
use tract_core::ops::math::div;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct LpNormalization {
    axis: i64,
    norm: Reducer,
}

impl Wiring for LpNormalization {
    const OPERATOR: &'static str = "LpNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis", "p"])?;
        let norm = match int(node, "p", 2) {
            1 => Reducer::L1,
            2 => Reducer::L2,
            other => return Err(unsupported(format!("`p` of {other} is not supported"))),
        };
        Ok(LpNormalization { axis: int(node, "axis", -1), norm })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let TypedFact { datum_type, shape, .. } = composer.fact(inputs[0])?.clone();
        let axis = axis_of(self.axis, shape.rank())?;
        let norm = of_floats(composer, self.norm, inputs[0], &[axis])?;
        let ones = Tensor::from_shape(&vec![1; shape.rank()], &[1f32])?.cast_to_dt(datum_type)?.into_owned();
        let one = composer.constant(ones)?;
        let zero = composer.constant(Tensor::zero_scalar_dt(datum_type)?)?;
        let is_zero = composer.binary(TypedBinOp(comp_eq(), None), norm, zero)?;
        let divisor = composer.wire(Iff, &[is_zero, one, norm])?;
        Ok(tvec!(composer.binary(div(), inputs[0], divisor)?))
    }
}
