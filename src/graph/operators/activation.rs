//! ONNX `Relu` (6 to 14), `Sigmoid` and `Tanh` (6 to 13): float32 becomes [`Activate`], which keeps NaN, as does `Relu` of
//! float64; `Relu` of integers and `Tanh` of float64 too.

use super::compose::Composer;
use super::{Wiring, is_f32, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use crate::ops::extremum::Extremum;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::math::{max, tanh};

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

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if is_f32(model, inputs)? {
            return model.wire_node(prefix, Activate(Activation::Relu), inputs);
        }
        let composer = &mut Composer::new(prefix, model);
        let datum_type = composer.fact(inputs[0])?.datum_type;
        let zero = composer.constant(Tensor::zero_scalar_dt(datum_type)?)?;
        Ok(tvec!(match datum_type.is_float() {
            true => composer.wire(PlainOperator(Extremum { greatest: true }), &[inputs[0], zero])?,
            false => composer.binary(max(), inputs[0], zero)?,
        }))
    }
}

impl Wiring for Sigmoid {
    const OPERATOR: &'static str = "Sigmoid";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Sigmoid)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        model.wire_node(prefix, Activate(Activation::Sigmoid), inputs)
    }
}

impl Wiring for Tanh {
    const OPERATOR: &'static str = "Tanh";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[]).map(|()| Tanh)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        match is_f32(model, inputs)? {
            true => model.wire_node(prefix, Activate(Activation::Tanh), inputs),
            false => model.wire_node(prefix, tanh(), inputs),
        }
    }
}
