//! ONNX `Tile` (6 to 13), any type: `repeats` constant, maybe symbolic, one for each axis.

use super::{Wiring, arguments, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::array;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Tile;

impl Wiring for Tile {
    const OPERATOR: &'static str = "Tile";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Tile)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let repeats = arguments::constant_sizes(model, inputs[1], "repeats")?;
        ensure!(repeats.len() == model.outlet_fact(inputs[0])?.rank(), "{} repeats of axes", repeats.len());
        model.wire_node(prefix, array::Tile::new(repeats.into()), &inputs[..1])
    }
}
