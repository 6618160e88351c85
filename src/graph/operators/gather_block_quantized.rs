//! com.microsoft `GatherBlockQuantized` (1): rows of a table of 2, 4 or 8 bits with f32 scales in blocks along
//! `quantize_axis`, gathered along `gather_axis` and dequantised.
//!
//! Inputs: data int4, uint4 or uint8; indices int32 or int64; scales f32; optional zero points of data's type. In uint8
//! data, and its zero points, several values of `bits` bits lie in a byte along the last axis, which is `quantize_axis`, and
//! `gather_axis` is 0 and not that axis; int4 and uint4 may be gathered along `quantize_axis` too. Without zero points each is
//! half the range of the values in uint8 data, and 0 for int4 and uint4. float8 and float4 are refused. An index out of range is
//! an error, where ONNX Runtime gives zeros.

use super::{Wiring, input, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::onnx::{NARROW_TYPE, PACKED, element_type};
use crate::ops::{CheckIndices, DequantizeLinear, QuantizedType};
use tract_core::internal::*;
use tract_core::ops::array::{Gather, Slice};
use tract_core::ops::cast::wire_cast;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct GatherBlockQuantized {
    gather_axis: i64,
    quantize_axis: i64,
    block_size: usize,
    zero_points: Option<usize>,
    data: Data,
}

#[derive(Debug, Clone, Copy)]
enum Data {
    /// int4 or uint4, perhaps two in a byte.
    Narrow { packed: Option<QuantizedType> },
    /// uint8 that holds values of so many bits.
    Bytes { bits: u32 },
}

impl Wiring for GatherBlockQuantized {
    const OPERATOR: &'static str = "com.microsoft.GatherBlockQuantized";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["gather_axis", "quantize_axis", "block_size", "bits", NARROW_TYPE, PACKED])?;
        let block_size = int(node, "block_size", 128);
        let block_size = usize::try_from(block_size).ok().filter(|size| *size >= 16 && size.is_power_of_two());
        let bits = int(node, "bits", 4);
        let data = match int(node, NARROW_TYPE, 0) {
            0 if matches!(bits, 2 | 4 | 8) => Data::Bytes { bits: bits as u32 },
            data_type if data_type != 0 && bits == 4 => {
                let element = element_type(data_type as i32)?;
                let packed = QuantizedType { bits: element.bits as u32, signed: element.signed };
                Data::Narrow { packed: (int(node, PACKED, 0) == 1).then_some(packed) }
            }
            _ => return Err(unsupported(format!("{bits} bits are not supported for this type of data"))),
        };
        Ok(GatherBlockQuantized {
            gather_axis: int(node, "gather_axis", 0),
            quantize_axis: int(node, "quantize_axis", 1),
            block_size: block_size.context("block_size is a power of two and at least 16")?,
            zero_points: input(node, 3),
            data,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[2..3])? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let data = model.outlet_fact(inputs[0])?;
        let (rank, is_bytes) = (data.rank(), data.datum_type == u8::datum_type());
        let axis = |axis: i64| {
            let axis = if axis < 0 { axis + rank as i64 } else { axis };
            usize::try_from(axis).ok().filter(|axis| *axis < rank).context("an axis is out of range")
        };
        let (gather_axis, quantize_axis) = (axis(self.gather_axis)?, axis(self.quantize_axis)?);
        let (packed, zero_point) = match self.data {
            Data::Bytes { bits } => {
                let fits = is_bytes && gather_axis == 0 && quantize_axis + 1 == rank && rank > 1;
                ensure!(fits, "uint8 data is gathered along the first axis and quantised along the last");
                let packed = (bits < 8).then_some(QuantizedType { bits, signed: false });
                (packed, Some(1u8 << (bits - 1)))
            }
            Data::Narrow { packed } => (packed, None),
        };
        let indices = wire_cast(format!("{prefix}.indices"), model, &inputs[1..2], i64::datum_type())?[0];
        let check = CheckIndices { axis: gather_axis };
        let indices = model.wire_node(format!("{prefix}.check"), check, &[indices, inputs[0]])?[0];
        if gather_axis == quantize_axis {
            let operands: TVec<OutletId> =
                [0, 2].into_iter().chain(self.zero_points).map(|position| inputs[position]).collect();
            let dequantize = DequantizeLinear { axis: quantize_axis, block_size: self.block_size, packed };
            let table = model.wire_node(format!("{prefix}.table"), dequantize, &operands)?[0];
            return model.wire_node(prefix, Gather::new(gather_axis), &[table, indices]);
        }
        let index_rank = model.outlet_fact(indices)?.rank();
        let gather = |model: &mut TypedModel, what: &str, outlet: OutletId| {
            let name = format!("{prefix}.{what}");
            model.wire_node(name, Gather::new(gather_axis), &[outlet, indices]).map(|outlets| outlets[0])
        };
        let mut gathered = tvec!(gather(model, "data", inputs[0])?, gather(model, "scales", inputs[2])?);
        if let Some(position) = self.zero_points {
            let zero_points = gather(model, "zero_points", inputs[position])?;
            gathered.push(match (self.data, packed) {
                (Data::Bytes { .. }, Some(packed)) => unpack(prefix, model, zero_points, packed, gathered[1])?,
                _ => zero_points,
            });
        } else if let Some(zero_point) = zero_point {
            gathered.push(model.add_const(format!("{prefix}.zero_point"), tensor0(zero_point))?);
        }
        let axis = if quantize_axis < gather_axis { quantize_axis } else { quantize_axis + index_rank - 1 };
        let dequantize = DequantizeLinear { axis, block_size: self.block_size, packed };
        model.wire_node(prefix, dequantize, &gathered)
    }
}

/// Zero points with several in a byte as f32, as many along the last axis as there are scales.
fn unpack(
    prefix: &str,
    model: &mut TypedModel,
    zero_points: OutletId,
    packed: QuantizedType,
    scales: OutletId,
) -> TractResult<OutletId> {
    let shape = model.outlet_fact(scales)?.shape.clone();
    let axis = shape.rank() - 1;
    let one = model.add_const(format!("{prefix}.one"), tensor0(1f32))?;
    let unpack = DequantizeLinear { axis, block_size: 0, packed: Some(packed) };
    let unpacked = model.wire_node(format!("{prefix}.unpack"), unpack, &[zero_points, one])?;
    let slice = Slice::new(axis, 0, shape[axis].clone());
    Ok(model.wire_node(format!("{prefix}.slice"), slice, &unpacked)?[0])
}
