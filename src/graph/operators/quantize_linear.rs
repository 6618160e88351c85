//! ONNX `QuantizeLinear` (10 to 28): `x` f32 or int32, f32 scales, optional zero points; to int8, uint8, int16, uint16,
//! int4, uint4, int2 or uint2; per tensor, per axis and in blocks; constant or not. The quotient is computed in f32
//! whatever `precision` says; `saturate` concerns only float8, which is refused. com.microsoft `QuantizeLinear` (1) is the
//! same with one scale, or one for each index of an axis.

use super::{Wiring, int, is_f32, unsupported};
use crate::onnx::element_type;
use crate::onnx::pb::NodeProto;
use crate::ops::QuantizedType;
use tract_core::internal::*;
use tract_core::ops::cast::wire_cast;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QuantizeLinear {
    axis: i64,
    block_size: usize,
    output: Option<QuantizedType>,
}

impl Wiring for QuantizeLinear {
    const OPERATOR: &'static str = "QuantizeLinear";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["axis", "saturate", "block_size", "output_dtype", "precision"])?;
        if !matches!(int(node, "precision", 0), 0 | 1) {
            return Err(unsupported("only floats of 16 and 32 bits are supported as precision"));
        }
        let output = match int(node, "output_dtype", 0) as i32 {
            0 => None,
            data_type => {
                let element = element_type(data_type)?;
                if element.bits > 16 || element.held_as.is_float() || element.held_as == DatumType::Bool {
                    return Err(unsupported("only integers of 2 to 16 bits are supported as output type"));
                }
                Some(QuantizedType { bits: element.bits as u32, signed: element.signed })
            }
        };
        let block_size = usize::try_from(int(node, "block_size", 0)).context("block_size is negative")?;
        Ok(QuantizeLinear { axis: int(node, "axis", 1), block_size, output })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let output = match (self.output, inputs.get(2)) {
            (Some(output), _) => Some(output),
            (None, Some(zero_point)) => QuantizedType::of(model.outlet_fact(*zero_point)?.datum_type),
            (None, None) => Some(QuantizedType::UINT8),
        };
        let output = output.ok_or_else(|| unsupported("only integers of 2 to 16 bits are supported as output type"))?;
        let mut inputs: TVec<OutletId> = inputs.into();
        if model.outlet_fact(inputs[0])?.datum_type == i32::datum_type() {
            inputs[0] = wire_cast(prefix, model, &inputs[..1], f32::datum_type())?[0];
        }
        if !is_f32(model, &inputs[..2])? {
            return Err(unsupported("only float scales and values of 16 and 32 bits are supported"));
        }
        let axis = super::scale_axis(model, &inputs, self.axis)?;
        let operator = crate::ops::QuantizeLinear { axis, block_size: self.block_size, output };
        model.wire_node(prefix, operator, &inputs)
    }
}

/// com.microsoft `QuantizeLinear`.
#[derive(Debug, Clone)]
pub struct MicrosoftQuantizeLinear(QuantizeLinear);

impl Wiring for MicrosoftQuantizeLinear {
    const OPERATOR: &'static str = "com.microsoft.QuantizeLinear";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        QuantizeLinear::parse(node, opset).map(MicrosoftQuantizeLinear)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs)
    }
}
