//! [`WeightStore`]: an initializer's elements, read when they are wanted.

use super::ReadAt;
use super::element::{self, Element};
use super::index::{Initializer, Place};
use super::narrow::unpack;
use crate::error::{Error, Result};
use crate::onnx::pb;
use tract_core::prelude::{DatumType, Tensor};

/// A file that holds weights beside the model.
pub struct ExternalFile {
    /// Path as the model names it, relative to the model's folder.
    pub path: String,
    /// Its bytes.
    pub source: Box<dyn ReadAt>,
}

/// Where a model's weights are read from.
pub struct WeightStore<'a> {
    model: &'a dyn ReadAt,
    external: &'a [ExternalFile],
}

impl<'a> WeightStore<'a> {
    /// The weights of a model file and of the files beside it.
    pub fn new(model: &'a dyn ReadAt, external: &'a [ExternalFile]) -> WeightStore<'a> {
        WeightStore { model, external }
    }

    /// The initializer's elements, in the type that the graph gets.
    ///
    /// # Errors
    /// `InvalidModel` when shape and bytes disagree, `UnsupportedOp` for an element type that is not supported,
    /// `InvalidInput` when a file beside the model was not supplied, `OutOfMemory` when there is no room for it.
    pub fn read(&self, initializer: &Initializer) -> Result<Tensor> {
        let named = |error: Error| error.tensor(&*initializer.name).file(self.model.name());
        let shape = shape(&initializer.dims).map_err(named)?;
        let stored = self.read_stored(initializer, &shape).map_err(named)?;
        if initializer.wired_type == initializer.data_type {
            return Ok(stored);
        }
        held(stored, element::of(initializer.data_type).map_err(named)?, &shape).map_err(named)
    }

    /// The elements as they are stored: float16 as such, bfloat16 as the uint16 of its bits, narrower ones than a byte as
    /// the bytes that they are packed in.
    fn read_stored(&self, initializer: &Initializer, shape: &[usize]) -> Result<Tensor> {
        let element = element::of(initializer.data_type)?;
        let volume: usize = shape.iter().product();
        let (datum_type, shape) = match element.bits {
            bits @ 2..8 => (DatumType::U8, &[volume.div_ceil(8 / bits)][..]),
            16 if element.held_as == DatumType::F32 => (DatumType::U16, shape),
            _ => (element.held_as, shape),
        };
        let wanted = shape
            .iter()
            .try_fold(datum_type.size_of(), |bytes, dim| bytes.checked_mul(*dim))
            .ok_or_else(|| Error::invalid_model(format!("shape {shape:?} is too large")))?;
        match &initializer.place {
            Place::Inline { offset, len } => {
                same_length(wanted, *len)?;
                self.read_bytes(self.model, *offset, datum_type, shape)
            }
            Place::External { path, offset, len } => {
                same_length(wanted, len.unwrap_or(wanted as u64))?;
                let file = self.external_file(path)?;
                if offset.checked_add(wanted as u64).is_none_or(|end| end > file.len()) {
                    return Err(super::read_at::ends_early(file, *offset, wanted));
                }
                self.read_bytes(file, *offset, datum_type, shape)
            }
            Place::Proto(proto) => from_proto(proto, datum_type, shape, wanted),
        }
    }

    fn external_file(&self, path: &str) -> Result<&dyn ReadAt> {
        let file = self.external.iter().find(|file| file.path == path).ok_or_else(|| {
            Error::invalid_input(format!("the weights lie in `{path}` beside the model, which was not supplied"))
                .remedy("pass that file as external data, under exactly that path")
        })?;
        Ok(&*file.source)
    }

    fn read_bytes(&self, source: &dyn ReadAt, offset: u64, datum_type: DatumType, shape: &[usize]) -> Result<Tensor> {
        let mut tensor = zeros(datum_type, shape)?;
        source.read_at(offset, tensor.as_bytes_mut())?;
        checked(tensor)
    }
}

fn shape(dims: &[i64]) -> Result<Vec<usize>> {
    let shape: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let shape = shape.ok_or_else(|| Error::invalid_model(format!("shape {dims:?} has a negative dimension")))?;
    shape
        .iter()
        .try_fold(1usize, |volume, dim| volume.checked_mul(*dim))
        .filter(|volume| *volume <= isize::MAX as usize)
        .ok_or_else(|| Error::invalid_model(format!("shape {dims:?} is too large")))?;
    Ok(shape)
}

fn same_length(wanted: usize, given: u64) -> Result<()> {
    if wanted as u64 == given {
        return Ok(());
    }
    Err(Error::invalid_model(format!("its shape takes {wanted} bytes, but {given} are stored"))
        .remedy("the file is corrupted: fetch or export it again"))
}

/// Stored elements in the type that the graph gets.
fn held(stored: Tensor, element: Element, shape: &[usize]) -> Result<Tensor> {
    let volume: usize = shape.iter().product();
    let mut held = zeros(element.held_as, shape)?;
    match (element.bits, element.held_as) {
        (..8, DatumType::I8 | DatumType::U8) => {
            let elements = unpack(stored.as_bytes(), element, volume);
            held.as_bytes_mut().iter_mut().zip(elements).for_each(|(held, element)| *held = element as u8);
        }
        (16, DatumType::F32) => {
            let (bits, _) = stored.as_bytes().as_chunks::<2>();
            let (floats, _) = held.as_bytes_mut().as_chunks_mut::<4>();
            for (float, [low, high]) in floats.iter_mut().zip(bits) {
                *float = [0, 0, *low, *high];
            }
        }
        // float16
        _ => {
            let widened = stored.cast_to::<f32>().map_err(|error| Error::unsupported_op(error.to_string()))?;
            return Ok(widened.into_owned());
        }
    }
    Ok(held)
}

/// Reserves the memory before tract does, so that running out of it is an error and not an abort.
fn zeros(datum_type: DatumType, shape: &[usize]) -> Result<Tensor> {
    let bytes = shape.iter().product::<usize>() * datum_type.size_of();
    let no_memory = || {
        Error::out_of_memory(format!("no memory for a weight of {bytes} bytes"))
            .remedy("use a smaller or more strongly quantised model")
    };
    let mut probe: Vec<u8> = Vec::new();
    probe.try_reserve_exact(bytes).map_err(|_| no_memory())?;
    drop(probe);
    Tensor::zero_dt(datum_type, shape).map_err(|_| no_memory())
}

/// Any byte is a valid element except for booleans, which must be 0 or 1.
fn checked(tensor: Tensor) -> Result<Tensor> {
    if tensor.datum_type() == DatumType::Bool && tensor.as_bytes().iter().any(|byte| *byte > 1) {
        return Err(Error::invalid_model("a boolean is neither 0 nor 1"));
    }
    Ok(tensor)
}

/// The tensor that a `TensorProto` without external data holds.
///
/// # Errors
/// `InvalidModel` when shape and bytes disagree, `UnsupportedOp` for an element type that is not supported.
pub fn tensor_from_proto(proto: &pb::TensorProto) -> Result<Tensor> {
    if !proto.external_data.is_empty() {
        return Err(Error::unsupported_op("external data is supported for weights of the main graph only"));
    }
    let datum_type = element::of(proto.data_type)?.held_as;
    let shape = shape(&proto.dims)?;
    let volume: usize = shape.iter().product();
    let wanted = volume
        .checked_mul(datum_type.size_of())
        .ok_or_else(|| Error::invalid_model(format!("shape {shape:?} is too large")))?;
    from_proto(proto, datum_type, &shape, wanted)
}

fn from_proto(proto: &pb::TensorProto, datum_type: DatumType, shape: &[usize], wanted: usize) -> Result<Tensor> {
    if !proto.raw_data.is_empty() || wanted == 0 {
        same_length(wanted, proto.raw_data.len() as u64)?;
        return bytes_to_tensor(&proto.raw_data, datum_type, shape);
    }
    let bytes: Vec<u8> = match datum_type {
        DatumType::F32 => proto.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        DatumType::F64 => proto.double_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        DatumType::I64 => proto.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        DatumType::U64 => proto.uint64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        DatumType::U32 => proto.uint64_data.iter().flat_map(|value| (*value as u32).to_le_bytes()).collect(),
        // The narrower types are stored in the low bytes of int32_data (onnx.proto, TensorProto).
        _ => proto
            .int32_data
            .iter()
            .flat_map(|value| value.to_le_bytes().into_iter().take(datum_type.size_of()))
            .collect(),
    };
    same_length(wanted, bytes.len() as u64)?;
    bytes_to_tensor(&bytes, datum_type, shape)
}

fn bytes_to_tensor(bytes: &[u8], datum_type: DatumType, shape: &[usize]) -> Result<Tensor> {
    let mut tensor = zeros(datum_type, shape)?;
    tensor.as_bytes_mut().copy_from_slice(bytes);
    checked(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    struct Case {
        what: &'static str,
        proto: pb::TensorProto,
        expected: Result<Vec<u8>, ErrorCode>,
    }

    fn case(what: &'static str, proto: pb::TensorProto, expected: Result<Vec<u8>, ErrorCode>) -> Case {
        Case { what, proto, expected }
    }

    #[test]
    fn elements_and_their_errors() {
        let proto = pb::TensorProto::default;
        let cases = [
            case(
                "float_data",
                pb::TensorProto { data_type: 1, dims: vec![1], float_data: vec![1.0], ..proto() },
                Ok(vec![0, 0, 128, 63]),
            ),
            case(
                "raw int64 scalar",
                pb::TensorProto { data_type: 7, raw_data: vec![2, 0, 0, 0, 0, 0, 0, 0], ..proto() },
                Ok(vec![2, 0, 0, 0, 0, 0, 0, 0]),
            ),
            case(
                "float16 bits in int32_data, held as float32",
                pb::TensorProto { data_type: 10, dims: vec![1], int32_data: vec![0x3c00], ..proto() },
                Ok(vec![0, 0, 0x80, 0x3f]),
            ),
            case(
                "int8 in int32_data",
                pb::TensorProto { data_type: 3, dims: vec![2], int32_data: vec![-1, 5], ..proto() },
                Ok(vec![255, 5]),
            ),
            case("empty", pb::TensorProto { data_type: 1, dims: vec![0, 3], ..proto() }, Ok(vec![])),
            case(
                "too few bytes",
                pb::TensorProto { data_type: 1, dims: vec![4], raw_data: vec![0; 15], ..proto() },
                Err(ErrorCode::InvalidModel),
            ),
            case(
                "negative dimension",
                pb::TensorProto { data_type: 1, dims: vec![-1], raw_data: vec![0; 4], ..proto() },
                Err(ErrorCode::InvalidModel),
            ),
            case(
                "2^60 elements",
                pb::TensorProto { data_type: 1, dims: vec![1 << 30, 1 << 30], raw_data: vec![0; 4], ..proto() },
                Err(ErrorCode::InvalidModel),
            ),
            case(
                "2^120 elements",
                pb::TensorProto { data_type: 1, dims: vec![1 << 60, 1 << 60], raw_data: vec![0; 4], ..proto() },
                Err(ErrorCode::InvalidModel),
            ),
            case(
                "boolean 2",
                pb::TensorProto { data_type: 9, dims: vec![1], raw_data: vec![2], ..proto() },
                Err(ErrorCode::InvalidModel),
            ),
            case(
                "bfloat16, held as float32",
                pb::TensorProto { data_type: 16, dims: vec![2], raw_data: vec![0x80, 0x3f, 0, 0xc0], ..proto() },
                Ok(vec![0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]),
            ),
            case(
                "int4",
                pb::TensorProto { data_type: 22, dims: vec![3], raw_data: vec![0x8f, 0x07], ..proto() },
                Ok(vec![0xff, 0xf8, 7]),
            ),
            case(
                "uint4 in int32_data",
                pb::TensorProto { data_type: 21, dims: vec![3], int32_data: vec![0x8f, 0x07], ..proto() },
                Ok(vec![15, 8, 7]),
            ),
            case(
                "int4, too few bytes",
                pb::TensorProto { data_type: 22, dims: vec![3], raw_data: vec![0x8f], ..proto() },
                Err(ErrorCode::InvalidModel),
            ),
            case(
                "float8",
                pb::TensorProto { data_type: 17, dims: vec![1], raw_data: vec![0], ..proto() },
                Err(ErrorCode::UnsupportedOp),
            ),
            case("no such type", pb::TensorProto { data_type: 99, ..proto() }, Err(ErrorCode::InvalidModel)),
        ];
        for case in cases {
            let (data_type, dims) = (case.proto.data_type, case.proto.dims.clone());
            let place = Place::Proto(Box::new(case.proto));
            let wired_type = element::wired_type(data_type);
            let initializer = Initializer { name: "weight".into(), data_type, wired_type, dims, place };
            let model: (&str, &[u8]) = ("model.onnx", &[]);
            let result = WeightStore::new(&model, &[]).read(&initializer);
            let result = result.map(|tensor| tensor.as_bytes().to_vec()).map_err(|error| error.code);
            assert_eq!(result, case.expected, "{}", case.what);
        }
    }

    #[test]
    fn external_data() {
        let model: (&str, &[u8]) = ("model.onnx", &[]);
        let file = ExternalFile { path: "weights.bin".into(), source: Box::new(("weights.bin", &[1u8, 2, 3, 4][..])) };
        let cases = [
            ("weights.bin", 2, 2, Ok(vec![3, 4])),
            ("weights.bin", 3, 2, Err(ErrorCode::InvalidModel)),
            ("weights.bin", u64::MAX, 2, Err(ErrorCode::InvalidModel)),
            ("weights.bin", 0, 3, Err(ErrorCode::InvalidModel)),
            ("../weights.bin", 0, 2, Err(ErrorCode::InvalidInput)),
        ];
        for (path, offset, len, expected) in cases {
            let place = Place::External { path: path.into(), offset, len: Some(len) };
            let initializer = Initializer { name: "weight".into(), data_type: 2, wired_type: 2, dims: vec![2], place };
            let result = WeightStore::new(&model, std::slice::from_ref(&file)).read(&initializer);
            let result = result.map(|tensor| tensor.as_bytes().to_vec()).map_err(|error| error.code);
            assert_eq!(result, expected, "{path} at {offset}");
        }
    }
}
