//! com.microsoft `QEmbedLayerNormalization`: `EmbedLayerNormalization` on 8-bit tables and weights, which are dequantised.
//!
//! Inputs: `input_ids` `[batch, sequence]`; optional `segment_ids`; tables of words, positions and optionally segments,
//! `gamma` and `beta`, all int8 or all uint8; optional `mask`; then the scales of these five, f32 of one element, and their
//! zero points, of the tables' type and one element; those of segments are optional. Segments count only with `segment_ids`.
//! Outputs: the normalised sum of embeddings; `mask_index` as that of `EmbedLayerNormalization`. Attribute: `epsilon`.

use super::compose::Composer;
use super::embed_layer_normalization::{Embeddings, Table, mask_index};
use super::normalise::{Kind, Normalisation};
use super::{Wiring, float, has_output, input, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QEmbedLayerNormalization {
    epsilon: f32,
    inputs: [Option<usize>; 18],
    mask_index: bool,
}

/// Where the five tables, their scales and their zero points begin.
const TABLES: usize = 2;
const SCALES: usize = 8;
const ZERO_POINTS: usize = 13;

impl Wiring for QEmbedLayerNormalization {
    const OPERATOR: &'static str = "com.microsoft.QEmbedLayerNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["epsilon"])?;
        Ok(QEmbedLayerNormalization {
            epsilon: float(node, "epsilon").unwrap_or(1e-12),
            inputs: std::array::from_fn(|position| input(node, position)),
            mask_index: has_output(node, 1),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let outlet = |position: usize| self.inputs[position].map(|at| inputs[at]);
        let segment_ids = outlet(1);
        let mut table = |position: usize| self.table(composer, inputs, position);
        let embeddings = Embeddings {
            ids: outlet(0).context("input_ids is missing")?,
            segment_ids,
            position_ids: None,
            words: table(0)?,
            positions: table(1)?,
            segments: segment_ids.map(|_| table(2)).transpose()?,
        };
        let (gamma, beta) = (table(3)?, table(4)?);
        let sum = embeddings.sum(composer)?;
        let gamma = gamma.dequantized(composer, gamma.values)?;
        let beta = beta.dequantized(composer, beta.values)?;
        let normalisation = Normalisation { kind: Kind::Layer, axis: 2, epsilon: self.epsilon };
        let mut outputs = tvec!(normalisation.wire(composer, sum, Some(gamma), Some(beta))?);
        if self.mask_index {
            outputs.push(mask_index(composer, embeddings.ids, outlet(7))?);
        }
        Ok(outputs)
    }
}

impl QEmbedLayerNormalization {
    /// One of the words, positions, segments, gamma and beta.
    fn table(&self, composer: &mut Composer, inputs: &[OutletId], number: usize) -> TractResult<Table> {
        let outlets = [TABLES, SCALES, ZERO_POINTS].map(|first| self.inputs[first + number].map(|at| inputs[at]));
        let [Some(values), Some(scale), Some(zero_point)] = outlets else {
            return Err(unsupported("a table lacks its values, scale or zero point"));
        };
        let datum_type = composer.fact(values)?.datum_type;
        let eight_bits = [i8::datum_type(), u8::datum_type()].contains(&datum_type);
        if !eight_bits || composer.fact(zero_point)?.datum_type != datum_type || !is_f32(composer.model(), &[scale])? {
            return Err(unsupported("only int8 and uint8 tables with zero points of their type and float32 scales"));
        }
        for parameter in [scale, zero_point] {
            if !composer.fact(parameter)?.shape.volume().is_one() {
                return Err(unsupported("a table must have one scale and one zero point"));
            }
        }
        Ok(Table { values, quantization: Some([scale, zero_point]) })
    }
}
