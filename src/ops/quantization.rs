//! What the quantised operators share: their integer types, and which scale belongs to which element.

use std::ops::Range;
use tract_core::internal::*;

/// An integer type of quantised tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct QuantizedType {
    /// 2, 4, 8 or 16.
    pub bits: u32,
    /// Whether it may be negative.
    pub signed: bool,
}

impl QuantizedType {
    /// uint8.
    pub const UINT8: QuantizedType = QuantizedType { bits: 8, signed: false };
    /// int8.
    pub const INT8: QuantizedType = QuantizedType { bits: 8, signed: true };

    /// The type of the elements of a tensor, where it is one of 8 or 16 bits.
    pub fn of(datum_type: DatumType) -> Option<QuantizedType> {
        Some(match datum_type {
            DatumType::I8 => QuantizedType::INT8,
            DatumType::U8 => QuantizedType::UINT8,
            DatumType::I16 => QuantizedType { bits: 16, signed: true },
            DatumType::U16 => QuantizedType { bits: 16, signed: false },
            _ => return None,
        })
    }

    /// The least value.
    pub fn lowest(self) -> i32 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    /// The greatest value.
    pub fn highest(self) -> i32 {
        self.lowest() + ((1 << self.bits) - 1)
    }

    /// The type of the tensor that holds such elements.
    pub fn datum_type(self) -> DatumType {
        match (self.bits, self.signed) {
            (16, true) => DatumType::I16,
            (16, false) => DatumType::U16,
            (_, true) => DatumType::I8,
            (_, false) => DatumType::U8,
        }
    }

    /// A tensor of values that lie within the type.
    pub fn tensor(self, shape: &[usize], values: impl Iterator<Item = i32>) -> TractResult<Tensor> {
        match self.datum_type() {
            DatumType::I16 => Tensor::from_shape(shape, &values.map(|value| value as i16).collect::<Vec<_>>()),
            DatumType::U16 => Tensor::from_shape(shape, &values.map(|value| value as u16).collect::<Vec<_>>()),
            DatumType::I8 => Tensor::from_shape(shape, &values.map(|value| value as i8).collect::<Vec<_>>()),
            _ => Tensor::from_shape(shape, &values.map(|value| value as u8).collect::<Vec<_>>()),
        }
    }
}

/// The elements of an integer tensor as f32.
pub fn to_f32(tensor: &Tensor) -> TractResult<Vec<f32>> {
    Ok(tensor.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

/// Elements one after the other whose scales are all the same, or stand one after the other too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Positions of the elements.
    pub elements: Range<usize>,
    /// Position of the first element's scale.
    pub first_scale: usize,
    /// Whether each element has a scale of its own.
    pub each: bool,
}

impl Run {
    /// Position of the scale of the run's element number `index`.
    pub fn scale(&self, index: usize) -> usize {
        if self.each { self.first_scale + index } else { self.first_scale }
    }
}

/// The runs of a tensor of that shape. `scales` is the shape of its scales: of one element, of one axis that is as long as
/// `axis`, or, with a `block_size`, the tensor's with `axis` cut into blocks.
pub fn runs(
    shape: &[usize],
    axis: usize,
    block_size: usize,
    scales: &[usize],
) -> TractResult<impl Iterator<Item = Run> + use<>> {
    let one_scale = scales.iter().product::<usize>() == 1;
    // One scale for all is the scale of an axis of length 1.
    let (outer, len, inner) = if one_scale {
        (1, 1, shape.iter().product::<usize>())
    } else {
        ensure!(axis < shape.len(), "axis {axis} of a tensor of shape {shape:?}");
        (shape[..axis].iter().product::<usize>(), shape[axis], shape[axis + 1..].iter().product())
    };
    let block_size = if one_scale { 0 } else { block_size };
    let blocks = len.div_ceil(block_size.max(1));
    let mut expected: TVec<usize> = if block_size > 0 { shape.into() } else { tvec!(len) };
    if block_size > 0 {
        expected[axis] = blocks;
    }
    ensure!(one_scale || *expected == *scales, "scales of shape {scales:?} where {expected:?} is needed");
    let count = match (block_size, inner) {
        (0, 1) => outer,
        (_, 1) => outer * blocks,
        _ => outer * len,
    };
    Ok((0..count).map(move |index| match (block_size, inner) {
        (0, 1) => Run { elements: index * len..(index + 1) * len, first_scale: 0, each: true },
        (0, _) => Run { elements: index * inner..(index + 1) * inner, first_scale: index % len, each: false },
        (_, 1) => {
            let (row, block) = (index / blocks, index % blocks);
            let end = len.min((block + 1) * block_size);
            Run { elements: row * len + block * block_size..row * len + end, first_scale: index, each: false }
        }
        _ => {
            let block = index / len * blocks + index % len / block_size;
            Run { elements: index * inner..(index + 1) * inner, first_scale: block * inner, each: true }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_has_its_scale() {
        struct Case {
            shape: &'static [usize],
            axis: usize,
            block_size: usize,
            scales: &'static [usize],
            expected: Option<&'static [usize]>,
        }
        let cases = [
            Case { shape: &[2, 3], axis: 0, block_size: 0, scales: &[], expected: Some(&[0; 6]) },
            Case { shape: &[2, 3], axis: 9, block_size: 0, scales: &[1], expected: Some(&[0; 6]) },
            Case { shape: &[2, 3], axis: 0, block_size: 0, scales: &[2], expected: Some(&[0, 0, 0, 1, 1, 1]) },
            Case { shape: &[2, 3], axis: 1, block_size: 0, scales: &[3], expected: Some(&[0, 1, 2, 0, 1, 2]) },
            Case { shape: &[2, 3], axis: 1, block_size: 2, scales: &[2, 2], expected: Some(&[0, 0, 1, 2, 2, 3]) },
            Case { shape: &[3, 2], axis: 0, block_size: 2, scales: &[2, 2], expected: Some(&[0, 1, 0, 1, 2, 3]) },
            Case { shape: &[0, 2], axis: 1, block_size: 0, scales: &[2], expected: Some(&[]) },
            Case { shape: &[2, 3], axis: 1, block_size: 0, scales: &[2], expected: None },
            Case { shape: &[2, 3], axis: 1, block_size: 2, scales: &[2, 3], expected: None },
            Case { shape: &[2, 3], axis: 2, block_size: 0, scales: &[3], expected: None },
        ];
        for case in cases {
            let runs = runs(case.shape, case.axis, case.block_size, case.scales);
            let scales = runs.map(|runs| {
                let scales = |run: &Run| (0..run.elements.len()).map(|index| run.scale(index)).collect::<Vec<_>>();
                runs.flat_map(|run| scales(&run)).collect::<Vec<_>>()
            });
            assert_eq!(scales.ok().as_deref(), case.expected, "{:?} {:?}", case.shape, case.scales);
        }
    }

    #[test]
    fn ranges_of_types() {
        let cases =
            [(2, true, -2, 1), (4, false, 0, 15), (4, true, -8, 7), (8, false, 0, 255), (16, true, -32768, 32767)];
        for (bits, signed, lowest, highest) in cases {
            let found = QuantizedType { bits, signed };
            assert_eq!((found.lowest(), found.highest()), (lowest, highest));
        }
    }
}
