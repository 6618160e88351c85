//! ONNX `ConvInteger` (10): `x` and `w` int8 or uint8, over any number of spatial axes; optional zero points, of `x` one, of
//! `w` one or one for each output. Output: int32.

use super::compose::Composer;
use super::conv::{ATTRIBUTES, groups};
use super::quantized::zero_point;
use super::window::{WindowAttributes, kernel_sizes};
use super::{Wiring, input, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;

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
    windows: WindowAttributes,
}

impl Convolution {
    /// Reads the attributes.
    ///
    /// # Errors
    /// `UnsupportedOp` for values that are not understood.
    pub fn of(node: &NodeProto) -> TractResult<Convolution> {
        Ok(Convolution { groups: groups(node)?, windows: WindowAttributes::of(node)? })
    }

    /// Wires the convolution of integers less their zero points.
    pub fn wire(
        &self,
        composer: &mut Composer,
        [x, w]: [OutletId; 2],
        zero_points: [Option<OutletId>; 2],
    ) -> TractResult<OutletId> {
        let steps = self.windows.steps(&kernel_sizes(composer.model(), w)?)?;
        let operator = ops::ConvInteger { groups: self.groups, steps };
        let zero_points = [zero_point(composer, zero_points[0], x)?, zero_point(composer, zero_points[1], w)?];
        composer.wire(PlainOperator(operator), &[x, w, zero_points[0], zero_points[1]])
    }
}
