//! The operations that decide the speed of a Transformer: their fields, shapes, dtypes and meaning, as tract operators.
//! Each computes on the CPU through [`crate::kernels`]; [`crate::exec`] may place it elsewhere.

mod activate;
pub mod affine_grid;
mod append_to_cache;
pub mod arg_extremum;
mod attention;
pub mod bit_cast;
pub mod bit_shift;
pub mod bitwise;
mod cache_tensor;
pub mod cast_to_integer;
pub mod causal_convolution;
pub mod center_crop_pad;
mod check_indices;
pub mod col2im;
pub mod conv;
mod conv_integer;
pub mod conv_transpose;
pub mod cumulative;
mod dequantize_linear;
pub mod determinant;
mod dynamic_quantize_linear;
pub mod einsum;
pub mod elementary;
mod elements;
mod embedding;
pub mod extremum;
pub mod eye;
pub mod fourier;
mod gated_linear;
pub mod gather_nd;
pub mod hardmax;
mod integer_linear;
pub mod integer_mat_mul;
mod integer_power;
pub mod inverse;
mod known_sizes;
mod layer_norm;
mod linear;
pub mod linear_attention;
pub mod local_response;
mod lookup;
mod mat_mul_integer;
mod matmul;
mod mixture_of_experts;
mod narrow_integer;
pub mod negative_log_likelihood;
pub mod non_max_suppression;
pub mod non_zero;
mod one_hot;
mod pad;
mod padding_mask;
pub mod plain;
pub mod pool;
mod q_linear_binary;
mod q_linear_softmax;
mod quantization;
mod quantize_linear;
mod quantized_linear;
mod quantized_norm;
pub mod random;
pub mod recurrent;
mod reduce;
mod relative_position_bucket;
mod requantize;
mod resize;
mod reverse_sequence;
mod rms_norm;
pub mod roi_align;
mod rotary_embedding;
mod rotate_and_cache;
mod round_float;
mod scatter;
mod shared;
pub mod short_time_fourier;
mod slice;
mod softplus;
pub(crate) mod spare;
mod tensor_scatter;
mod top_k;
mod unique;
pub mod windows;

pub use activate::Activate;
pub use append_to_cache::{AppendToCache, Buffer};
pub use attention::{Attention, Columns, HeadLayout};
pub use check_indices::CheckIndices;
pub use conv_integer::ConvInteger;
pub use dequantize_linear::DequantizeLinear;
pub use dynamic_quantize_linear::DynamicQuantizeLinear;
pub(crate) use elements::integers;
pub use embedding::Embedding;
pub use gated_linear::GatedLinear;
pub use integer_linear::IntegerLinear;
pub use integer_power::IntegerPower;
pub use known_sizes::KnownSizes;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use lookup::Lookup;
pub use mat_mul_integer::{MatMulInteger, signed_operand};
pub use matmul::MatMul;
pub use mixture_of_experts::{Expert, ExpertActivation, ExpertLayer, Mixing, MixtureOfExperts};
pub use narrow_integer::NarrowInteger;
pub use one_hot::OneHot;
pub use pad::{Pad, PadMode};
pub use padding_mask::PaddingMask;
pub use q_linear_binary::QLinearBinary;
pub use q_linear_softmax::QLinearSoftmax;
pub use quantization::QuantizedType;
pub(crate) use quantization::{runs, to_f32};
pub use quantize_linear::QuantizeLinear;
pub use quantized_linear::QuantizedLinear;
pub use quantized_norm::QuantizedNorm;
pub use reduce::{Reduce, Reducer};
pub use relative_position_bucket::RelativePositionBucket;
pub use requantize::Requantize;
pub use resize::{AspectRatio, Coordinates, Interpolation, Resize, Rounding, Target};
pub use reverse_sequence::ReverseSequence;
pub use rms_norm::RmsNorm;
pub use rotary_embedding::{Positions, RotaryEmbedding};
pub use rotate_and_cache::RotateAndCache;
pub use round_float::RoundFloat;
pub use scatter::{Reduction, ScatterElements, ScatterNd};
pub use shared::{Shared, Sharing};
pub use slice::{Slice, resolve};
pub use softplus::Softplus;
pub use tensor_scatter::TensorScatter;
pub use top_k::TopK;
pub use unique::Unique;

use tract_core::internal::*;

/// The elements of an f32 tensor.
pub(crate) fn f32_slice(tensor: &Tensor) -> TractResult<&[f32]> {
    tensor.try_as_plain_ram()?.as_slice::<f32>()
}

/// The elements of an int64 tensor.
fn i64_slice(tensor: &Tensor) -> TractResult<&[i64]> {
    tensor.try_as_plain_ram()?.as_slice::<i64>()
}

/// A new f32 tensor whose elements are 0 but for those that `fill` writes.
fn f32_tensor(shape: &[usize], fill: impl FnOnce(&mut [f32]) -> TractResult<()>) -> TractResult<Tensor> {
    let mut tensor = Tensor::zero_dt(f32::datum_type(), shape)?;
    fill(tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?)?;
    Ok(tensor)
}

/// Rows of a tensor seen as a matrix with the last axis as columns.
fn rows(shape: &[usize]) -> usize {
    shape[..shape.len() - 1].iter().product()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Evaluates an operator on f32 tensors outside any plan.
    pub fn evaluate(operator: &dyn TypedOp, inputs: &[Tensor]) -> TractResult<Tensor> {
        let inputs = inputs.iter().map(|tensor| tensor.clone().into_tvalue()).collect();
        Ok(operator.eval(&EvalContext::out_of_plan(), inputs)?.remove(0).into_tensor())
    }

    /// An f32 tensor.
    pub fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_shape(shape, values).unwrap()
    }

    /// Panics unless the tensor has that shape and, within 1e-5, those values.
    pub fn assert_close(what: &str, actual: &Tensor, shape: &[usize], expected: &[f32]) {
        assert_eq!(actual.shape(), shape, "{what}");
        for (actual, expected) in f32_slice(actual).unwrap().iter().zip(expected) {
            assert!((actual - expected).abs() <= 1e-5, "{what}: {actual} instead of {expected}");
        }
    }
}
