//! ONNX `Attention` (23) without past, causality, softcap or score outputs: f32 `Q`, `K`, `V` of rank 3 or 4, optionally a
//! boolean or f32 mask. Other forms are refused: tract's own parser answers some of them wrongly.

use super::{Wiring, float, input, int, is_f32, unsupported};
use crate::ops::{Attention as Fused, HeadLayout};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::logic::Iff;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Attention {
    heads: usize,
    kv_heads: usize,
    scale: Option<f32>,
    mask: bool,
}

impl Wiring for Attention {
    const OPERATOR: &'static str = "Attention";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(
            node,
            &[
                "q_num_heads",
                "kv_num_heads",
                "scale",
                "is_causal",
                "softcap",
                "softmax_precision",
                "qk_matmul_output_mode",
            ],
        )?;
        let plain = int(node, "is_causal", 0) == 0
            && float(node, "softcap").unwrap_or(0.0) == 0.0
            && matches!(int(node, "softmax_precision", 1), 1)
            && node.input.iter().skip(4).all(String::is_empty)
            && node.output.iter().skip(1).all(String::is_empty);
        if !plain {
            return Err(unsupported("past keys, causality, softcap, precision and score outputs are not supported"));
        }
        Ok(Attention {
            heads: int(node, "q_num_heads", 0) as usize,
            kv_heads: int(node, "kv_num_heads", 0) as usize,
            scale: float(node, "scale"),
            mask: input(node, 3).is_some(),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        if !is_f32(model, &inputs[..3])? {
            return Err(unsupported("only float32 is supported"));
        }
        let (layout, heads, kv_heads) = self.heads_of(model, inputs)?;
        let query = model.outlet_fact(inputs[0])?.shape.to_tvec();
        let head_dim = match layout {
            HeadLayout::Packed => query[2].to_usize().ok().map(|width| width / heads),
            _ => query[3].to_usize().ok(),
        };
        let scale = self.scale.or_else(|| head_dim.map(|dim| 1.0 / (dim as f32).sqrt()));
        let scale = scale.ok_or_else(|| unsupported("the head size is not known"))?;
        let mut operands: TVec<OutletId> = inputs[..3].into();
        if self.mask {
            operands.push(self.additive_mask(prefix, model, inputs[3])?);
        }
        let fused = Fused { mask: self.mask, ..Fused::new(heads, kv_heads, scale, layout) };
        model.wire_node(prefix, fused, &operands).map(Some)
    }
}

impl Attention {
    fn heads_of(&self, model: &TypedModel, inputs: &[OutletId]) -> TractResult<(HeadLayout, usize, usize)> {
        if model.outlet_fact(inputs[0])?.rank() == 3 {
            let given = self.heads > 0 && self.kv_heads > 0;
            ensure!(given, "q_num_heads and kv_num_heads are needed with operands of rank 3");
            return Ok((HeadLayout::Packed, self.heads, self.kv_heads));
        }
        let heads = |outlet: OutletId| -> TractResult<usize> {
            let shape = &model.outlet_fact(outlet)?.shape;
            ensure!(shape.rank() == 4, "operands must have rank 3 or 4");
            shape[1].to_usize().map_err(|_| unsupported("the number of heads is not known"))
        };
        Ok((HeadLayout::HeadMajor, heads(inputs[0])?, heads(inputs[1])?))
    }

    fn additive_mask(&self, prefix: &str, model: &mut TypedModel, mask: OutletId) -> TractResult<OutletId> {
        let fact = model.outlet_fact(mask)?.clone();
        if fact.datum_type == f32::datum_type() {
            return Ok(mask);
        }
        if fact.datum_type != bool::datum_type() {
            return Err(unsupported("the mask must be boolean or float32"));
        }
        let shape = vec![1; fact.rank()];
        let constant = |value: f32| Tensor::from_shape(&shape, &[value]);
        let kept = model.add_const(format!("{prefix}.kept"), constant(0.0)?)?;
        let masked = model.add_const(format!("{prefix}.masked"), constant(f32::NEG_INFINITY)?)?;
        Ok(model.wire_node(format!("{prefix}.mask"), Iff, &[mask, kept, masked])?[0])
    }
}
