//! ONNX `Split` (2 to 18), any type. Sizes: `split`, constant, maybe symbolic (an attribute below opset 13); without it as many parts of
//! one size as there are outputs, of which the last may be smaller. Attributes: `axis`, `num_outputs`.

use super::attention_parts::split;
use super::{Wiring, arguments, axis_of, input, int, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Split {
    axis: i64,
    named: Vec<bool>,
    sizes: Option<Vec<i64>>,
    sizes_input: Option<usize>,
}

impl Wiring for Split {
    const OPERATOR: &'static str = "Split";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(node, if opset < 13 { &["axis", "split"] } else { &["axis", "num_outputs"] })?;
        Ok(Split {
            axis: int(node, "axis", 0),
            named: node.output.iter().map(|name| !name.is_empty()).collect(),
            sizes: arguments::ints(node, "split"),
            sizes_input: input(node, 1).filter(|_| opset >= 13),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = model.outlet_fact(inputs[0])?.shape.to_tvec();
        let axis = axis_of(self.axis, shape.len())?;
        let sizes = match (self.sizes_input, &self.sizes) {
            (Some(sizes), _) => arguments::constant_sizes(model, inputs[sizes], "split")?,
            (None, Some(sizes)) => sizes.iter().map(|size| size.to_dim()).collect(),
            (None, None) => equal_parts(&shape[axis], self.named.len()),
        };
        let parts = split(prefix, model, inputs[0], axis, &sizes)?;
        Ok(parts.into_iter().zip(&self.named).filter(|(_, named)| **named).map(|(part, _)| part).collect())
    }
}

fn equal_parts(size: &TDim, parts: usize) -> Vec<TDim> {
    let part = size.clone().divceil(parts);
    let mut sizes = vec![part.clone(); parts - 1];
    sizes.push(size.clone() - part * (parts - 1));
    sizes
}
