//! ONNX's element types, and how the engine holds them.

use crate::error::{Error, Result};
use crate::onnx::pb::tensor_proto::DataType;
use crate::tensor::DType;
use tract_core::prelude::DatumType;

/// `TensorProto.DataType` of bfloat16.
pub const BFLOAT16: i32 = DataType::Bfloat16 as i32;
/// `TensorProto.DataType` of 2-bit unsigned integers (ONNX 1.20).
pub const UINT2: i32 = 25;
/// `TensorProto.DataType` of 2-bit signed integers (ONNX 1.20).
pub const INT2: i32 = 26;

/// How elements are stored in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Bits that an element takes.
    pub bits: usize,
    /// Whether it may be negative.
    pub signed: bool,
    /// The type of the tensor that holds such elements; bfloat16 is held as float32, 4 and 2 bits as int8 and uint8.
    pub held_as: DatumType,
}

/// How elements of a `TensorProto.DataType` are stored and held.
///
/// # Errors
/// `UnsupportedOp` for a type that is not supported, `InvalidModel` for a number that ONNX does not define.
pub fn of(data_type: i32) -> Result<Element> {
    let unsigned = |held_as| element(held_as, false);
    let signed = |held_as| element(held_as, true);
    Ok(match (DataType::try_from(data_type), data_type) {
        (Ok(DataType::Float), _) => signed(DatumType::F32),
        (Ok(DataType::Double), _) => signed(DatumType::F64),
        (Ok(DataType::Float16), _) => signed(DatumType::F16),
        (Ok(DataType::Bfloat16), _) => Element { bits: 16, ..signed(DatumType::F32) },
        (Ok(DataType::Int8), _) => signed(DatumType::I8),
        (Ok(DataType::Uint8), _) => unsigned(DatumType::U8),
        (Ok(DataType::Int16), _) => signed(DatumType::I16),
        (Ok(DataType::Uint16), _) => unsigned(DatumType::U16),
        (Ok(DataType::Int32), _) => signed(DatumType::I32),
        (Ok(DataType::Uint32), _) => unsigned(DatumType::U32),
        (Ok(DataType::Int64), _) => signed(DatumType::I64),
        (Ok(DataType::Uint64), _) => unsigned(DatumType::U64),
        (Ok(DataType::Bool), _) => unsigned(DatumType::Bool),
        (Ok(DataType::Int4), _) => Element { bits: 4, ..signed(DatumType::I8) },
        (Ok(DataType::Uint4), _) => Element { bits: 4, ..unsigned(DatumType::U8) },
        (_, INT2) => Element { bits: 2, ..signed(DatumType::I8) },
        (_, UINT2) => Element { bits: 2, ..unsigned(DatumType::U8) },
        (Ok(DataType::Undefined), _) | (Err(_), ..17 | 29..) => {
            return Err(Error::invalid_model(format!("{data_type} is no element type that ONNX defines")));
        }
        (Ok(other), _) => return Err(unsupported(&format!("{other:?}").to_lowercase())),
        (Err(_), _) => return Err(unsupported("float4, float6 or float8")),
    })
}

fn element(held_as: DatumType, signed: bool) -> Element {
    Element { bits: held_as.size_of() * 8, signed, held_as }
}

fn unsupported(name: &str) -> Error {
    Error::unsupported_op(format!("tensors of type {name} are not supported"))
        .remedy("export the model with float32, float16, bfloat16 or integer weights")
}

/// `TensorProto.DataType` of the tensor that holds elements of a type.
pub fn wired_type(data_type: i32) -> i32 {
    let wired = match of(data_type) {
        Ok(Element { bits: 2 | 4, signed: true, .. }) => DataType::Int8,
        Ok(Element { bits: 2 | 4, signed: false, .. }) => DataType::Uint8,
        _ if data_type == DataType::Float16 as i32 || data_type == BFLOAT16 => DataType::Float,
        _ => return data_type,
    };
    wired as i32
}

/// What a caller feeds to an input, or gets from an output, of a type.
///
/// # Errors
/// Those of [`of`].
pub fn dtype(data_type: i32) -> Result<DType> {
    if data_type == BFLOAT16 {
        return Ok(DType::BFloat16);
    }
    Ok(match of(data_type)?.held_as {
        DatumType::F64 => DType::Float64,
        DatumType::F16 => DType::Float16,
        DatumType::I8 => DType::Int8,
        DatumType::U8 => DType::UInt8,
        DatumType::I16 => DType::Int16,
        DatumType::U16 => DType::UInt16,
        DatumType::I32 => DType::Int32,
        DatumType::U32 => DType::UInt32,
        DatumType::I64 => DType::Int64,
        DatumType::U64 => DType::UInt64,
        DatumType::Bool => DType::Bool,
        _ => DType::Float32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn types_and_what_holds_them() {
        struct Case {
            data_type: i32,
            bits: usize,
            wired_type: i32,
            dtype: DType,
        }
        let cases = [
            Case { data_type: 1, bits: 32, wired_type: 1, dtype: DType::Float32 },
            Case { data_type: 7, bits: 64, wired_type: 7, dtype: DType::Int64 },
            Case { data_type: 9, bits: 8, wired_type: 9, dtype: DType::Bool },
            Case { data_type: 10, bits: 16, wired_type: 1, dtype: DType::Float16 },
            Case { data_type: 11, bits: 64, wired_type: 11, dtype: DType::Float64 },
            Case { data_type: 16, bits: 16, wired_type: 1, dtype: DType::BFloat16 },
            Case { data_type: 21, bits: 4, wired_type: 2, dtype: DType::UInt8 },
            Case { data_type: 22, bits: 4, wired_type: 3, dtype: DType::Int8 },
            Case { data_type: 25, bits: 2, wired_type: 2, dtype: DType::UInt8 },
            Case { data_type: 26, bits: 2, wired_type: 3, dtype: DType::Int8 },
        ];
        for case in cases {
            let found = (of(case.data_type).unwrap().bits, wired_type(case.data_type), dtype(case.data_type).unwrap());
            assert_eq!(found, (case.bits, case.wired_type, case.dtype), "{}", case.data_type);
        }
        for (data_type, code) in [
            (0, ErrorCode::InvalidModel),
            (-1, ErrorCode::InvalidModel),
            (99, ErrorCode::InvalidModel),
            (8, ErrorCode::UnsupportedOp),
            (17, ErrorCode::UnsupportedOp),
            (23, ErrorCode::UnsupportedOp),
            (24, ErrorCode::UnsupportedOp),
        ] {
            assert_eq!(of(data_type).unwrap_err().code, code, "{data_type}");
        }
    }
}
