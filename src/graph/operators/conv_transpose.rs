//! ONNX `ConvTranspose` (1 to 22) of floating-point images and a kernel whose sizes are known; the kernel tells the channels of images
//! that do not know theirs. `output_shape` is refused.

use super::compose::Composer;
use super::conv::{Convolution, known_sizes, with_channels};
use super::{Wiring, input, only_attributes, window};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cnn::{Deconv, KernelFormat};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct ConvTranspose {
    convolution: Convolution,
    output_padding: Option<TVec<usize>>,
    bias: Option<usize>,
}

impl Wiring for ConvTranspose {
    const OPERATOR: &'static str = "ConvTranspose";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(
            node,
            &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "pads", "strides"],
        )?;
        let output_padding = window::optional_sizes(node, "output_padding")?;
        Ok(ConvTranspose { convolution: Convolution::of(node)?, output_padding, bias: input(node, 2) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let groups = self.convolution.groups;
        let sizes = known_sizes(composer, inputs[1])?;
        ensure!(sizes[0] % groups == 0, "a kernel of {sizes:?} for {groups} groups");
        let x = with_channels(composer, inputs[0], sizes[0])?;
        let bias = match self.bias {
            Some(bias) => inputs[bias],
            None => composer.constant(Tensor::zero_scalar_dt(composer.fact(x)?.datum_type)?)?,
        };
        let kernel = outputs_first(composer, inputs[1], &sizes, groups)?;
        let outputs = sizes[1] * groups;
        let operator = Deconv {
            pool_spec: self.convolution.windows(&sizes, sizes[0], outputs)?,
            kernel_format: KernelFormat::OIHW,
            adjustments: self.output_padding.clone().unwrap_or_else(|| tvec!(0; sizes.len() - 2)),
            group: groups,
        };
        composer.model().wire_node(prefix, operator, &[x, kernel, bias])
    }
}

/// A kernel `[groups · inputs, outputs, ...]` as `[groups · outputs, inputs, ...]`, where inputs and outputs are those of a group.
fn outputs_first(composer: &mut Composer, kernel: OutletId, sizes: &[usize], groups: usize) -> TractResult<OutletId> {
    let [groups, inputs, outputs] = [groups, sizes[0] / groups, sizes[1]].map(|size| size.to_dim());
    let both = [groups.clone() * &inputs];
    let kernel = composer.reshape(kernel, 0, &both, &[groups.clone(), inputs])?;
    let kernel = composer.wire(AxisOp::Move(1, 2), &[kernel])?;
    composer.reshape(kernel, 0, &[groups.clone(), outputs.clone()], &[groups * outputs])
}
