//! ONNX `NonMaxSuppression` (10 to 11), float32. Attribute: `center_point_box`.

use super::{Wiring, input, int, is_f32, only_attributes, unsupported};
use crate::graph::builder::fresh_symbol;
use crate::onnx::pb::NodeProto;
use crate::ops::non_max_suppression::NonMaxSuppression as Operator;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct NonMaxSuppression {
    centered: bool,
    most: Option<usize>,
    overlap: Option<usize>,
    score: Option<usize>,
}

impl Wiring for NonMaxSuppression {
    const OPERATOR: &'static str = "NonMaxSuppression";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["center_point_box"])?;
        let centered = match int(node, "center_point_box", 0) {
            0 => false,
            1 => true,
            other => return Err(unsupported(format!("`center_point_box` of {other} is not supported"))),
        };
        Ok(NonMaxSuppression { centered, most: input(node, 2), overlap: input(node, 3), score: input(node, 4) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &inputs[..2])? {
            return Err(unsupported("only float32 is supported"));
        }
        let mut operands: TVec<OutletId> = inputs[..2].into();
        let defaults = [("most", self.most, tensor0(0i64)), ("overlap", self.overlap, tensor0(0f32))];
        for (name, given, default) in defaults {
            operands.push(match given {
                Some(given) => inputs[given],
                None => model.add_const(format!("{prefix}.{name}"), default)?,
            });
        }
        operands.extend(self.score.map(|score| inputs[score]));
        let count = fresh_symbol(&model.symbols, "selected").to_dim();
        model.wire_node(prefix, PlainOperator(Operator { centered: self.centered, count }), &operands)
    }
}
