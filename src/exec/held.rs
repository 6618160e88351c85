//! [`HeldTensor`]: a result that stays in the engine's memory.

use super::convert::{from_tract, to_tract};
use crate::error::Result;
use crate::tensor::{DType, Tensor};
use std::sync::Arc;
use tract_onnx::prelude::{DatumType, IntoArcTensor, IntoTValue, TValue};
use tract_onnx::tract_hir::internal::{SymbolValues, Tensor as TractTensor};

/// A result that stays in the engine's memory, to be fed again without being copied. A cache of keys and values that is held grows
/// in place. Held tensors are immutable and may be fed to any session of the thread, any number of times.
#[derive(Clone, Debug)]
pub struct HeldTensor {
    value: Arc<TractTensor>,
    dtype: DType,
}

impl HeldTensor {
    /// Keeps an output of the type that the model declares.
    pub(super) fn keep(value: &TValue, dtype: DType, symbols: &SymbolValues) -> Result<HeldTensor> {
        let value = match value.datum_type() {
            DatumType::TDim => Arc::new(to_tract(&from_tract(value, dtype, symbols)?)?),
            _ => value.clone().into_arc_tensor(),
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
    /// `UnsupportedOp` when the model computed another type than it declares.
    pub fn to_tensor(&self) -> Result<Tensor> {
        from_tract(&self.value, self.dtype, &SymbolValues::default())
    }

    pub(super) fn value(&self) -> TValue {
        self.value.clone().into_tvalue()
    }
}
