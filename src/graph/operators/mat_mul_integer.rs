//! ONNX `MatMulInteger` (10): `A` and `B` int8 or uint8 of any rank; optional zero points, of `A` one or one for each row,
//! of `B` one or one for each column. Output: int32.

use super::compose::Composer;
use super::quantized::integer_product;
use super::{Wiring, input, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MatMulInteger {
    zero_points: [Option<usize>; 2],
}

impl Wiring for MatMulInteger {
    const OPERATOR: &'static str = "MatMulInteger";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(MatMulInteger { zero_points: [input(node, 2), input(node, 3)] })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let zero_points = self.zero_points.map(|position| position.map(|at| inputs[at]));
        Ok(tvec!(integer_product(composer, [inputs[0], inputs[1]], zero_points)?))
    }
}
