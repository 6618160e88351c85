//! com.microsoft `QLinearAveragePool`, `QLinearGlobalAveragePool` and `QLinearReduceMean` (1): values int8 or uint8, their f32
//! scale and optional zero point, scale and optional zero point of the output. The mean is computed in f32. With
//! `channels_last` the channels of the pools stand last.

use super::attention_parts::flag;
use super::compose::Composer;
use super::quantized::{Quantized, attributes, channels_first, channels_last, dequantize, node, quantize};
use super::{Wiring, input, only_attributes, wire_node};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

const AVERAGE_POOL: &[&str] = &["auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"];

/// com.microsoft `QLinearAveragePool`.
#[derive(Debug, Clone)]
pub struct QLinearAveragePool(Mean);

/// com.microsoft `QLinearGlobalAveragePool`.
#[derive(Debug, Clone)]
pub struct QLinearGlobalAveragePool(Mean);

/// com.microsoft `QLinearReduceMean`.
#[derive(Debug, Clone)]
pub struct QLinearReduceMean(Mean);

impl Wiring for QLinearAveragePool {
    const OPERATOR: &'static str = "com.microsoft.QLinearAveragePool";

    fn parse(proto: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(proto, &[AVERAGE_POOL, &["channels_last"]].concat())?;
        let channels_last = flag(proto, "channels_last")?;
        let operator = node("AveragePool", 1, attributes(proto, AVERAGE_POOL));
        Ok(QLinearAveragePool(Mean::of(proto, operator, opset, channels_last)))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs)
    }
}

impl Wiring for QLinearGlobalAveragePool {
    const OPERATOR: &'static str = "com.microsoft.QLinearGlobalAveragePool";

    fn parse(proto: &NodeProto, opset: i64) -> TractResult<Self> {
        only_attributes(proto, &["channels_last"])?;
        let channels_last = flag(proto, "channels_last")?;
        Ok(QLinearGlobalAveragePool(Mean::of(proto, node("GlobalAveragePool", 1, vec![]), opset, channels_last)))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs)
    }
}

impl Wiring for QLinearReduceMean {
    const OPERATOR: &'static str = "com.microsoft.QLinearReduceMean";

    fn parse(proto: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(proto, &["axes", "keepdims"])?;
        // With this opset the axes are an attribute.
        let operator = node("ReduceMean", 1, attributes(proto, &["axes", "keepdims"]));
        Ok(QLinearReduceMean(Mean::of(proto, operator, 13, false)))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        self.0.wire(prefix, model, inputs)
    }
}

/// A mean of dequantised values by another operator.
#[derive(Debug, Clone)]
struct Mean {
    inputs: [Option<usize>; 5],
    operator: NodeProto,
    opset: i64,
    channels_last: bool,
}

impl Mean {
    fn of(proto: &NodeProto, operator: NodeProto, opset: i64, channels_last: bool) -> Mean {
        Mean { inputs: std::array::from_fn(|position| input(proto, position)), operator, opset, channels_last }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [values, scale, zero_point, out_scale, out_zero_point] =
            self.inputs.map(|position| position.map(|at| inputs[at]));
        let values = values.context("X is missing")?;
        let quantized = Quantized { values, scale: scale.context("x_scale is missing")?, zero_point };
        let composer = &mut Composer::new(prefix, model);
        let mut x = dequantize(composer, quantized, 0)?;
        if self.channels_last {
            x = channels_first(composer, x)?;
        }
        let mut mean = wire_node(&self.operator, self.opset, &format!("{prefix}.mean"), model, &[x])?[0];
        let out_scale = out_scale.context("y_scale is missing")?;
        let composer = &mut Composer::new(prefix, model);
        if self.channels_last {
            mean = channels_last(composer, mean)?;
        }
        Ok(tvec!(quantize(composer, mean, out_scale, out_zero_point, values)?))
    }
}
