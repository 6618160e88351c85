//! ONNX `SpaceToDepth` (1 to 28), any type.
//!
//! Input: `[batch, channels, height, width]`. Output: `[batch, channels * blocksize², height / blocksize, width / blocksize]`. Attributes:
//! `blocksize`; from opset 28 on `mode`: `DCR` has the place within the block first, `CRD` the channel.

use super::{Wiring, arguments, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct SpaceToDepth {
    block: usize,
    channel_first: bool,
}

impl Wiring for SpaceToDepth {
    const OPERATOR: &'static str = "SpaceToDepth";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        let attributes: &[&str] = if opset < 28 { &["blocksize"] } else { &["blocksize", "mode"] };
        only_attributes(node, attributes)?;
        let channel_first = match &*arguments::string(node, "mode", "DCR") {
            "DCR" => false,
            "CRD" => true,
            other => return Err(unsupported(format!("mode `{other}`"))),
        };
        match int(node, "blocksize", 0) {
            block @ 1.. => Ok(SpaceToDepth { block: block as usize, channel_first }),
            other => Err(unsupported(format!("blocksize {other}"))),
        }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = model.outlet_fact(inputs[0])?.shape.to_tvec();
        ensure!(shape.len() == 4, "SpaceToDepth of a tensor of rank {}", shape.len());
        let block = self.block.to_dim();
        let [rows, columns] = [shape[2].clone() / self.block, shape[3].clone() / self.block];
        let mut outlet = inputs[0];
        for (axis, size, blocks) in [(3, &shape[3], &columns), (2, &shape[2], &rows)] {
            let reshape = AxisOp::Reshape(axis, tvec!(size.clone()), tvec!(blocks.clone(), block.clone()));
            outlet = model.wire_node(format!("{prefix}.blocks_{axis}"), reshape, &[outlet])?[0];
        }
        // Now [batch, channels, rows, block, columns, block].
        let moves: &[(usize, usize)] = match self.channel_first {
            true => &[(3, 2), (5, 3)],
            false => &[(3, 1), (5, 2)],
        };
        for (from, to) in moves {
            outlet = model.wire_node(format!("{prefix}.move_{from}"), AxisOp::Move(*from, *to), &[outlet])?[0];
        }
        let merged: TVec<TDim> = match self.channel_first {
            true => tvec!(shape[1].clone(), block.clone(), block),
            false => tvec!(block.clone(), block, shape[1].clone()),
        };
        let depth = merged.iter().cloned().product();
        model.wire_node(prefix, AxisOp::Reshape(1, merged, tvec!(depth)), &[outlet])
    }
}
