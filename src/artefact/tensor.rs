//! Constants as bytes.

use super::reader::{Reader, malformed};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::kernels::packed::Parts;
use std::sync::Arc;
use tract_core::internal::{IntoTensor, TDim};
use tract_core::prelude::{DatumType, Tensor, tract_ndarray};

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

/// The number of a type; of one that is not stored, a number that is none.
fn number(datum_type: DatumType) -> usize {
    TYPES.iter().position(|own| *own == datum_type).unwrap_or(TYPES.len())
}

fn of_number(number: usize) -> Result<DatumType> {
    TYPES.get(number).copied().ok_or_else(|| malformed("there is no such type"))
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
        let is_sizes = tensor.datum_type() == DatumType::TDim;
        self.value(&is_sizes)?;
        if !is_sizes {
            return self.once(Arc::as_ptr(tensor) as usize, |writer| writer.numbers(tensor));
        }
        let sizes = tensor.try_as_plain_ram().and_then(|plain| plain.as_slice::<TDim>());
        self.value(tensor.shape())?;
        self.expressions(sizes.map_err(|error| Error::internal(error.to_string()))?)
    }

    /// Writes a tensor of numbers.
    pub fn numbers(&mut self, tensor: &'a Tensor) -> Result<()> {
        let plain = tensor.as_plain_ram().ok_or_else(|| Error::internal("a constant lies nowhere"))?;
        self.datum_type(tensor.datum_type())?;
        self.value(tensor.shape())?;
        self.part(plain.as_bytes())
    }
}

impl Reader<'_> {
    /// Reads the type of a value's elements.
    pub fn datum_type(&mut self) -> Result<DatumType> {
        of_number(self.value()?)
    }

    /// Reads a constant.
    pub fn tensor(&mut self) -> Result<Arc<Tensor>> {
        let is_sizes: bool = self.value()?;
        if !is_sizes {
            return self.once(|reader| reader.numbers().map(Arc::new));
        }
        let (shape, sizes): (Vec<usize>, _) = (self.value()?, self.expressions()?);
        let sizes = tract_ndarray::ArrayD::from_shape_vec(shape, sizes.into_vec());
        let sizes = sizes.map_err(|_| malformed("a constant has other elements than its shape says"))?;
        Ok(Arc::new(sizes.into_tensor()))
    }

    /// Reads a tensor of numbers.
    pub fn numbers(&mut self) -> Result<Tensor> {
        let (datum_type, shape): (_, Vec<usize>) = (self.datum_type()?, self.value()?);
        let bytes = shape.iter().try_fold(datum_type.size_of(), |bytes, size| bytes.checked_mul(*size));
        if datum_type == DatumType::TDim || bytes != Some(self.next_len()?) {
            return Err(malformed("a constant has other elements than its shape says"));
        }
        let mut tensor =
            Tensor::zero_dt(datum_type, &shape).map_err(|error| Error::out_of_memory(error.to_string()))?;
        let mut plain = tensor.try_as_plain_ram_mut().map_err(|error| Error::internal(error.to_string()))?;
        // Bytes other than 0 and 1 are no booleans: they are read elsewhere first.
        if datum_type == DatumType::Bool {
            let mut bytes = vec![0; bytes.unwrap_or(0)];
            self.read_next(&mut bytes)?;
            let elements = plain.as_slice_mut::<bool>().map_err(|error| Error::internal(error.to_string()))?;
            elements.iter_mut().zip(bytes).for_each(|(element, byte)| *element = byte != 0);
        } else {
            self.read_next(plain.as_bytes_mut())?;
        }
        Ok(tensor)
    }
}
