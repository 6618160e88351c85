//! [`Tensor`]: named-by-the-caller data crossing the engine's border, in plain Rust memory.

use crate::error::{Error, Result};
use half::{bf16, f16};

macro_rules! tensor_types {
    ($($variant:ident, $type:ty, $onnx:literal;)*) => {
        /// Element type of a [`Tensor`], by the names that `onnxruntime-common` uses.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum DType { $(#[doc = $onnx] #[serde(rename = $onnx)] $variant),* }

        impl DType {
            /// Name of the type in `onnxruntime-common`, e.g. `float32`.
            pub fn name(self) -> &'static str { match self { $(DType::$variant => $onnx),* } }

            /// The type with that name, if there is one.
            pub fn from_name(name: &str) -> Option<DType> { match name { $($onnx => Some(DType::$variant),)* _ => None } }

            /// Bytes per element.
            pub fn size(self) -> usize { match self { $(DType::$variant => size_of::<$type>()),* } }
        }

        /// The elements of a [`Tensor`], row-major.
        #[derive(Debug, Clone, PartialEq)]
        pub enum TensorData { $(#[doc = $onnx] $variant(Vec<$type>)),* }

        impl TensorData {
            /// Element type.
            pub fn dtype(&self) -> DType { match self { $(TensorData::$variant(_) => DType::$variant),* } }

            /// Number of elements.
            pub fn len(&self) -> usize { match self { $(TensorData::$variant(data) => data.len()),* } }
        }

        $(impl From<Vec<$type>> for TensorData { fn from(data: Vec<$type>) -> Self { TensorData::$variant(data) } })*
    };
}

tensor_types! {
    Float32, f32, "float32";
    Float64, f64, "float64";
    Float16, f16, "float16";
    BFloat16, bf16, "bfloat16";
    Int8, i8, "int8";
    UInt8, u8, "uint8";
    Int16, i16, "int16";
    UInt16, u16, "uint16";
    Int32, i32, "int32";
    UInt32, u32, "uint32";
    Int64, i64, "int64";
    UInt64, u64, "uint64";
    Bool, bool, "bool";
}

impl TensorData {
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A dense row-major tensor. `data.len()` equals the product of `dims`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    dims: Vec<usize>,
    data: TensorData,
}

impl Tensor {
    /// A tensor of that shape.
    ///
    /// # Errors
    /// `InvalidInput` when the number of elements is not the product of `dims`.
    pub fn new(dims: &[usize], data: impl Into<TensorData>) -> Result<Tensor> {
        let data = data.into();
        let volume = dims.iter().try_fold(1usize, |volume, dim| volume.checked_mul(*dim));
        if volume != Some(data.len()) {
            return Err(Error::invalid_input(format!(
                "a tensor of shape {dims:?} cannot hold {} elements",
                data.len()
            ))
            .remedy("pass as many elements as the product of the dimensions"));
        }
        Ok(Tensor { dims: dims.to_vec(), data })
    }

    /// Shape.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Elements, row-major.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// Shape and elements.
    pub fn into_parts(self) -> (Vec<usize>, TensorData) {
        (self.dims, self.data)
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The elements as f32.
    ///
    /// # Errors
    /// `InvalidInput` when the tensor holds another type.
    pub fn as_f32(&self) -> Result<&[f32]> {
        match &self.data {
            TensorData::Float32(data) => Ok(data),
            other => Err(Error::invalid_input(format!("expected float32, got {}", other.dtype().name()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn shape_and_elements_must_agree() {
        struct Case {
            dims: &'static [usize],
            elements: usize,
            fits: bool,
        }
        let cases = [
            Case { dims: &[2, 3], elements: 6, fits: true },
            Case { dims: &[], elements: 1, fits: true },
            Case { dims: &[0, 7], elements: 0, fits: true },
            Case { dims: &[2, 3], elements: 5, fits: false },
            Case { dims: &[usize::MAX, 2], elements: 0, fits: false },
        ];
        for case in cases {
            let result = Tensor::new(case.dims, vec![0f32; case.elements]);
            assert_eq!(result.is_ok(), case.fits, "{:?}", case.dims);
            if let Err(error) = result {
                assert_eq!(error.code, ErrorCode::InvalidInput);
            }
        }
    }
}
