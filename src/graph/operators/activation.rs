//! ONNX `Relu` (6 to 14), `Sigmoid` and `Tanh` (6 to 13): float32 becomes [`Activate`], which keeps NaN, as does `Relu` of
//! float64; other types are left to tract.

use super::compose::Composer;
use super::{Wiring, is_f32, only_attributes};
use crate::kernels::activation::Activation;
use crate::ops::Activate;
use crate::ops::extremum::Extremum;
use crate::ops::plain::PlainOperator;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// ONNX `Relu`.
#[derive(Debug, Clone)]
pub struct Relu;

/// ONNX `Sigmoid`.
#[derive(Debug, Clone)]
pub struct Sigmoid;

/// ONNX `Tanh`.
#[derive(Debug, Clone)]
pub struct Tanh;

impl Wiring for Relu {
    const OPERATOR: &'static str = "Relu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Relu)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        if model.outlet_fact(inputs[0])?.datum_type != f64::datum_type() {
            return wire(Activation::Relu, prefix, model, inputs);
        }
        let composer = &mut Composer::new(prefix, model);
        let zero = composer.constant(tensor0(0f64))?;
        Ok(Some(tvec!(composer.wire(PlainOperator(Extremum { greatest: true }), &[inputs[0], zero])?)))
    }
}

impl Wiring for Sigmoid {
    const OPERATOR: &'static str = "Sigmoid";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Sigmoid)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        wire(Activation::Sigmoid, prefix, model, inputs)
    }
}

impl Wiring for Tanh {
    const OPERATOR: &'static str = "Tanh";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Tanh)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        wire(Activation::Tanh, prefix, model, inputs)
    }
}

fn wire(
    activation: Activation,
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
) -> TractResult<Option<TVec<OutletId>>> {
    if !is_f32(model, inputs)? {
        return Ok(None);
    }
    model.wire_node(prefix, Activate(activation), inputs).map(Some)
}
