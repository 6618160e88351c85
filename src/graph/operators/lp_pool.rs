//! ONNX `LpPool` (2 to 22) and `GlobalLpPool` (2 to 22), f32: the roots of sums of powers of what windows read, or all of an image.
//! Attributes: `p`; of `LpPool` also `kernel_shape`, `strides`, `dilations`, `pads`, `auto_pad`, `ceil_mode`.

use super::compose::Composer;
use super::{Wiring, arguments, int, is_f32, only_attributes, unsupported, window};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cnn::{PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_hir::tract_core::ops::math::{abs, pow};
use tract_onnx::tract_hir::tract_core::ops::nn::{DataFormat, Reduce, Reducer};

/// ONNX `LpPool`.
#[derive(Debug, Clone)]
pub struct LpPool {
    power: f32,
    kernel: TVec<usize>,
    strides: Option<TVec<usize>>,
    dilations: Option<TVec<usize>>,
    padding: PaddingSpec,
}

/// ONNX `GlobalLpPool`.
#[derive(Debug, Clone)]
pub struct GlobalLpPool {
    power: f32,
}

impl Wiring for LpPool {
    const OPERATOR: &'static str = "LpPool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["p", "kernel_shape", "strides", "dilations", "pads", "auto_pad", "ceil_mode"])?;
        let sizes = |name: &str| arguments::ints(node, name).map(|ints| window::sizes(name, &ints)).transpose();
        let kernel = sizes("kernel_shape")?.context("`kernel_shape` is missing")?;
        let pads = sizes("pads")?.unwrap_or_else(|| tvec!(0; 2 * kernel.len()));
        ensure!(pads.len() == 2 * kernel.len(), "`pads` of {} numbers for {} axes", pads.len(), kernel.len());
        let (before, after) = pads.split_at(kernel.len());
        window::refuse_valid_with_ceil_mode(node)?;
        let padding = match &*arguments::string(node, "auto_pad", "NOTSET") {
            "NOTSET" => PaddingSpec::ExplicitOnnxPool(before.into(), after.into(), int(node, "ceil_mode", 0) != 0),
            "VALID" => PaddingSpec::Valid,
            "SAME_UPPER" => PaddingSpec::SameUpper,
            "SAME_LOWER" => PaddingSpec::SameLower,
            other => return Err(unsupported(format!("`auto_pad` of `{other}` is not supported"))),
        };
        let (strides, dilations) = (sizes("strides")?, sizes("dilations")?);
        let fits = |sizes: &Option<TVec<usize>>| sizes.as_ref().is_none_or(|sizes| sizes.len() == kernel.len());
        ensure!(fits(&strides) && fits(&dilations), "the attributes do not fit a kernel of {kernel:?}");
        Ok(LpPool { power: power(node)?, kernel, strides, dilations, padding })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let shape = model.outlet_fact(inputs[0])?.shape.to_tvec();
        ensure!(shape.len() == self.kernel.len() + 2, "a kernel of {:?} over {shape:?}", self.kernel);
        let channels = shape[1].to_usize().context("the number of channels is not known")?;
        let windows = PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: self.kernel.clone(),
            padding: self.padding.clone(),
            dilations: self.dilations.clone(),
            strides: self.strides.clone(),
            input_channels: channels,
            output_channels: channels,
        };
        let sum = SumPool { pool_spec: windows, count_include_pad: false, normalize: false };
        root_of_sum(prefix, model, inputs[0], self.power, sum).map(|outlet| Some(tvec!(outlet)))
    }
}

impl Wiring for GlobalLpPool {
    const OPERATOR: &'static str = "GlobalLpPool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["p"])?;
        Ok(GlobalLpPool { power: power(node)? })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        let axes = (2..model.outlet_fact(inputs[0])?.rank()).collect();
        let sum = Reduce { axes, reducer: Reducer::Sum };
        root_of_sum(prefix, model, inputs[0], self.power, sum).map(|outlet| Some(tvec!(outlet)))
    }
}

fn power(node: &NodeProto) -> TractResult<f32> {
    match int(node, "p", 2) {
        power @ 1.. => Ok(power as f32),
        other => Err(unsupported(format!("`p` is {other}"))),
    }
}

fn root_of_sum(
    prefix: &str,
    model: &mut TypedModel,
    x: OutletId,
    power: f32,
    sum: impl Into<Box<dyn TypedOp>>,
) -> TractResult<OutletId> {
    if !is_f32(model, &[x])? {
        return Err(unsupported("only float32 is supported"));
    }
    let composer = &mut Composer::new(prefix, model);
    let sizes = composer.wire(abs(), &[x])?;
    let powers = composer.binary_with(pow(), sizes, power)?;
    let sum = composer.wire(sum, &[powers])?;
    composer.binary_with(pow(), sum, power.recip())
}
