//! Reading the attributes of nodes that step windows over an image.

use super::{arguments, int, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::windows::{Padding, WindowSteps};
use tract_core::internal::*;

/// `auto_pad`, `ceil_mode`, `dilations`, `kernel_shape`, `pads` and `strides` of a node; an empty list is as good as none.
#[derive(Debug, Clone)]
pub struct WindowAttributes {
    kernel: Option<Vec<usize>>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    /// `None` for none.
    padding: Option<Padding>,
    /// Whether a last window counts that reaches beyond the padding.
    pub round_up: bool,
}

impl WindowAttributes {
    /// Reads them.
    ///
    /// # Errors
    /// `UnsupportedOp` for values that are not understood.
    pub fn of(node: &NodeProto) -> TractResult<WindowAttributes> {
        let list = |name: &str| {
            let ints = arguments::ints(node, name).filter(|ints| !ints.is_empty());
            ints.map(|ints| sizes(name, &ints)).transpose()
        };
        let padding = match &*arguments::string(node, "auto_pad", "NOTSET") {
            "NOTSET" => list("pads")?.map(Padding::Explicit),
            "VALID" => None,
            "SAME_UPPER" => Some(Padding::SameUpper),
            "SAME_LOWER" => Some(Padding::SameLower),
            other => return Err(unsupported(format!("`auto_pad` of `{other}` is not supported"))),
        };
        Ok(WindowAttributes {
            kernel: list("kernel_shape")?,
            strides: list("strides")?,
            dilations: list("dilations")?,
            padding,
            round_up: int(node, "ceil_mode", 0) != 0,
        })
    }

    /// The sizes of a window that the node gives.
    ///
    /// # Errors
    /// Where it gives none.
    pub fn kernel(&self) -> TractResult<Vec<usize>> {
        self.kernel.clone().context("`kernel_shape` is missing")
    }

    /// How windows of these sizes step.
    ///
    /// # Errors
    /// Where the attributes are of another number of axes, or the node gives other sizes.
    pub fn steps(&self, kernel: &[usize]) -> TractResult<WindowSteps> {
        let axes = kernel.len();
        let fits = |sizes: &Option<Vec<usize>>| sizes.as_ref().is_none_or(|sizes| sizes.len() == axes);
        let padding = self.padding.clone().unwrap_or_else(|| Padding::Explicit(vec![0; 2 * axes]));
        let pads_fit = if let Padding::Explicit(pads) = &padding { pads.len() == 2 * axes } else { true };
        let same = self.kernel.as_ref().is_none_or(|given| given == kernel);
        let positive = self.strides.iter().chain(&self.dilations).flatten().all(|size| *size > 0);
        let fits = fits(&self.strides) && fits(&self.dilations) && pads_fit && same && positive;
        ensure!(fits, "{self:?} do not fit a kernel of {kernel:?}");
        let ones = || vec![1; axes];
        let [strides, dilations] = [&self.strides, &self.dilations].map(|sizes| sizes.clone().unwrap_or_else(ones));
        Ok(WindowSteps { strides, dilations, padding })
    }
}

/// The sizes of a convolution's kernel over its spatial axes.
///
/// # Errors
/// Where they are not known.
pub fn kernel_sizes(model: &TypedModel, kernel: OutletId) -> TractResult<Vec<usize>> {
    let shape = &model.outlet_fact(kernel)?.shape;
    let sizes = shape.as_concrete().context("the shape of the kernel is not known")?;
    Ok(sizes.get(2..).context("a kernel has at least two axes")?.to_vec())
}

/// Sizes that a node gives.
///
/// # Errors
/// `UnsupportedOp` for negative ones.
pub fn sizes(what: &str, ints: &[i64]) -> TractResult<Vec<usize>> {
    let sizes = ints.iter().map(|size| usize::try_from(*size)).collect::<Result<Vec<usize>, _>>();
    sizes.map_err(|_| unsupported(format!("negative numbers in `{what}` are not supported")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::pb::AttributeProto;

    #[test]
    fn attributes() {
        type Lists = &'static [(&'static str, &'static [i64])];
        let one = |padding| Some(WindowSteps { strides: vec![1], dilations: vec![1], padding });
        let none = || Padding::Explicit(vec![0, 0]);
        // `auto_pad`, lists, and how windows of three places step.
        let cases: [(&str, Lists, Option<WindowSteps>); 12] = [
            ("NOTSET", &[], one(none())),
            ("NOTSET", &[("pads", &[1, 2])], one(Padding::Explicit(vec![1, 2]))),
            ("VALID", &[("pads", &[1, 2])], one(none())),
            ("SAME_UPPER", &[("pads", &[])], one(Padding::SameUpper)),
            ("SAME_LOWER", &[("kernel_shape", &[3])], one(Padding::SameLower)),
            (
                "NOTSET",
                &[("strides", &[2]), ("dilations", &[3])],
                Some(WindowSteps { strides: vec![2], dilations: vec![3], padding: none() }),
            ),
            ("SAME", &[], None),
            ("NOTSET", &[("pads", &[1])], None),
            ("NOTSET", &[("pads", &[-1, 0])], None),
            ("NOTSET", &[("strides", &[1, 1])], None),
            ("NOTSET", &[("dilations", &[0])], None),
            ("NOTSET", &[("kernel_shape", &[2])], None),
        ];
        for (auto_pad, lists, expected) in cases {
            let list = |(name, ints): &(&str, &[i64])| AttributeProto {
                name: name.to_string(),
                ints: ints.to_vec(),
                ..Default::default()
            };
            let s = auto_pad.as_bytes().to_vec();
            let auto_pad = AttributeProto { name: "auto_pad".into(), s, ..Default::default() };
            let attribute = lists.iter().map(list).chain([auto_pad]).collect();
            let node = NodeProto { attribute, ..Default::default() };
            let steps = WindowAttributes::of(&node).and_then(|attributes| attributes.steps(&[3]));
            assert_eq!(steps.ok(), expected, "{node:?}");
        }
    }
}
