//! com.microsoft `BiasSplitGelu`: of `X + bias`, the first half of the last axis times the exact GELU of the second, float32.

use super::compose::Composer;
use super::{Wiring, is_f32, only_attributes, unsupported};
use crate::kernels::activation::Activation;
use crate::onnx::pb::NodeProto;
use crate::ops::Activate;
use tract_core::internal::*;
use tract_core::ops::array::Slice;
use tract_core::ops::math::{add, mul};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct BiasSplitGelu;

impl Wiring for BiasSplitGelu {
    const OPERATOR: &'static str = "com.microsoft.BiasSplitGelu";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &[])?;
        Ok(BiasSplitGelu)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[x, bias] = inputs else { bail!("BiasSplitGelu takes 2 inputs") };
        if !is_f32(model, inputs)? {
            return Err(unsupported("only float32 is supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let sum = composer.binary(add(), x, bias)?;
        let shape = composer.shape(sum)?;
        let axis = shape.len() - 1;
        let width = shape[axis].to_usize().context("the size of the last axis is not known")?;
        ensure!(width % 2 == 0, "the last axis has an odd size, {width}");
        let linear = composer.wire(Slice::new(axis, 0, width / 2), &[sum])?;
        let gate = composer.wire(Slice::new(axis, width / 2, width), &[sum])?;
        let gate = composer.wire(Activate(Activation::Gelu), &[gate])?;
        Ok(tvec!(composer.binary(mul(), linear, gate)?))
    }
}
