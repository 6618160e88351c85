//! com.microsoft `DynamicQuantizeMatMul` (1): f32 `A`, which is quantised to uint8; `B` int8 or uint8; its f32 scales, one or
//! one for each column; optional zero points likewise; optional f32 bias. Output: f32.

use super::compose::Composer;
use super::quantized::{integer_product, last_axis, scaled};
use super::{Wiring, input, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::DynamicQuantizeLinear;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::math::add;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct DynamicQuantizeMatMul {
    zero_point: Option<usize>,
    bias: Option<usize>,
}

impl Wiring for DynamicQuantizeMatMul {
    const OPERATOR: &'static str = "com.microsoft.DynamicQuantizeMatMul";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(DynamicQuantizeMatMul { zero_point: input(node, 3), bias: input(node, 4) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &[inputs[0], inputs[2]])? {
            return Err(unsupported("only floats of 16 and 32 bits are supported"));
        }
        let quantize = PlainOperator(DynamicQuantizeLinear);
        let a = model.wire_node(format!("{prefix}.quantized"), quantize, &inputs[..1])?;
        let composer = &mut Composer::new(prefix, model);
        let zero_points = [Some(a[2]), self.zero_point.map(|at| inputs[at])];
        let sums = integer_product(composer, [a[0], inputs[1]], zero_points)?;
        let axis = last_axis(composer, sums)?;
        let mut output = scaled(composer, sums, [a[1], inputs[2]], axis)?;
        if let Some(bias) = self.bias {
            output = composer.binary(add(), output, inputs[bias])?;
        }
        Ok(tvec!(output))
    }
}
