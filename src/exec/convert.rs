//! Between the caller's tensors and tract's.

use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor, TensorData};
use tract_core::internal::{SymbolValues, TDim, Tensor as TractTensor, TractResult};
use tract_core::prelude::DatumType;

/// The tensor as tract wants it.
pub fn to_tract(tensor: &Tensor) -> Result<TractTensor> {
    let dims = tensor.dims();
    let converted = match tensor.data() {
        TensorData::Float32(data) => TractTensor::from_shape(dims, data),
        TensorData::Float64(data) => TractTensor::from_shape(dims, data),
        TensorData::Float16(data) => widened(dims, data),
        TensorData::BFloat16(data) => widened(dims, data),
        TensorData::Int8(data) => TractTensor::from_shape(dims, data),
        TensorData::UInt8(data) => TractTensor::from_shape(dims, data),
        TensorData::Int16(data) => TractTensor::from_shape(dims, data),
        TensorData::UInt16(data) => TractTensor::from_shape(dims, data),
        TensorData::Int32(data) => TractTensor::from_shape(dims, data),
        TensorData::UInt32(data) => TractTensor::from_shape(dims, data),
        TensorData::Int64(data) => TractTensor::from_shape(dims, data),
        TensorData::UInt64(data) => TractTensor::from_shape(dims, data),
        TensorData::Bool(data) => TractTensor::from_shape(dims, data),
    };
    converted.map_err(|error| Error::invalid_input(error.to_string()))
}

/// tract's tensor as the caller wants it: of the type that the model declares. tract computes shapes as symbolic
/// expressions; their values are int64.
pub fn from_tract(tensor: &TractTensor, declared: DType, symbols: &SymbolValues) -> Result<Tensor> {
    let other =
        || Error::unsupported_op(format!("an output is {:?} instead of {}", tensor.datum_type(), declared.name()));
    let data = elements(tensor, symbols).map_err(|_| other())?.map(|data| rounded(data, declared));
    Tensor::new(tensor.shape(), data.filter(|data| data.dtype() == declared).ok_or_else(other)?)
}

/// Inputs of 16 bits are computed on as float32.
fn widened<T: Copy + Into<f32>>(dims: &[usize], data: &[T]) -> TractResult<TractTensor> {
    TractTensor::from_shape(dims, &data.iter().map(|element| (*element).into()).collect::<Vec<f32>>())
}

/// Outputs of 16 bits have been computed as float32.
fn rounded(data: TensorData, declared: DType) -> TensorData {
    match (data, declared) {
        (TensorData::Float32(data), DType::Float16) => {
            data.into_iter().map(half::f16::from_f32).collect::<Vec<_>>().into()
        }
        (TensorData::Float32(data), DType::BFloat16) => {
            data.into_iter().map(half::bf16::from_f32).collect::<Vec<_>>().into()
        }
        (data, _) => data,
    }
}

fn elements(tensor: &TractTensor, symbols: &SymbolValues) -> TractResult<Option<TensorData>> {
    let view = tensor.try_as_plain_ram()?;
    Ok(Some(match tensor.datum_type() {
        DatumType::F32 => view.as_slice::<f32>()?.to_vec().into(),
        DatumType::F64 => view.as_slice::<f64>()?.to_vec().into(),
        DatumType::F16 => view.as_slice::<half::f16>()?.to_vec().into(),
        DatumType::I8 => view.as_slice::<i8>()?.to_vec().into(),
        DatumType::U8 => view.as_slice::<u8>()?.to_vec().into(),
        DatumType::I16 => view.as_slice::<i16>()?.to_vec().into(),
        DatumType::U16 => view.as_slice::<u16>()?.to_vec().into(),
        DatumType::I32 => view.as_slice::<i32>()?.to_vec().into(),
        DatumType::U32 => view.as_slice::<u32>()?.to_vec().into(),
        DatumType::I64 => view.as_slice::<i64>()?.to_vec().into(),
        DatumType::U64 => view.as_slice::<u64>()?.to_vec().into(),
        DatumType::Bool => view.as_slice::<bool>()?.to_vec().into(),
        DatumType::TDim => {
            let values = view.as_slice::<TDim>()?.iter().map(|dim| Ok(dim.eval(symbols).to_i64()?));
            values.collect::<TractResult<Vec<i64>>>()?.into()
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn sixteen_bits_are_float32_inside() {
        // 1.01 lies between 1 + 2^-7 (bfloat16) and 1 + 10 * 2^-10 (float16).
        let cases: [(TensorData, DType, TensorData); 4] = [
            (vec![f16::from_f32(1.5)].into(), DType::Float16, vec![f16::from_f32(1.5)].into()),
            (vec![bf16::from_f32(1.5)].into(), DType::BFloat16, vec![bf16::from_f32(1.5)].into()),
            (vec![1.01f32].into(), DType::Float16, vec![f16::from_bits(0x3c0a)].into()),
            (vec![1.01f32].into(), DType::BFloat16, vec![bf16::from_bits(0x3f81)].into()),
        ];
        for (data, declared, expected) in cases {
            let inside = to_tract(&Tensor::new(&[1], data).unwrap()).unwrap();
            assert_eq!(inside.datum_type(), DatumType::F32);
            let outside = from_tract(&inside, declared, &SymbolValues::default()).unwrap();
            assert_eq!(outside.data(), &expected);
        }
    }
}
