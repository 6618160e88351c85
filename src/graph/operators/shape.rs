//! ONNX `Shape` (1 to 25) and `Size` (1 to 25): constants, of symbols where the sizes are such. Attributes of `Shape`: `start`, `end`.

use super::{Wiring, attribute, int, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// ONNX `Shape`.
#[derive(Debug, Clone)]
pub struct Shape {
    start: i64,
    end: i64,
}

impl Wiring for Shape {
    const OPERATOR: &'static str = "Shape";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["end", "start"])?;
        let end = attribute(node, "end").map_or(i64::MAX, |end| end.i);
        Ok(Shape { start: int(node, "start", 0), end })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = model.outlet_fact(inputs[0])?.shape.to_tvec();
        let rank = shape.len() as i64;
        let bound = |axis: i64| (if axis < 0 { axis + rank } else { axis }).clamp(0, rank) as usize;
        let (start, end) = (bound(self.start), bound(self.end));
        Ok(tvec!(model.add_const(prefix, tensor1(&shape[start..end.max(start)]))?))
    }
}

/// ONNX `Size`.
#[derive(Debug, Clone)]
pub struct Size;

impl Wiring for Size {
    const OPERATOR: &'static str = "Size";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Size)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let size = model.outlet_fact(inputs[0])?.shape.volume();
        Ok(tvec!(model.add_const(prefix, tensor0(size))?))
    }
}
