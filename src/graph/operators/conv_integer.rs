//! ONNX `ConvInteger` (10): `x` and `w` int8 or uint8, over any number of spatial axes; optional zero points, of `x` one, of
//! `w` one or one for each output. Output: int32.

use super::compose::Composer;
use super::quantized::zero_point;
use super::{Wiring, attribute, input, int, only_attributes, unsupported};
use crate::ops::plain::PlainOperator;
use crate::ops::{self, Padding};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// Attributes of a convolution.
pub const ATTRIBUTES: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct ConvInteger {
    convolution: Convolution,
    zero_points: [Option<usize>; 2],
}

impl Wiring for ConvInteger {
    const OPERATOR: &'static str = "ConvInteger";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, ATTRIBUTES)?;
        Ok(ConvInteger { convolution: Convolution::of(node)?, zero_points: [input(node, 2), input(node, 3)] })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let zero_points = self.zero_points.map(|position| position.map(|at| inputs[at]));
        Ok(tvec!(self.convolution.wire(composer, [inputs[0], inputs[1]], zero_points)?))
    }
}

/// A convolution as its node describes it.
#[derive(Debug, Clone)]
pub struct Convolution {
    groups: usize,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    kernel: Option<Vec<usize>>,
    padding: Option<Padding>,
}

impl Convolution {
    /// Reads the attributes.
    ///
    /// # Errors
    /// `UnsupportedOp` for values that are not understood.
    pub fn of(node: &NodeProto) -> TractResult<Convolution> {
        let sizes = |name: &str| {
            let ints = attribute(node, name).map(|attribute| attribute.ints.iter());
            let sizes = ints.map(|ints| ints.map(|size| usize::try_from(*size).ok()).collect::<Option<Vec<usize>>>());
            sizes
                .map(|sizes| sizes.ok_or_else(|| unsupported(format!("negative {name} are not supported"))))
                .transpose()
        };
        let auto_pad = attribute(node, "auto_pad").map_or("NOTSET".into(), |found| String::from_utf8_lossy(&found.s));
        let padding = match &*auto_pad {
            "NOTSET" => sizes("pads")?.map(Padding::Explicit),
            "VALID" => None,
            "SAME_UPPER" => Some(Padding::SameUpper),
            "SAME_LOWER" => Some(Padding::SameLower),
            other => return Err(unsupported(format!("auto_pad {other} is not supported"))),
        };
        Ok(Convolution {
            groups: usize::try_from(int(node, "group", 1)).context("group is negative")?,
            strides: sizes("strides")?,
            dilations: sizes("dilations")?,
            kernel: sizes("kernel_shape")?,
            padding,
        })
    }

    /// Wires the convolution of integers less their zero points.
    pub fn wire(
        &self,
        composer: &mut Composer,
        [x, w]: [OutletId; 2],
        zero_points: [Option<OutletId>; 2],
    ) -> TractResult<OutletId> {
        let shape = composer.fact(w)?.shape.clone();
        let spatial = shape.rank().checked_sub(2).context("a kernel has at least two axes")?;
        let fits = |sizes: &Option<Vec<usize>>, len: usize| sizes.as_ref().is_none_or(|sizes| sizes.len() == len);
        let pads = match &self.padding {
            Some(Padding::Explicit(pads)) => pads.len() == 2 * spatial,
            _ => true,
        };
        let kernel = self.kernel.as_ref().is_none_or(|kernel| {
            kernel.len() == spatial && kernel.iter().zip(&shape[2..]).all(|(size, dim)| *dim == size.to_dim())
        });
        let positive = self.strides.iter().chain(&self.dilations).flatten().all(|size| *size > 0);
        let fits = pads && kernel && positive && fits(&self.strides, spatial) && fits(&self.dilations, spatial);
        ensure!(fits, "the attributes do not fit a kernel of shape {shape:?}");
        let operator = ops::ConvInteger {
            groups: self.groups,
            strides: self.strides.clone().unwrap_or_else(|| vec![1; spatial]),
            dilations: self.dilations.clone().unwrap_or_else(|| vec![1; spatial]),
            padding: self.padding.clone().unwrap_or_else(|| Padding::Explicit(vec![0; 2 * spatial])),
        };
        let zero_points = [zero_point(composer, zero_points[0], x)?, zero_point(composer, zero_points[1], w)?];
        composer.wire(PlainOperator(operator), &[x, w, zero_points[0], zero_points[1]])
    }
}
