//! com.microsoft `MatMulNBits` with 4 bits: f32 `A [..., K]`, constant `B` uint8 `[N, blocks, block_size / 2]`, constant
//! f32 scales `[N * blocks]`, optional constant packed zero points, optional constant f32 bias `[N]`.
//! `accuracy_level` only allows lower accuracy; it is always computed in f32.

use super::{Wiring, constant, constant_f32, input, int, is_f32, only_attributes, unsupported};
use crate::kernels::linear::LinearWeights;
use crate::ops::{Linear, Shared};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MatMulNBits {
    inputs: usize,
    outputs: usize,
    block_size: usize,
    zero_points: Option<usize>,
    bias: Option<usize>,
}

impl Wiring for MatMulNBits {
    const OPERATOR: &'static str = "com.microsoft.MatMulNBits";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["K", "N", "bits", "block_size", "accuracy_level"])?;
        let bits = int(node, "bits", 4);
        if bits != 4 {
            return Err(unsupported(format!("{bits} bits are not supported, only 4")));
        }
        if input(node, 4).is_some() {
            return Err(unsupported("reordered groups (g_idx) are not supported"));
        }
        let size = |name| usize::try_from(int(node, name, 0)).ok().filter(|size| *size > 0);
        let (inputs, outputs, block_size) = (size("K"), size("N"), size("block_size"));
        Ok(MatMulNBits {
            inputs: inputs.context("K is missing or not positive")?,
            outputs: outputs.context("N is missing or not positive")?,
            block_size: block_size.context("block_size is missing or not positive")?,
            zero_points: input(node, 3),
            bias: input(node, 5),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<Option<TVec<OutletId>>> {
        if !is_f32(model, &[inputs[0], inputs[2]])? {
            return Err(unsupported("only float32 activations and scales are supported"));
        }
        let not_constant = || unsupported("its weights, scales, zero points and bias must be constants");
        let weights = constant(model, inputs[1])?.ok_or_else(not_constant)?;
        let scales = constant_f32(model, inputs[2])?.ok_or_else(not_constant)?;
        let zero_points = self.zero_points.map(|at| constant(model, inputs[at])?.ok_or_else(not_constant));
        let zero_points = zero_points.transpose()?;
        let zero_points = match &zero_points {
            Some(tensor) if tensor.datum_type() == u8::datum_type() => Some(tensor.as_bytes()),
            Some(_) => return Err(unsupported("only packed uint8 zero points are supported")),
            None => None,
        };
        let weights = LinearWeights::from_nbits4(
            weights.as_bytes(),
            &scales,
            zero_points,
            self.inputs,
            self.outputs,
            self.block_size,
        )?;
        let bias = self.bias.map(|at| constant_f32(model, inputs[at])?.ok_or_else(not_constant)).transpose()?;
        ensure!(bias.as_ref().is_none_or(|bias| bias.len() == self.outputs), "the bias must have N elements");
        let linear = Linear { bias: bias.map(Shared::new), ..Linear::new(weights) };
        model.wire_node(prefix, linear, &inputs[..1]).map(Some)
    }
}
