//! Named tensors in safetensors files. <https://huggingface.co/docs/safetensors>

use crate::error::{Error, Result};
use crate::tensor::{Tensor, TensorData};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// Reads every tensor of a file.
///
/// # Errors
/// `NetworkError` when the file cannot be read, `InvalidInput` when it is not a safetensors file or holds a type that ONNX
/// lacks.
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        Error::network(format!("the file cannot be read: {error}")).file(&*file).remedy("check the path")
    })?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| {
        Error::invalid_input(format!("not a safetensors file: {error}"))
            .file(&*file)
            .remedy("write it with safetensors")
    })?;
    let named = |(name, view): (String, TensorView)| {
        let tensor = from_view(&view).map_err(|error| error.tensor(&*name).file(&*file))?;
        Ok((name, tensor))
    };
    tensors.tensors().into_iter().map(named).collect()
}

/// Writes tensors to a file, which is replaced if it exists.
///
/// # Errors
/// `NetworkError` when the file cannot be written.
pub fn write(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let failed =
        |error: String| Error::network(format!("the file cannot be written: {error}")).file(path.display().to_string());
    let bytes: Vec<(Dtype, Vec<u8>)> = tensors.iter().map(|(_, tensor)| to_bytes(tensor.data())).collect();
    let mut views = Vec::new();
    for ((name, tensor), (dtype, bytes)) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(*dtype, tensor.dims().to_vec(), bytes).map_err(|error| failed(error.to_string()))?;
        views.push((name.clone(), view));
    }
    safetensors::serialize_to_file(views, None, path).map_err(|error| failed(error.to_string()))
}

macro_rules! element_types {
    ($($variant:ident, $dtype:ident, $type:ty;)*) => {
        fn from_view(view: &TensorView) -> Result<Tensor> {
            let data: TensorData = match view.dtype() {
                $(Dtype::$dtype => elements::<$type, { size_of::<$type>() }>(view.data(), <$type>::from_le_bytes).into(),)*
                Dtype::BOOL => view.data().iter().map(|byte| *byte != 0).collect::<Vec<bool>>().into(),
                other => return Err(Error::invalid_input(format!("tensors of type {other:?} are not supported"))),
            };
            Tensor::new(view.shape(), data)
        }

        fn to_bytes(data: &TensorData) -> (Dtype, Vec<u8>) {
            match data {
                $(TensorData::$variant(data) => {
                    (Dtype::$dtype, data.iter().flat_map(|element| element.to_le_bytes()).collect())
                })*
                TensorData::Bool(data) => (Dtype::BOOL, data.iter().map(|element| u8::from(*element)).collect()),
            }
        }
    };
}

element_types! {
    Float32, F32, f32;
    Float64, F64, f64;
    Float16, F16, f16;
    BFloat16, BF16, bf16;
    Int8, I8, i8;
    UInt8, U8, u8;
    Int16, I16, i16;
    UInt16, U16, u16;
    Int32, I32, i32;
    UInt32, U32, u32;
    Int64, I64, i64;
    UInt64, U64, u64;
}

fn elements<T, const SIZE: usize>(bytes: &[u8], from_le_bytes: fn([u8; SIZE]) -> T) -> Vec<T> {
    bytes.as_chunks::<SIZE>().0.iter().map(|element| from_le_bytes(*element)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_a_file() {
        let path = std::env::temp_dir().join(format!("sottovoce-{}.safetensors", std::process::id()));
        let tensors: Vec<(String, Tensor)> = vec![
            ("floats".into(), Tensor::new(&[2, 1], vec![1.5f32, -2.0]).unwrap()),
            ("halves".into(), Tensor::new(&[1], vec![f16::from_f32(0.5)]).unwrap()),
            ("ids".into(), Tensor::new(&[], vec![-7i64]).unwrap()),
            ("mask".into(), Tensor::new(&[3], vec![true, false, true]).unwrap()),
            ("none".into(), Tensor::new(&[0, 4], Vec::<u8>::new()).unwrap()),
        ];
        write(&path, &tensors).unwrap();
        let mut read_back = read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        read_back.sort_by(|left, right| left.0.cmp(&right.0));
        assert_eq!(read_back, tensors);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(read(Path::new("Cargo.toml")).is_err());
        assert!(read(Path::new("no such file")).is_err());
    }
}
