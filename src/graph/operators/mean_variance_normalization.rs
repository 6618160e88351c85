//! ONNX `MeanVarianceNormalization` (9 to 13) of floating-point tensors: `(x - mean) / (sqrt(mean(x²) - mean²) + 1e-9)`. Attribute: `axes`.

use super::reduce::of_floats;
use super::{Composer, Wiring, arguments, axis_of, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::Reducer;
use tract_core::internal::*;
use tract_core::ops::math::{add, div, sqrt, square, sub};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MeanVarianceNormalization {
    axes: Vec<i64>,
}

/// Added to the deviation.
const EPSILON: f32 = 1e-9;

impl Wiring for MeanVarianceNormalization {
    const OPERATOR: &'static str = "MeanVarianceNormalization";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["axes"])?;
        Ok(MeanVarianceNormalization { axes: arguments::ints(node, "axes").unwrap_or_else(|| vec![0, 2, 3]) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let composer = &mut Composer::new(prefix, model);
        let rank = composer.fact(inputs[0])?.rank();
        let axes = self.axes.iter().map(|axis| axis_of(*axis, rank)).collect::<TractResult<Vec<_>>>()?;
        let mean = of_floats(composer, Reducer::Mean, inputs[0], &axes)?;
        let squares = composer.wire(square(), inputs)?;
        let mean_of_squares = of_floats(composer, Reducer::Mean, squares, &axes)?;
        let square_of_mean = composer.wire(square(), &[mean])?;
        let variance = composer.binary(sub(), mean_of_squares, square_of_mean)?;
        let deviation = composer.wire(sqrt(), &[variance])?;
        let divisor = composer.binary_with(add(), deviation, EPSILON)?;
        let difference = composer.binary(sub(), inputs[0], mean)?;
        Ok(tvec!(composer.binary(div(), difference, divisor)?))
    }
}
