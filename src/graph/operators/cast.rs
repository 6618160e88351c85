//! ONNX `Cast` (7 to 28) to the types that tract lacks: float16 and bfloat16, where the cast is there to lose bits, become
//! f32 rounded to their values; int4, uint4, int2 and uint2 are held as int8 and uint8. Floats become integers as ONNX Runtime
//! makes them. `CastLike` (15 to 25) casts to the type of its second input. float8 and
//! narrower floats are refused; `saturate` and `round_mode` concern only those.

use super::{Wiring, int, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::onnx::pb::tensor_proto::DataType;
use crate::onnx::{BFLOAT16, element_type};
use crate::ops::cast_to_integer::CastToInteger;
use crate::ops::plain::PlainOperator;
use crate::ops::{NarrowInteger, QuantizedType, RoundFloat};
use tract_core::internal::*;
use tract_core::ops::cast::{cast, wire_cast};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Cast {
    target: Target,
}

#[derive(Debug, Clone)]
enum Target {
    Rounded(RoundFloat),
    Narrow(QuantizedType),
    Type(DatumType),
}

/// ONNX `CastLike`.
#[derive(Debug, Clone)]
pub struct CastLike;

impl Wiring for Cast {
    const OPERATOR: &'static str = "Cast";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["to", "saturate", "round_mode"])?;
        let to = int(node, "to", 0) as i32;
        let target = if to == DataType::String as i32 {
            Target::Type(String::datum_type())
        } else if to == DataType::Float16 as i32 {
            Target::Rounded(RoundFloat::Float16)
        } else if to == BFLOAT16 {
            Target::Rounded(RoundFloat::BFloat16)
        } else {
            match element_type(to)? {
                element if element.bits < 8 => {
                    Target::Narrow(QuantizedType { bits: element.bits as u32, signed: element.signed })
                }
                element => Target::Type(element.held_as),
            }
        };
        Ok(Cast { target })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        match &self.target {
            Target::Rounded(round) => {
                let wide = wire_cast(prefix, model, inputs, f32::datum_type())?;
                model.wire_node(prefix, *round, &wide)
            }
            Target::Narrow(target) => {
                let is_float = model.outlet_fact(inputs[0])?.datum_type.is_float();
                let held = if is_float { f32::datum_type() } else { i64::datum_type() };
                let input = wire_cast(prefix, model, inputs, held)?;
                model.wire_node(prefix, NarrowInteger(*target), &input)
            }
            // What is computed with sizes may stay symbolic.
            Target::Type(DatumType::I64) if !model.outlet_fact(inputs[0])?.datum_type.is_float() => {
                model.wire_node(prefix, cast(TDim::datum_type()), inputs)
            }
            Target::Type(to) => convert(prefix, model, inputs[0], *to),
        }
    }
}

impl Wiring for CastLike {
    const OPERATOR: &'static str = "CastLike";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["saturate", "round_mode"])?;
        Ok(CastLike)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let to = model.outlet_fact(inputs[1])?.datum_type;
        convert(prefix, model, inputs[0], to)
    }
}

/// Casts, floats to integers as ONNX Runtime does.
fn convert(prefix: &str, model: &mut TypedModel, input: OutletId, to: DatumType) -> TractResult<TVec<OutletId>> {
    if model.outlet_fact(input)?.datum_type.is_float() && to.is_integer() {
        return model.wire_node(prefix, PlainOperator(CastToInteger { to }), &[input]);
    }
    model.wire_node(prefix, cast(to), &[input])
}
