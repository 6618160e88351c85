//! com.microsoft `QLinearSigmoid` and `QLinearLeakyRelu` (1): `X` int8 or uint8; f32 scale and optional zero point; scale and
//! optional zero point of the output, which has `X`'s type.

use super::compose::Composer;
use super::quantized::{Quantized, dequantize, quantize};
use super::{Wiring, float, input, only_attributes};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::nn::{leaky_relu, sigmoid};

/// com.microsoft `QLinearSigmoid`.
#[derive(Debug, Clone)]
pub struct QLinearSigmoid(Operands);

/// com.microsoft `QLinearLeakyRelu`.
#[derive(Debug, Clone)]
pub struct QLinearLeakyRelu {
    operands: Operands,
    alpha: f32,
}

/// Where the inputs stand.
#[derive(Debug, Clone)]
struct Operands([Option<usize>; 5]);

impl Wiring for QLinearSigmoid {
    const OPERATOR: &'static str = "com.microsoft.QLinearSigmoid";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(QLinearSigmoid(Operands::of(node)))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(sigmoid(), prefix, model, inputs)
    }
}

impl Wiring for QLinearLeakyRelu {
    const OPERATOR: &'static str = "com.microsoft.QLinearLeakyRelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["alpha"])?;
        Ok(QLinearLeakyRelu { operands: Operands::of(node), alpha: float(node, "alpha").unwrap_or(0.01) })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.operands.wire(leaky_relu(self.alpha), prefix, model, inputs)
    }
}

impl Operands {
    fn of(node: &NodeProto) -> Operands {
        Operands(std::array::from_fn(|position| input(node, position)))
    }

    fn wire(
        &self,
        activation: ElementWiseOp,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let [values, scale, zero_point, out_scale, out_zero_point] =
            self.0.map(|position| position.map(|at| inputs[at]));
        let values = values.context("X is missing")?;
        let quantized = Quantized { values, scale: scale.context("X_scale is missing")?, zero_point };
        let composer = &mut Composer::new(prefix, model);
        let x = dequantize(composer, quantized, 0)?;
        let y = composer.wire(activation, &[x])?;
        let out_scale = out_scale.context("Y_scale is missing")?;
        Ok(tvec!(quantize(composer, y, out_scale, out_zero_point, values)?))
    }
}
