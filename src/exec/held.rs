//! [`HeldTensor`]: a result that stays in the engine's memory.

use super::convert::{from_tract, to_tract};
use crate::error::{Error, Result};
use crate::onnx::TensorInfo;
use crate::tensor::{DType, Tensor};
use std::sync::Arc;
use tract_core::internal::{SymbolValues, Tensor as TractTensor};
use tract_core::prelude::{IntoArcTensor, IntoTValue, TValue};

/// A result that stays in the engine's memory, to be fed again without being copied. A cache of keys and values that is held grows
/// in place. Held tensors are immutable and may be fed to any session of the thread, any number of times. Those of float16 and
/// bfloat16 are held unrounded, as the float32 that was computed; copies are rounded.
#[derive(Clone, Debug)]
pub struct HeldTensor {
    value: Arc<TractTensor>,
    dtype: DType,
}

impl HeldTensor {
    /// Keeps an output of the type that the model declares: uncopied where it was computed in the type in which it is fed.
    ///
    /// # Errors
    /// `UnsupportedOp` when the model computed another type than it declares.
    pub(super) fn keep(value: &TValue, dtype: DType, symbols: &SymbolValues) -> Result<HeldTensor> {
        let declared = TensorInfo { name: String::new(), dtype, shape: None };
        let value = if value.datum_type() == declared.datum_type() {
            value.clone().into_arc_tensor()
        } else {
            Arc::new(to_tract(&from_tract(value, dtype, symbols)?)?)
        };
        Ok(HeldTensor { value, dtype })
    }

    /// Shape.
    pub fn dims(&self) -> &[usize] {
        self.value.shape()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// A copy in plain memory.
    ///
    /// # Errors
    /// `UnsupportedOp` when the elements are not laid out one by one.
    pub fn to_tensor(&self) -> Result<Tensor> {
        from_tract(&self.value, self.dtype, &SymbolValues::default())
    }

    /// The elements, where they are float32.
    ///
    /// # Errors
    /// `UnsupportedOp` when they are not laid out one by one.
    pub fn as_float32(&self) -> Result<Option<&[f32]>> {
        if self.dtype != DType::Float32 {
            return Ok(None);
        }
        let elements = self.value.try_as_plain_ram().and_then(|plain| plain.as_slice::<f32>());
        elements.map(Some).map_err(|error| Error::unsupported_op(error.to_string()))
    }

    pub(super) fn value(&self) -> TValue {
        self.value.clone().into_tvalue()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::tensor::TensorData;
    use half::{bf16, f16};
    use tract_core::internal::TDim;
    use tract_core::prelude::{DatumType, tensor1};

    #[test]
    fn outputs_are_held_in_the_type_in_which_they_are_fed() {
        struct Case {
            computed: TractTensor,
            declared: DType,
            /// In which type it is held, whether that takes a copy, and what a caller gets of it.
            held: Option<(DatumType, bool, TensorData)>,
        }
        // 1.01 lies between 1 + 2^-7 (bfloat16) and 1 + 10 * 2^-10 (float16).
        let cases = [
            Case {
                computed: tensor1(&[1.01f32]),
                declared: DType::Float32,
                held: Some((DatumType::F32, false, vec![1.01f32].into())),
            },
            Case {
                computed: tensor1(&[1.01f32]),
                declared: DType::Float16,
                held: Some((DatumType::F32, false, vec![f16::from_bits(0x3c0a)].into())),
            },
            Case {
                computed: tensor1(&[1.01f32]),
                declared: DType::BFloat16,
                held: Some((DatumType::F32, false, vec![bf16::from_bits(0x3f81)].into())),
            },
            Case {
                computed: tensor1(&[f16::from_f32(1.5)]),
                declared: DType::Float16,
                held: Some((DatumType::F32, true, vec![f16::from_f32(1.5)].into())),
            },
            Case {
                computed: tensor1(&[TDim::from(3)]),
                declared: DType::Int64,
                held: Some((DatumType::I64, true, vec![3i64].into())),
            },
            Case { computed: tensor1(&[1f32]), declared: DType::Float64, held: None },
            Case { computed: tensor1(&[1f64]), declared: DType::Float32, held: None },
            Case { computed: tensor1(&[1i32]), declared: DType::Int64, held: None },
            Case { computed: tensor1(&[1u8]), declared: DType::Bool, held: None },
        ];
        for Case { computed, declared, held } in cases {
            let what = format!("{:?} as {}", computed.datum_type(), declared.name());
            let computed = computed.into_tvalue();
            let kept = HeldTensor::keep(&computed, declared, &SymbolValues::default());
            match (kept, held) {
                (Ok(kept), Some((datum_type, copied, data))) => {
                    assert_eq!((kept.value.datum_type(), kept.dtype()), (datum_type, declared), "{what}");
                    assert_eq!(!Arc::ptr_eq(&kept.value, &computed.into_arc_tensor()), copied, "{what}");
                    assert_eq!(kept.to_tensor().unwrap().data(), &data, "{what}");
                    let elements = kept.as_float32().unwrap().map(|elements| elements.to_vec().into());
                    assert_eq!(elements, (declared == DType::Float32).then_some(data), "{what}");
                }
                (Err(error), None) => assert_eq!(error.code, ErrorCode::UnsupportedOp, "{what}"),
                (kept, _) => panic!("{what}: {kept:?}"),
            }
        }
    }
}
