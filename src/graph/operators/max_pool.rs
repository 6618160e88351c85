//! ONNX `MaxPool` (1 to 22) of float32, float64, int8 and uint8; the output `Indices` is optional.

use super::window::WindowAttributes;
use super::{Wiring, has_output, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::plain::PlainOperator;
use crate::ops::pool::{PlaceOrder, Pool, Pooling};
use tract_core::internal::*;

/// The attributes that are understood.
const ATTRIBUTES: &[&str] = &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"];

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MaxPool {
    windows: WindowAttributes,
    order: PlaceOrder,
    outputs: [bool; 2],
}

impl Wiring for MaxPool {
    const OPERATOR: &'static str = "MaxPool";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, ATTRIBUTES)?;
        let order = match int(node, "storage_order", 0) {
            0 => PlaceOrder::RowMajor,
            _ => PlaceOrder::ColumnMajor,
        };
        let outputs = [has_output(node, 0), has_output(node, 1)];
        Ok(MaxPool { windows: WindowAttributes::of(node)?, order, outputs })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        use DatumType::{F32, F64, I8, U8};
        if ![F32, F64, I8, U8].contains(&model.outlet_fact(inputs[0])?.datum_type) {
            return Err(unsupported("only float32, float64, int8 and uint8 are supported"));
        }
        let pooling = Pooling::Greatest { places: self.outputs[1].then_some(self.order) };
        let outlets = pool(&self.windows, pooling, prefix, model, inputs)?;
        Ok(outlets.into_iter().zip(self.outputs).filter(|(_, named)| *named).map(|(outlet, _)| outlet).collect())
    }
}

/// Wires a pool of that kind.
pub fn pool(
    windows: &WindowAttributes,
    pooling: Pooling,
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    let kernel = windows.kernel()?;
    let steps = windows.steps(&kernel)?;
    let operator = Pool { pooling, kernel, steps, round_up: windows.round_up };
    model.wire_node(prefix, PlainOperator(operator), &inputs[..1])
}
