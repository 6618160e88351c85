//! ONNX `Conv` (1 to 22) of floating-point images and a kernel whose sizes are known; the kernel tells the channels of images that do
//! not know theirs.

use super::compose::Composer;
use super::{Wiring, input, int, only_attributes, window};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cnn::{self, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_hir::tract_core::ops::nn::DataFormat;

/// The attributes of `Conv`.
pub const ATTRIBUTES: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Conv {
    convolution: Convolution,
    bias: Option<usize>,
}

impl Wiring for Conv {
    const OPERATOR: &'static str = "Conv";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, ATTRIBUTES)?;
        Ok(Conv { convolution: Convolution::of(node)?, bias: input(node, 2) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let groups = self.convolution.groups;
        let kernel = known_sizes(composer, inputs[1])?;
        let channels = kernel[1] * groups;
        let x = with_channels(composer, inputs[0], channels)?;
        let datum_type = composer.fact(x)?.datum_type;
        let mut bias = match self.bias {
            Some(bias) => composer.cast(inputs[bias], datum_type)?,
            None => composer.constant(Tensor::zero_scalar_dt(datum_type)?)?,
        };
        if composer.shape(bias)?.first().is_some_and(|size| size.is_one()) {
            bias = composer.wire(AxisOp::Rm(0), &[bias])?;
        }
        let pool_spec = self.convolution.windows(&kernel, channels, kernel[0])?;
        let operator = cnn::Conv::new(pool_spec, KernelFormat::OIHW, groups, None);
        composer.model().wire_node(prefix, operator, &[x, inputs[1], bias])
    }
}

/// A convolution as its node describes it.
#[derive(Debug, Clone)]
pub struct Convolution {
    /// Parts of the channels that are convolved by themselves.
    pub groups: usize,
    kernel: Option<TVec<usize>>,
    strides: Option<TVec<usize>>,
    dilations: Option<TVec<usize>>,
    padding: PaddingSpec,
}

impl Convolution {
    /// Reads the attributes.
    ///
    /// # Errors
    /// `UnsupportedOp` for values that are not supported.
    pub fn of(node: &NodeProto) -> TractResult<Convolution> {
        let kernel = window::optional_sizes(node, "kernel_shape")?;
        let without = match &kernel {
            Some(kernel) => PaddingSpec::Explicit(tvec!(0; kernel.len()), tvec!(0; kernel.len())),
            None => PaddingSpec::Valid,
        };
        let groups = usize::try_from(int(node, "group", 1)).ok().filter(|groups| *groups > 0);
        Ok(Convolution {
            groups: groups.context("`group` is not positive")?,
            kernel,
            strides: window::optional_sizes(node, "strides")?,
            dilations: window::optional_sizes(node, "dilations")?,
            padding: window::padding(node, PaddingSpec::Explicit)?.unwrap_or(without),
        })
    }

    /// The windows of a kernel of these sizes.
    pub fn windows(&self, kernel: &[usize], inputs: usize, outputs: usize) -> TractResult<PoolSpec> {
        let kernel = &kernel[2..];
        let fits = |sizes: &Option<TVec<usize>>| sizes.as_ref().is_none_or(|sizes| sizes.len() == kernel.len());
        let same = self.kernel.as_ref().is_none_or(|sizes| **sizes == *kernel);
        ensure!(
            same && fits(&self.strides) && fits(&self.dilations),
            "the attributes do not fit a kernel of {kernel:?}"
        );
        Ok(PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: kernel.into(),
            padding: self.padding.clone(),
            dilations: self.dilations.clone(),
            strides: self.strides.clone(),
            input_channels: inputs,
            output_channels: outputs,
        })
    }
}

/// The sizes of a kernel.
///
/// # Errors
/// A plain error where they are not known.
pub fn known_sizes(composer: &Composer, kernel: OutletId) -> TractResult<TVec<usize>> {
    let shape = &composer.fact(kernel)?.shape;
    let sizes = shape.as_concrete().with_context(|| format!("a kernel of {shape:?}"))?;
    ensure!(sizes.len() > 2, "a kernel of {shape:?}");
    Ok(sizes.into())
}

/// Images with so many channels; where the number is not known before, it is checked when the graph runs.
pub fn with_channels(composer: &mut Composer, images: OutletId, channels: usize) -> TractResult<OutletId> {
    let shape = composer.shape(images)?;
    match shape.get(1).map(|size| size.to_usize()) {
        Some(Ok(size)) if size == channels => Ok(images),
        Some(Err(_)) => composer.known_sizes(images, tvec!((1, channels.to_dim()))),
        _ => bail!("a kernel for {channels} channels over {shape:?}"),
    }
}
