//! ONNX `MelWeightMatrix` (17): all inputs constant. Attribute: `output_datatype`.

use super::arguments::{constant_floats, element_type};
use super::{Wiring, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MelWeightMatrix {
    datum_type: DatumType,
}

/// Rows or columns of a matrix: no model has more.
const MOST: f32 = 65536.0;

impl Wiring for MelWeightMatrix {
    const OPERATOR: &'static str = "MelWeightMatrix";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["output_datatype"])?;
        Ok(MelWeightMatrix { datum_type: element_type(node, "output_datatype")?.unwrap_or(f32::datum_type()) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut given = vec![];
        for (input, what) in
            inputs.iter().zip(["num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz"])
        {
            given.push(*constant_floats(model, *input, what)?.first().with_context(|| format!("{what} is empty"))?);
        }
        let [bins, length, rate, lowest, highest] = *given else { bail!("five operands are needed") };
        if !(1.0..=MOST).contains(&bins) || !(1.0..=MOST).contains(&length) || rate < 1.0 {
            return Err(unsupported(format!("{bins} bins of {length} samples at {rate} Hz")));
        }
        let weights = weights(bins as usize, length as usize, rate, [lowest, highest])?;
        Ok(tvec!(model.add_const(prefix, weights.cast_to_dt(self.datum_type)?.into_owned())?))
    }
}

/// The weights `[dft_length / 2 + 1, num_mel_bins]`: triangles between frequencies that are equally far apart in mel.
fn weights(bins: usize, length: usize, rate: f32, edges: [f32; 2]) -> TractResult<Tensor> {
    let [lowest, highest] = edges.map(|edge| 2595.0 * (1.0 + edge / 700.0).log10());
    let step = (highest - lowest) / (bins + 2) as f32;
    let position = |bin: usize| {
        let frequency = 700.0 * (10f32.powf((bin as f32 * step + lowest) / 2595.0) - 1.0);
        ((length + 1) as f32 * frequency / rate).floor() as usize
    };
    let positions: Vec<usize> = (0..bins + 2).map(position).collect();
    let rows = length / 2 + 1;
    if positions.iter().any(|position| *position > rows) || positions[bins] == rows {
        return Err(unsupported("frequencies beyond half of the sample rate are not supported"));
    }
    let mut weights = vec![0f32; rows * bins];
    for bin in 0..bins {
        let [lower, center, higher] = [positions[bin], positions[bin + 1], positions[bin + 2]];
        for row in lower..=center {
            weights[row * bins + bin] =
                if center == lower { 1.0 } else { (row - lower) as f32 / (center - lower) as f32 };
        }
        for row in center..higher {
            weights[row * bins + bin] = (higher - row) as f32 / (higher - center) as f32;
        }
    }
    Tensor::from_shape(&[rows, bins], &weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::f32_slice;

    #[test]
    fn triangles() {
        // The example of ONNX's own reference: 8 bins of 16 samples at 8192 Hz.
        let weights = weights(8, 16, 8192.0, [0.0, 4096.0]).unwrap();
        assert_eq!(weights.shape(), [9, 8]);
        let expected: [[f32; 8]; 9] = [
            [1., 1., 0., 0., 0., 0., 0., 0.],
            [0., 0., 1., 1., 0., 0., 0., 0.],
            [0., 0., 0., 0., 1., 0., 0., 0.],
            [0., 0., 0., 0., 0., 1., 0., 0.],
            [0., 0., 0., 0., 0., 0., 1., 0.],
            [0., 0., 0., 0., 0., 0., 0., 1.],
            [0., 0., 0., 0., 0., 0., 0., 0.],
            [0., 0., 0., 0., 0., 0., 0., 0.],
            [0., 0., 0., 0., 0., 0., 0., 0.],
        ];
        assert_eq!(f32_slice(&weights).unwrap(), expected.as_flattened());
    }
}
