//! ONNX `DepthToSpace` (1 to 28) in both modes, of sizes that may be symbolic.

use super::{Wiring, attribute, int, unsupported};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct DepthToSpace {
    block: usize,
    column_row_depth: bool,
}

impl Wiring for DepthToSpace {
    const OPERATOR: &'static str = "DepthToSpace";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        super::only_attributes(node, &["blocksize", "mode"])?;
        let column_row_depth = match attribute(node, "mode").map_or(&b"DCR"[..], |mode| &mode.s) {
            b"DCR" => false,
            b"CRD" => true,
            other => return Err(unsupported(format!("mode `{}`", String::from_utf8_lossy(other)))),
        };
        let block = usize::try_from(int(node, "blocksize", 0)).ok().filter(|block| *block > 0);
        Ok(DepthToSpace { block: block.ok_or_else(|| unsupported("the block is empty"))?, column_row_depth })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [batch, channels, height, width]: [TDim; 4] = model
            .outlet_fact(inputs[0])?
            .shape
            .to_tvec()
            .to_vec()
            .try_into()
            .map_err(|_| unsupported("rank 4 is needed"))?;
        let block = self.block.to_dim();
        let depth = channels.clone() / (self.block * self.block) as i64;
        let (split, permutation) = if self.column_row_depth {
            (tvec!(depth.clone(), block.clone(), block.clone()), [0, 1, 4, 2, 5, 3])
        } else {
            (tvec!(block.clone(), block.clone(), depth.clone()), [0, 3, 4, 1, 5, 2])
        };
        let apart = AxisOp::Reshape(1, tvec!(channels), split);
        let wire = model.wire_node(format!("{prefix}.apart"), apart, inputs)?;
        let wire = super::wires::transpose(&format!("{prefix}.moved"), model, wire[0], &permutation)?;
        let (rows, columns) = (height.clone() * self.block as i64, width.clone() * self.block as i64);
        let together = AxisOp::Reshape(
            0,
            tvec!(batch.clone(), depth.clone(), height, block.clone(), width, block),
            tvec!(batch, depth, rows, columns),
        );
        model.wire_node(prefix, together, &[wire])
    }
}
