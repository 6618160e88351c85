//! Constants as bytes.

use super::reader::{Reader, malformed};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::kernels::packed::{BlockWeights, Packed, Parts};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tract_onnx::prelude::{DatumType, Tensor, tract_ndarray};
use tract_onnx::tract_hir::internal::{IntoTensor, TDim};

/// The types of elements that are stored, sizes among them.
const TYPES: [DatumType; 13] = [
    DatumType::Bool,
    DatumType::U8,
    DatumType::U16,
    DatumType::U32,
    DatumType::U64,
    DatumType::I8,
    DatumType::I16,
    DatumType::I32,
    DatumType::I64,
    DatumType::F16,
    DatumType::F32,
    DatumType::F64,
    DatumType::TDim,
];

/// Type and shape of a constant.
#[derive(Serialize, Deserialize)]
pub struct TensorForm {
    datum_type: usize,
    shape: Vec<usize>,
}

/// The number of a type; of one that is not stored, a number that is none.
fn number(datum_type: DatumType) -> usize {
    TYPES.iter().position(|own| *own == datum_type).unwrap_or(TYPES.len())
}

fn of_number(number: usize) -> Result<DatumType> {
    TYPES.get(number).copied().ok_or_else(|| malformed("there is no such type"))
}

impl Packed for Tensor {
    type Form = TensorForm;

    fn form(&self) -> TensorForm {
        TensorForm { datum_type: number(self.datum_type()), shape: self.shape().to_vec() }
    }

    fn parts(&self) -> Vec<&[u8]> {
        self.as_plain_ram().map(|plain| plain.as_bytes()).into_iter().collect()
    }

    fn from_parts(form: TensorForm, _: Option<Arc<BlockWeights>>, parts: &mut dyn Parts) -> Result<Tensor> {
        let TensorForm { datum_type, shape } = form;
        let datum_type = of_number(datum_type)?;
        let bytes = shape.iter().try_fold(datum_type.size_of(), |bytes, size| bytes.checked_mul(*size));
        if datum_type == DatumType::TDim || bytes != Some(parts.next_len()?) {
            return Err(malformed("a constant has other elements than its shape says"));
        }
        let mut tensor =
            Tensor::zero_dt(datum_type, &shape).map_err(|error| Error::out_of_memory(error.to_string()))?;
        let mut plain = tensor.try_as_plain_ram_mut().map_err(|error| Error::internal(error.to_string()))?;
        // Bytes other than 0 and 1 are no booleans: they are read elsewhere first.
        if datum_type == DatumType::Bool {
            let mut bytes = vec![0; bytes.unwrap_or(0)];
            parts.read_next(&mut bytes)?;
            let elements = plain.as_slice_mut::<bool>().map_err(|error| Error::internal(error.to_string()))?;
            elements.iter_mut().zip(bytes).for_each(|(element, byte)| *element = byte != 0);
        } else {
            parts.read_next(plain.as_bytes_mut())?;
        }
        Ok(tensor)
    }
}

impl<'a> Writer<'a> {
    /// Writes the type of a value's elements.
    pub fn datum_type(&mut self, datum_type: DatumType) -> Result<()> {
        match number(datum_type) {
            number if number < TYPES.len() => self.value(&number),
            _ => Err(Error::unsupported_op(format!("values of type {datum_type:?} cannot be saved"))),
        }
    }

    /// Writes a constant.
    pub fn tensor(&mut self, tensor: &'a Arc<Tensor>) -> Result<()> {
        self.datum_type(tensor.datum_type())?;
        if tensor.datum_type() != DatumType::TDim {
            return self.once(Arc::as_ptr(tensor) as usize, |writer| writer.packed(&**tensor));
        }
        let sizes = tensor.try_as_plain_ram().and_then(|plain| plain.as_slice::<TDim>());
        self.value(tensor.shape())?;
        self.expressions(sizes.map_err(|error| Error::internal(error.to_string()))?)
    }
}

impl Reader<'_> {
    /// Reads the type of a value's elements.
    pub fn datum_type(&mut self) -> Result<DatumType> {
        of_number(self.value()?)
    }

    /// Reads a constant.
    pub fn tensor(&mut self) -> Result<Arc<Tensor>> {
        if self.datum_type()? != DatumType::TDim {
            return self.once(|reader| reader.packed().map(Arc::new));
        }
        let (shape, sizes): (Vec<usize>, _) = (self.value()?, self.expressions()?);
        let sizes = tract_ndarray::ArrayD::from_shape_vec(shape, sizes.into_vec());
        let sizes = sizes.map_err(|_| malformed("a constant has other elements than its shape says"))?;
        Ok(Arc::new(sizes.into_tensor()))
    }
}
