//! com.microsoft `QEmbedLayerNormalization` (1): `EmbedLayerNormalization` of tables, `gamma` and `beta` of int8 or uint8, each
//! with one f32 scale and zero point. Inputs: `input_ids`, optional `segment_ids`, tables of words, positions and optionally
//! segments, `gamma`, `beta`, optional `mask`, then the five scales and the five zero points in the order of the tensors.

use super::compose::Composer;
use super::quantized::{Quantized, attributes, dequantize};
use super::{Wiring, input, only_attributes, wire_node};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QEmbedLayerNormalization {
    inputs: [Option<usize>; 18],
    /// The same on dequantised tensors.
    embed: NodeProto,
    opset: i64,
}

/// Positions of the quantised tensors, their scales and their zero points.
const QUANTIZED: [[usize; 3]; 5] = [[2, 8, 13], [3, 9, 14], [4, 10, 15], [5, 11, 16], [6, 12, 17]];

impl Wiring for QEmbedLayerNormalization {
    const OPERATOR: &'static str = "com.microsoft.QEmbedLayerNormalization";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(node, &["epsilon"])?;
        let embed = NodeProto {
            op_type: "com.microsoft.EmbedLayerNormalization".into(),
            input: node.input.iter().take(8).cloned().collect(),
            output: node.output.clone(),
            attribute: attributes(node, &["epsilon"]),
            ..Default::default()
        };
        Ok(QEmbedLayerNormalization { inputs: std::array::from_fn(|position| input(node, position)), embed, opset })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let mut present = self.inputs.map(|position| position.map(|at| inputs[at]));
        let composer = &mut Composer::new(prefix, model);
        for [values, scale, zero_point] in QUANTIZED {
            if let Some(tensor) = present[values] {
                let scale = present[scale].context("a scale is missing")?;
                let quantized = Quantized { values: tensor, scale, zero_point: present[zero_point] };
                present[values] = Some(dequantize(composer, quantized, 0)?);
            }
        }
        let inputs: TVec<OutletId> = present[..8].iter().flatten().copied().collect();
        wire_node(&self.embed, self.opset, &format!("{prefix}.embed"), model, &inputs).map(Some)
    }
}
