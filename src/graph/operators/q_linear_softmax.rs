//! com.microsoft `QLinearSoftmax` (1): `X` int8 or uint8; its f32 scale and optional zero point, which does not matter; scale
//! and optional zero point of the output. `axis`: before `opset` 13 all axes from it on, later this one.

use super::compose::Composer;
use super::quantized::zero_point;
use super::{Wiring, attribute, axis_of, input, int, is_f32, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct QLinearSoftmax {
    axis: i64,
    joins_axes: bool,
    inputs: [Option<usize>; 5],
}

impl Wiring for QLinearSoftmax {
    const OPERATOR: &'static str = "com.microsoft.QLinearSoftmax";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axis", "opset"])?;
        let opset = attribute(node, "opset").context("opset is missing")?.i;
        let joins_axes = opset < 13;
        Ok(QLinearSoftmax {
            axis: int(node, "axis", -1),
            joins_axes,
            inputs: std::array::from_fn(|position| input(node, position)),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [x, scale, _, out_scale, out_zero_point] = self.inputs.map(|position| position.map(|at| inputs[at]));
        let (Some(mut x), Some(scale), Some(out_scale)) = (x, scale, out_scale) else {
            bail!("values and scales are needed");
        };
        if !is_f32(model, &[scale, out_scale])? {
            return Err(unsupported("only float scales of 16 and 32 bits are supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let shape = composer.shape(x)?;
        let (axis, last) = (axis_of(self.axis, shape.len())?, shape.len() - 1);
        let joined = [shape[axis..].iter().product::<TDim>()];
        if self.joins_axes {
            x = composer.reshape(x, axis, &shape[axis..], &joined)?;
        } else if axis != last {
            x = composer.wire(AxisOp::Move(axis, last), &[x])?;
        }
        let out_zero_point = zero_point(composer, out_zero_point, x)?;
        let softmax = PlainOperator(crate::ops::QLinearSoftmax);
        let mut y = composer.wire(softmax, &[x, scale, out_scale, out_zero_point])?;
        if self.joins_axes {
            y = composer.reshape(y, axis, &joined, &shape[axis..])?;
        } else if axis != last {
            y = composer.wire(AxisOp::Move(last, axis), &[y])?;
        }
        Ok(tvec!(y))
    }
}
