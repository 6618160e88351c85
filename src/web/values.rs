//! Tensors and plain objects, to and from JavaScript.

use super::errors::from_js;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor, TensorData};
use half::f16;
use js_sys::{
    Array, BigInt64Array, BigUint64Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Object,
    Reflect, Uint8Array, Uint16Array, Uint32Array,
};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsValue};

/// A property of an object; `undefined` where it is missing.
pub fn property(object: &JsValue, name: &str) -> Result<JsValue> {
    Reflect::get(object, &name.into()).map_err(|thrown| from_js(&thrown))
}

/// A property that is a string.
pub fn string_property(object: &JsValue, name: &str) -> Result<String> {
    property(object, name)?.as_string().ok_or_else(|| Error::invalid_input(format!("`{name}` must be a string")))
}

/// An object with these properties.
pub fn object(properties: &[(&str, JsValue)]) -> Result<JsValue> {
    let object = Object::new();
    for (name, value) in properties {
        Reflect::set(&object, &(*name).into(), value).map_err(|thrown| from_js(&thrown))?;
    }
    Ok(object.into())
}

/// A serialisable value as the text of its JSON.
pub fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(error.to_string()))
}

/// A tensor of a type by its name, and of the elements that such a tensor has.
pub fn tensor_from_js(kind: &str, dims: &[f64], data: &JsValue) -> Result<Tensor> {
    let dtype = DType::from_name(kind)
        .ok_or_else(|| Error::invalid_input(format!("tensors of type {kind} are not supported")))?;
    let whole = |dim: &f64| (*dim >= 0.0 && dim.fract() == 0.0).then_some(*dim as usize);
    let dims: Option<Vec<usize>> = dims.iter().map(whole).collect();
    let dims = dims.ok_or_else(|| Error::invalid_input("`dims` must be whole numbers"))?;
    Tensor::new(&dims, elements(dtype, data)?)
}

fn elements(dtype: DType, data: &JsValue) -> Result<TensorData> {
    fn typed<T: JsCast + Clone>(data: &JsValue, dtype: DType) -> Result<T> {
        let wrong = || Error::invalid_input(format!("`data` is not the typed array that {} wants", dtype.name()));
        data.dyn_ref::<T>().cloned().ok_or_else(wrong)
    }
    Ok(match dtype {
        DType::Float32 => typed::<Float32Array>(data, dtype)?.to_vec().into(),
        DType::Float64 => typed::<Float64Array>(data, dtype)?.to_vec().into(),
        DType::Int8 => typed::<Int8Array>(data, dtype)?.to_vec().into(),
        DType::UInt8 => typed::<Uint8Array>(data, dtype)?.to_vec().into(),
        DType::Int16 => typed::<Int16Array>(data, dtype)?.to_vec().into(),
        DType::UInt16 => typed::<Uint16Array>(data, dtype)?.to_vec().into(),
        DType::Int32 => typed::<Int32Array>(data, dtype)?.to_vec().into(),
        DType::UInt32 => typed::<Uint32Array>(data, dtype)?.to_vec().into(),
        DType::Int64 => typed::<BigInt64Array>(data, dtype)?.to_vec().into(),
        DType::UInt64 => typed::<BigUint64Array>(data, dtype)?.to_vec().into(),
        DType::Bool => {
            let bytes = typed::<Uint8Array>(data, dtype)?.to_vec();
            bytes.into_iter().map(|byte| byte != 0).collect::<Vec<bool>>().into()
        }
        DType::Float16 => {
            let bits = typed::<Uint16Array>(data, dtype)?.to_vec();
            bits.into_iter().map(f16::from_bits).collect::<Vec<f16>>().into()
        }
        DType::BFloat16 => return Err(Error::invalid_input("tensors of type bfloat16 are not supported")),
    })
}

/// A tensor as `{ type, dims, data }`.
pub fn tensor_to_js(tensor: &Tensor) -> Result<JsValue> {
    let dims: Array = tensor.dims().iter().map(|dim| JsValue::from_f64(*dim as f64)).collect();
    object(&[("type", tensor.dtype().name().into()), ("dims", dims.into()), ("data", elements_to_js(tensor)?)])
}

/// A tensor's elements as a typed array.
pub fn elements_to_js(tensor: &Tensor) -> Result<JsValue> {
    Ok(match tensor.data() {
        TensorData::Float32(data) => Float32Array::from(&**data).into(),
        TensorData::Float64(data) => Float64Array::from(&**data).into(),
        TensorData::Int8(data) => Int8Array::from(&**data).into(),
        TensorData::UInt8(data) => Uint8Array::from(&**data).into(),
        TensorData::Int16(data) => Int16Array::from(&**data).into(),
        TensorData::UInt16(data) => Uint16Array::from(&**data).into(),
        TensorData::Int32(data) => Int32Array::from(&**data).into(),
        TensorData::UInt32(data) => Uint32Array::from(&**data).into(),
        TensorData::Int64(data) => BigInt64Array::from(&**data).into(),
        TensorData::UInt64(data) => BigUint64Array::from(&**data).into(),
        TensorData::Bool(data) => {
            Uint8Array::from(&*data.iter().map(|element| u8::from(*element)).collect::<Vec<u8>>()).into()
        }
        TensorData::Float16(data) => {
            Uint16Array::from(&*data.iter().map(|element| element.to_bits()).collect::<Vec<u16>>()).into()
        }
        TensorData::BFloat16(_) => return Err(Error::unsupported_op("an output is bfloat16, which is not supported")),
    })
}
