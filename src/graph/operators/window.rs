//! Reading the attributes of nodes that step windows over an image.

use super::{arguments, int, unsupported};
use crate::ops::windows::Windows;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cnn::{PaddingSpec, PoolSpec};
use tract_onnx::tract_hir::tract_core::ops::nn::DataFormat;

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

/// A list of sizes that a node may give; an empty one is none.
///
/// # Errors
/// `UnsupportedOp` for negative ones.
pub fn optional_sizes(node: &NodeProto, name: &str) -> TractResult<Option<TVec<usize>>> {
    let given = arguments::ints(node, name).filter(|given| !given.is_empty());
    given.map(|given| sizes(name, &given)).transpose()
}

/// How far a node's windows reach beyond the image: `explicit` of places before and after each axis; `None` where the node does
/// not say.
///
/// # Errors
/// `UnsupportedOp` for an `auto_pad` that ONNX does not define.
pub fn padding(
    node: &NodeProto,
    explicit: impl FnOnce(TVec<usize>, TVec<usize>) -> PaddingSpec,
) -> TractResult<Option<PaddingSpec>> {
    Ok(match &*arguments::string(node, "auto_pad", "NOTSET") {
        "NOTSET" => optional_sizes(node, "pads")?.map(|pads| {
            let (before, after) = pads.split_at(pads.len() / 2);
            explicit(before.into(), after.into())
        }),
        "VALID" => Some(PaddingSpec::Valid),
        "SAME_UPPER" => Some(PaddingSpec::SameUpper),
        "SAME_LOWER" => Some(PaddingSpec::SameLower),
        other => return Err(unsupported(format!("`auto_pad` of `{other}` is not supported"))),
    })
}

/// A pool's windows as its node describes them.
#[derive(Debug, Clone)]
pub struct Pool {
    kernel: TVec<usize>,
    strides: Option<TVec<usize>>,
    dilations: Option<TVec<usize>>,
    padding: PaddingSpec,
}

impl Pool {
    /// Reads the attributes.
    ///
    /// # Errors
    /// `UnsupportedOp` for values that are not supported.
    pub fn of(node: &NodeProto) -> TractResult<Pool> {
        let kernel = optional_sizes(node, "kernel_shape")?.context("`kernel_shape` is missing")?;
        let ceil = int(node, "ceil_mode", 0) != 0;
        if ceil && arguments::string(node, "auto_pad", "NOTSET") == "VALID" {
            return Err(unsupported("`ceil_mode` with `auto_pad` of `VALID` is not supported"));
        }
        let explicit = |before, after| PaddingSpec::ExplicitOnnxPool(before, after, ceil);
        let none = tvec!(0; kernel.len());
        let padding = padding(node, explicit)?.unwrap_or_else(|| explicit(none.clone(), none));
        let (strides, dilations) = (optional_sizes(node, "strides")?, optional_sizes(node, "dilations")?);
        let fits = |sizes: &Option<TVec<usize>>| sizes.as_ref().is_none_or(|sizes| sizes.len() == kernel.len());
        ensure!(fits(&strides) && fits(&dilations), "the attributes do not fit a kernel of {kernel:?}");
        Ok(Pool { kernel, strides, dilations, padding })
    }

    /// The windows over images of that fact, `[batch, channels, ...sizes]`.
    ///
    /// # Errors
    /// A plain error where the number of channels is not known.
    pub fn over(&self, images: &TypedFact) -> TractResult<PoolSpec> {
        let shape = &images.shape;
        ensure!(shape.rank() == self.kernel.len() + 2, "a kernel of {:?} over {shape:?}", self.kernel);
        let channels = shape[1].to_usize().context("the number of channels is not known")?;
        Ok(PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: self.kernel.clone(),
            padding: self.padding.clone(),
            dilations: self.dilations.clone(),
            strides: self.strides.clone(),
            input_channels: channels,
            output_channels: channels,
        })
    }
}
