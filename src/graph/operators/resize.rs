//! ONNX `Resize` (10 to 19): any type for `nearest`, else float types; ONNX Runtime rounds
//! interpolated integers in ways of its own.
//!
//! Inputs: `X`; `roi`, for `tf_crop_and_resize`; `scales` or `sizes`; all but `X` constant, `sizes` maybe symbolic. Attributes: `mode`, `nearest_mode`,
//! `coordinate_transformation_mode`, `cubic_coeff_a`, `exclude_outside`, `extrapolation_value`, `antialias`, `axes`,
//! `keep_aspect_ratio_policy`.

use super::{Wiring, arguments, constant, float, input, int, only_attributes, unsupported};
use crate::graph::builder::fresh_symbol;
use crate::onnx::pb::NodeProto;
use crate::ops::{AspectRatio, Coordinates, Interpolation, Rounding, Target};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Resize {
    operator: crate::ops::Resize,
    axes: Option<Vec<i64>>,
    policy: AspectRatio,
    roi: Option<usize>,
    scales: Option<usize>,
    sizes: Option<usize>,
}

impl Wiring for Resize {
    const OPERATOR: &'static str = "Resize";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(
            node,
            &[
                "antialias",
                "axes",
                "coordinate_transformation_mode",
                "cubic_coeff_a",
                "exclude_outside",
                "extrapolation_value",
                "keep_aspect_ratio_policy",
                "mode",
                "nearest_mode",
            ],
        )?;
        let policy = match &*arguments::string(node, "keep_aspect_ratio_policy", "stretch") {
            "stretch" => AspectRatio::Stretch,
            "not_larger" => AspectRatio::NotLarger,
            "not_smaller" => AspectRatio::NotSmaller,
            other => return Err(unsupported(format!("keep_aspect_ratio_policy `{other}`"))),
        };
        let operator = crate::ops::Resize {
            interpolation: interpolation(node, opset)?,
            coordinates: if opset == 10 { Coordinates::Asymmetric } else { coordinates(node)? },
            extrapolation: float(node, "extrapolation_value").unwrap_or(0.),
            exclude_outside: int(node, "exclude_outside", 0) != 0,
            antialias: int(node, "antialias", 0) != 0,
            ..plain()
        };
        let nearest = matches!(operator.interpolation, Interpolation::Nearest(_));
        if nearest && operator.coordinates == Coordinates::HalfPixelSymmetric {
            // ONNX Runtime rounds places between two elements otherwise than the definition says.
            return Err(unsupported("the nearest element with `half_pixel_symmetric` coordinates"));
        }
        let first = if opset == 10 { 1 } else { 2 };
        let roi = if opset == 10 { None } else { input(node, 1) };
        let axes = arguments::ints(node, "axes");
        Ok(Resize { operator, axes, policy, roi, scales: input(node, first), sizes: input(node, first + 1) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let rank = model.outlet_fact(inputs[0])?.rank();
        let axes: Vec<usize> = match &self.axes {
            Some(axes) => axes.iter().map(|axis| arguments::axis(*axis, rank)).collect::<TractResult<_>>()?,
            None => (0..rank).collect(),
        };
        let twice = |position: usize| axes[..position].contains(&axes[position]);
        ensure!(!(0..axes.len()).any(twice), "an axis is resized twice: {axes:?}");
        let mut operator = crate::ops::Resize { axes, ..self.operator.clone() };
        operator.target = self.target(model, inputs)?;
        operator.region = vec![(0., 1.); operator.axes.len()];
        if operator.coordinates == Coordinates::TfCropAndResize {
            let roi = self.roi.context("tf_crop_and_resize without a region of interest")?;
            let roi = arguments::constant_floats(model, inputs[roi], "roi")?;
            ensure!(roi.len() == 2 * operator.axes.len(), "{} bounds of a region of interest", roi.len());
            let (starts, ends) = roi.split_at(operator.axes.len());
            operator.region = starts.iter().copied().zip(ends.iter().copied()).collect();
        }
        wire_resize(operator, prefix, model, inputs[0])
    }
}

impl Resize {
    fn target(&self, model: &TypedModel, inputs: &[OutletId]) -> TractResult<Target> {
        // Before opset 13 a tensor without elements says that an input is left out.
        let given = |position: Option<usize>| -> TractResult<Option<OutletId>> {
            let Some(position) = position else { return Ok(None) };
            let empty = constant(model, inputs[position])?.is_some_and(|tensor| tensor.len() == 0);
            Ok(Some(inputs[position]).filter(|_| !empty))
        };
        match (given(self.scales)?, given(self.sizes)?) {
            (Some(scales), None) => Ok(Target::Scales(arguments::constant_floats(model, scales, "scales")?)),
            (None, Some(sizes)) => {
                let sizes = arguments::constant_sizes(model, sizes, "sizes")?;
                ensure!(!sizes.iter().any(TDim::prove_strict_negative), "sizes {sizes:?}");
                Ok(Target::Sizes(sizes, self.policy))
            }
            (Some(_), Some(_)) => bail!("scales and sizes are both given, or not constant"),
            (None, None) => bail!("neither scales nor sizes are given"),
        }
    }
}

/// A resize without anything special, which an operator changes as it needs.
pub fn plain() -> crate::ops::Resize {
    crate::ops::Resize {
        interpolation: Interpolation::Nearest(Rounding::Simple),
        coordinates: Coordinates::Asymmetric,
        axes: vec![],
        target: Target::Scales(vec![]),
        region: vec![],
        extrapolation: 0.,
        exclude_outside: false,
        antialias: false,
        output: tvec!(),
    }
}

/// Wires it with the sizes of its result, each as far as it is known.
pub fn wire_resize(
    mut operator: crate::ops::Resize,
    prefix: &str,
    model: &mut TypedModel,
    x: OutletId,
) -> TractResult<TVec<OutletId>> {
    let nearest = matches!(operator.interpolation, Interpolation::Nearest(_));
    if !nearest && !model.outlet_fact(x)?.datum_type.is_float() {
        return Err(unsupported("integers are resized in mode `nearest` only"));
    }
    let count = match &operator.target {
        Target::Scales(scales) => {
            ensure!(scales.iter().all(|scale| scale.is_finite() && *scale > 0.), "scales {scales:?}");
            scales.len()
        }
        Target::Sizes(sizes, _) => sizes.len(),
    };
    ensure!(count == operator.axes.len(), "{count} scales or sizes of {} axes", operator.axes.len());
    operator.output = model.outlet_fact(x)?.shape.to_tvec();
    for (position, axis) in operator.axes.iter().enumerate() {
        let size = &mut operator.output[*axis];
        *size = match &operator.target {
            Target::Scales(scales) if scales[position].fract() == 0. => size.clone() * scales[position] as i64,
            Target::Sizes(sizes, AspectRatio::Stretch) => sizes[position].clone(),
            _ => fresh_symbol(&model.symbols, "resized").to_dim(),
        };
    }
    model.wire_node(prefix, operator, &[x])
}

fn interpolation(node: &NodeProto, opset: i64) -> TractResult<Interpolation> {
    let nearest_mode = arguments::string(node, "nearest_mode", "round_prefer_floor");
    Ok(match (&*arguments::string(node, "mode", "nearest"), &*nearest_mode) {
        ("linear", _) => Interpolation::Linear,
        ("cubic", _) if opset > 10 => Interpolation::Cubic(float(node, "cubic_coeff_a").unwrap_or(-0.75)),
        ("nearest", _) if opset == 10 => Interpolation::Nearest(Rounding::Simple),
        ("nearest", "round_prefer_floor") => Interpolation::Nearest(Rounding::PreferFloor),
        ("nearest", "round_prefer_ceil") => Interpolation::Nearest(Rounding::PreferCeil),
        ("nearest", "floor") => Interpolation::Nearest(Rounding::Floor),
        ("nearest", "ceil") => Interpolation::Nearest(Rounding::Ceil),
        (mode, nearest_mode) => return Err(unsupported(format!("mode `{mode}` with nearest_mode `{nearest_mode}`"))),
    })
}

fn coordinates(node: &NodeProto) -> TractResult<Coordinates> {
    Ok(match &*arguments::string(node, "coordinate_transformation_mode", "half_pixel") {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNn,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_crop_and_resize" => Coordinates::TfCropAndResize,
        other => return Err(unsupported(format!("coordinate_transformation_mode `{other}`"))),
    })
}
