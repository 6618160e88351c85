//! Between the caller's tensors and tract's.

use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor, TensorData};
use tract_onnx::prelude::DatumType;
use tract_onnx::tract_hir::internal::{SymbolValues, TDim, Tensor as TractTensor, TractResult};

/// The tensor as tract wants it.
pub fn to_tract(tensor: &Tensor) -> Result<TractTensor> {
    let dims = tensor.dims();
    let converted = match tensor.data() {
        TensorData::Float32(data) => TractTensor::from_shape(dims, data),
        TensorData::Float64(data) => TractTensor::from_shape(dims, data),
        TensorData::Float16(data) => TractTensor::from_shape(dims, data),
        TensorData::Int8(data) => TractTensor::from_shape(dims, data),
        TensorData::UInt8(data) => TractTensor::from_shape(dims, data),
        TensorData::Int16(data) => TractTensor::from_shape(dims, data),
        TensorData::UInt16(data) => TractTensor::from_shape(dims, data),
        TensorData::Int32(data) => TractTensor::from_shape(dims, data),
        TensorData::UInt32(data) => TractTensor::from_shape(dims, data),
        TensorData::Int64(data) => TractTensor::from_shape(dims, data),
        TensorData::UInt64(data) => TractTensor::from_shape(dims, data),
        TensorData::Bool(data) => TractTensor::from_shape(dims, data),
        TensorData::BFloat16(_) => return Err(Error::unsupported_op("bfloat16 tensors are not supported")),
    };
    converted.map_err(|error| Error::invalid_input(error.to_string()))
}

/// tract's tensor as the caller wants it: of the type that the model declares. tract computes shapes as symbolic
/// expressions; their values are int64.
pub fn from_tract(tensor: &TractTensor, declared: DType, symbols: &SymbolValues) -> Result<Tensor> {
    let other =
        || Error::unsupported_op(format!("an output is {:?} instead of {}", tensor.datum_type(), declared.name()));
    let data = elements(tensor, symbols).map_err(|_| other())?.filter(|data| data.dtype() == declared);
    Tensor::new(tensor.shape(), data.ok_or_else(other)?)
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
