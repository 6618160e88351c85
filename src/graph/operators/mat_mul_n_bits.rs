//! com.microsoft `MatMulNBits` (1) with 2, 4 or 8 bits: f32 `A [..., K]`, constant `B` uint8
//! `[N, blocks, block_size * bits / 8]`, constant f32 scales `[N * blocks]`, optional constant zero points, packed uint8 or
//! f32, optional constant `g_idx` int32 `[K]`, optional constant f32 bias `[N]`. `g_idx` is refused with packed zero
//! points and with other than 4 bits: ONNX Runtime refuses it too, or leaves the zero points out.
//! `accuracy_level` is the lowest accuracy that is allowed. With 4 (int8), where `K` is at least 256, blocks are of at most 256 and
//! there is no `g_idx`, activations are rounded to 8 bits as ONNX Runtime rounds them: the scale of a block is its largest magnitude / 127,
//! each element is off by at most half of that, and sums over a block are exact. All else is computed in f32.

use super::{Wiring, input, int, is_f32, only_attributes, unsupported};
use crate::kernels::linear::{LinearWeights, NBits, NBitsZeroPoints};
use crate::onnx::pb::NodeProto;
use crate::ops::{Linear, Shared, f32_slice};
use tract_core::internal::*;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct MatMulNBits {
    bits: usize,
    inputs: usize,
    outputs: usize,
    block_size: usize,
    zero_points: Option<usize>,
    groups: Option<usize>,
    bias: Option<usize>,
    /// Whether activations may be rounded to 8 bits.
    int8: bool,
}

/// The `accuracy_level` that allows int8 activations.
const INT8: i64 = 4;

/// Sums of fewer products are not worth the rounding, whose errors do not cancel each other out in them.
const SHORTEST_ROUNDED_SUM: usize = 256;

impl Wiring for MatMulNBits {
    const OPERATOR: &'static str = "com.microsoft.MatMulNBits";

    fn parse(node: &NodeProto, _: i64) -> TractResult<Self> {
        only_attributes(node, &["K", "N", "bits", "block_size", "accuracy_level", "weight_prepacked"])?;
        if int(node, "weight_prepacked", 0) != 0 {
            return Err(unsupported("weights in the layout of a provider are not supported"));
        }
        let size = |name, default| {
            let size = usize::try_from(int(node, name, default)).ok().filter(|size| *size > 0);
            size.with_context(|| format!("{name} is missing or not positive"))
        };
        let accuracy_level = int(node, "accuracy_level", 0);
        if !(0..=INT8).contains(&accuracy_level) {
            return Err(unsupported(format!("accuracy_level {accuracy_level} is not one of 0 to {INT8}")));
        }
        ensure!(input(node, 1).is_some() && input(node, 2).is_some(), "weights or scales are missing");
        let inputs = size("K", 0)?;
        Ok(MatMulNBits {
            bits: size("bits", 4)?,
            inputs,
            outputs: size("N", 0)?,
            block_size: size("block_size", 0)?,
            zero_points: input(node, 3),
            groups: input(node, 4),
            bias: input(node, 5),
            int8: accuracy_level == INT8 && inputs >= SHORTEST_ROUNDED_SUM,
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !is_f32(model, &[inputs[0], inputs[2]])? {
            return Err(unsupported("only float activations and scales of 16 and 32 bits are supported"));
        }
        let constant = |position: usize| {
            super::constant(model, inputs[position])?
                .context("weights, scales, zero points, groups and bias are constants")
        };
        let optional = |position: Option<usize>| position.map(constant).transpose();
        let (b, scales, zero_points) = (constant(1)?, constant(2)?, optional(self.zero_points)?);
        let (groups, bias) = (optional(self.groups)?, optional(self.bias)?);
        let packed = zero_points.as_ref().is_some_and(|zero_points| zero_points.datum_type() == u8::datum_type());
        if groups.is_some() && (self.bits != 4 || packed) {
            return Err(unsupported("g_idx is supported with 4 bits and without packed zero points only"));
        }
        let matrix = Matrix { operator: self.clone(), b, scales, zero_points, groups };
        matrix.view()?.check()?;
        let bias = bias.as_ref().map(|bias| f32_slice(bias)).transpose()?;
        ensure!(bias.is_none_or(|bias| bias.len() == self.outputs), "the bias must have N elements");
        let bias = bias.map(|bias| Shared::new(bias.to_vec()));
        let how = (self.bits, self.inputs, self.outputs, self.block_size, matrix.groups.is_some(), self.int8);
        let constants = [Some(&matrix.b), Some(&matrix.scales), matrix.zero_points.as_ref(), matrix.groups.as_ref()];
        let constants: Vec<Arc<Tensor>> = constants.into_iter().flatten().cloned().collect();
        let weights = Shared::of(&constants.iter().collect::<Vec<_>>(), how, move || matrix.pack());
        let linear = Linear { bias, ..Linear::new(self.inputs, self.outputs, weights) };
        model.wire_node(prefix, linear, &inputs[..1])
    }
}

/// The constants of an operator.
struct Matrix {
    operator: MatMulNBits,
    b: Arc<Tensor>,
    scales: Arc<Tensor>,
    zero_points: Option<Arc<Tensor>>,
    groups: Option<Arc<Tensor>>,
}

impl Matrix {
    fn view(&self) -> TractResult<NBits<'_>> {
        let groups = self.groups.as_ref().map(|groups| groups.try_as_plain_ram()?.as_slice::<i32>());
        Ok(NBits {
            bits: self.operator.bits,
            inputs: self.operator.inputs,
            outputs: self.operator.outputs,
            block_size: self.operator.block_size,
            b: self.b.try_as_plain_ram()?.as_slice::<u8>()?,
            scales: f32_slice(&self.scales)?,
            zero_points: self.zero_points.as_deref().map_or(Ok(NBitsZeroPoints::None), nbits_zero_points)?,
            groups: groups.transpose()?,
        })
    }

    /// # Panics
    /// Where the constants do not fit: they are checked before.
    fn pack(self) -> LinearWeights {
        let view = self.view().expect("constants of the types that were checked");
        let weights = LinearWeights::from_nbits(view).expect("constants that were checked");
        if self.operator.int8 { weights.rounding_activations() } else { weights }
    }
}

fn nbits_zero_points(tensor: &Tensor) -> TractResult<NBitsZeroPoints<'_>> {
    match tensor.datum_type() {
        DatumType::U8 => Ok(NBitsZeroPoints::Packed(tensor.as_bytes())),
        DatumType::F32 => Ok(NBitsZeroPoints::Floats(f32_slice(tensor)?)),
        other => Err(unsupported(format!("zero points of type {other:?} are not supported, only uint8 and float"))),
    }
}
