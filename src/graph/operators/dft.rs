//! ONNX `DFT` (17 to 20) of floats: real or complex signals along an axis, whose last axis holds the real parts, and the imaginary ones
//! where there are any. `dft_length` is refused. The axis: `axis`, constant (an attribute below opset 20). Attributes: `inverse`,
//! `onesided`.

use super::{Wiring, arguments, axis_of, input, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::fourier::Fourier;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Dft {
    axis: i64,
    axis_input: Option<usize>,
    inverse: bool,
    one_sided: bool,
}

impl Wiring for Dft {
    const OPERATOR: &'static str = "DFT";

    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(node, if opset < 20 { &["axis", "inverse", "onesided"] } else { &["inverse", "onesided"] })?;
        if input(node, 1).is_some() {
            return Err(unsupported("an input `dft_length` is not supported"));
        }
        Ok(Dft {
            axis: int(node, "axis", if opset < 20 { 1 } else { -2 }),
            axis_input: input(node, 2),
            inverse: int(node, "inverse", 0) != 0,
            one_sided: int(node, "onesided", 0) != 0,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axis = match self.axis_input {
            Some(axis) => *arguments::constant_ints(model, inputs[axis], "axis")?.first().context("axis is empty")?,
            None => self.axis,
        };
        let axis = axis_of(axis, model.outlet_fact(inputs[0])?.rank())?;
        let operator = Fourier { axis, inverse: self.inverse, one_sided: self.one_sided };
        model.wire_node(prefix, PlainOperator(operator), &inputs[..1])
    }
}
