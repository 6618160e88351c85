//! ONNX `LayerNormalization` (17): f32 over the last axis with constant scale and bias becomes [`LayerNorm`]; other forms are
//! left to tract.

use super::{Wiring, constant_f32, float, int, is_f32};
use crate::ops::{LayerNorm, Shared};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct LayerNormalization {
    axis: i64,
    epsilon: f32,
    float32: bool,
    bias: bool,
    single_output: bool,
}

impl Wiring for LayerNormalization {
    const OPERATOR: &'static str = "LayerNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        Ok(LayerNormalization {
            axis: int(node, "axis", -1),
            epsilon: float(node, "epsilon").unwrap_or(1e-5),
            float32: int(node, "stash_type", 1) == 1,
            bias: super::input(node, 2).is_some(),
            single_output: node.output.iter().skip(1).all(String::is_empty),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let rank = model.outlet_fact(inputs[0])?.rank() as i64;
        let last_axis = self.axis == -1 || self.axis == rank - 1;
        if !(last_axis && self.float32 && self.single_output && is_f32(model, inputs)?) {
            return Ok(None);
        }
        let Some(gamma) = constant_f32(model, inputs[1])? else { return Ok(None) };
        let beta = if self.bias { constant_f32(model, inputs[2])? } else { None };
        let width = model.outlet_fact(inputs[0])?.shape[rank as usize - 1].to_usize().ok();
        let wide = |values: &Vec<f32>| Some(values.len()) == width;
        if beta.is_some() != self.bias || !wide(&gamma) || !beta.iter().all(wide) {
            return Ok(None);
        }
        let norm = LayerNorm { gamma: Shared::new(gamma), beta: beta.map(Shared::new), epsilon: self.epsilon };
        model.wire_node(prefix, norm, &inputs[..1]).map(Some)
    }
}
