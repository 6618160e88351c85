//! ONNX `DequantizeLinear` (10 to 28): `x` int8, uint8, int16, uint16, int32, int4, uint4, int2 or uint2, f32 scales,
//! optional zero points of `x`'s type; per tensor, per axis and in blocks; constant or not. float8 is refused.
//! com.microsoft `DequantizeLinear` (1) is the same with one scale, or one for each index of an axis.

use super::{Wiring, int, is_f32, unsupported};
use crate::onnx::pb::NodeProto;
use crate::onnx::{NARROW_TYPE, PACKED, element_type};
use crate::ops::QuantizedType;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct DequantizeLinear {
    axis: i64,
    block_size: usize,
    packed: Option<QuantizedType>,
}

impl Wiring for DequantizeLinear {
    const OPERATOR: &'static str = "DequantizeLinear";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["axis", "block_size", "output_dtype", NARROW_TYPE, PACKED])?;
        if !matches!(int(node, "output_dtype", 0), 0 | 1) {
            return Err(unsupported("this output type is not supported, only floats of 16 and 32 bits"));
        }
        let block_size = usize::try_from(int(node, "block_size", 0)).context("block_size is negative")?;
        Ok(DequantizeLinear { axis: int(node, "axis", 1), block_size, packed: packed(node)? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[1..2])? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let axis = super::scale_axis(model, inputs, self.axis)?;
        let operator = crate::ops::DequantizeLinear { axis, block_size: self.block_size, packed: self.packed };
        model.wire_node(prefix, operator, inputs)
    }
}

/// The type of the values of a node's first input, where several lie in a byte.
fn packed(node: &NodeProto) -> TractResult<Option<QuantizedType>> {
    if int(node, PACKED, 0) == 0 {
        return Ok(None);
    }
    let element = element_type(int(node, NARROW_TYPE, 0) as i32)?;
    Ok(Some(QuantizedType { bits: element.bits as u32, signed: element.signed }))
}

/// com.microsoft `DequantizeLinear`.
#[derive(Debug, Clone)]
pub struct MicrosoftDequantizeLinear(DequantizeLinear);

impl Wiring for MicrosoftDequantizeLinear {
    const OPERATOR: &'static str = "com.microsoft.DequantizeLinear";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        DequantizeLinear::parse(node, opset).map(MicrosoftDequantizeLinear)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs)
    }
}
