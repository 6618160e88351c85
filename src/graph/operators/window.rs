//! Reading the attributes of nodes that step windows over an image.

use super::{arguments, int, unsupported};
use crate::ops::windows::Windows;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// Windows of that kernel with the node's `strides`, `dilations` and `pads`.
///
/// # Errors
/// `UnsupportedOp` for negative numbers.
pub fn windows(node: &NodeProto, kernel: TVec<usize>) -> TractResult<Windows> {
    let axes = kernel.len();
    let sizes = |name: &str, default: usize, count: usize| {
        let sizes = arguments::ints(node, name).map_or(Ok(tvec!(default; count)), |ints| sizes(name, &ints))?;
        ensure!(sizes.len() == count, "`{name}` of {} numbers for {axes} axes", sizes.len());
        Ok(sizes)
    };
    let (strides, dilations) = (sizes("strides", 1, axes)?, sizes("dilations", 1, axes)?);
    let pads = sizes("pads", 0, 2 * axes)?;
    let padding = (0..axes).map(|axis| (pads[axis], pads[axis + axes])).collect();
    Ok(Windows { kernel, strides, dilations, padding })
}

/// Sizes that a node gives.
///
/// # Errors
/// `UnsupportedOp` for negative ones.
pub fn sizes(what: &str, ints: &[i64]) -> TractResult<TVec<usize>> {
    let sizes = ints.iter().map(|size| usize::try_from(*size)).collect::<Result<TVec<usize>, _>>();
    sizes.map_err(|_| unsupported(format!("negative numbers in `{what}` are not supported")))
}

/// Refuses `ceil_mode` where `auto_pad` is `VALID`.
///
/// # Errors
/// `UnsupportedOp`.
pub fn refuse_valid_with_ceil_mode(node: &NodeProto) -> TractResult<()> {
    match arguments::string(node, "auto_pad", "NOTSET") == "VALID" && int(node, "ceil_mode", 0) != 0 {
        true => Err(unsupported("`ceil_mode` with `auto_pad` of `VALID` is not supported")),
        false => Ok(()),
    }
}
