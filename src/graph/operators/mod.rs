//! How ONNX operators are wired: onto tract's typed operators and our own. One operator per file, or one table of operators
//! that differ in nothing but what computes them.

mod activation;
mod affine_grid;
mod arg_extremum;
mod arguments;
mod attention;
mod attention_microsoft;
mod attention_parts;
mod average_pool;
mod batch_normalization;
mod bias_add;
mod bias_gelu;
mod bias_split_gelu;
mod binary;
mod bit_cast;
mod bit_shift;
mod bitwise;
mod cast;
mod causal_conv_with_state;
mod celu;
mod center_crop_pad;
mod col2im;
mod compose;
mod compress;
mod concat;
mod constant;
mod constant_of_shape;
mod conv;
mod conv_integer;
mod conv_transpose;
mod cumulative;
mod decoder_masked_multi_head_attention;
mod depth_to_space;
mod dequantize_linear;
mod det;
mod dft;
mod dropout;
mod dynamic_quantize_linear;
mod dynamic_quantize_mat_mul;
mod einsum;
mod elu;
mod embed_layer_normalization;
mod equal;
mod expand;
mod expand_dims;
mod experts;
mod extrema;
mod eye_like;
mod fast_gelu;
mod flatten;
mod fused_conv;
mod fused_gemm;
mod fused_mat_mul;
mod gated_relative_position_bias;
mod gather;
mod gather_block_quantized;
mod gather_nd;
mod gelu;
mod gemm;
mod gemm_fast_gelu;
mod global_pool;
mod grid_sample;
mod group_norm;
mod group_normalization;
mod group_query_attention;
mod hard_sigmoid;
mod hardmax;
mod identity;
mod instance_normalization;
mod inverse;
mod is_special;
mod layer_normalization;
mod leaky_relu;
mod linear_attention;
mod log_softmax;
mod loss;
mod lp_normalization;
mod lp_pool;
mod lrn;
mod mat_mul;
mod mat_mul_integer;
mod mat_mul_integer_to_float;
mod mat_mul_n_bits;
mod max_pool;
mod mean;
mod mean_variance_normalization;
mod mel_weight_matrix;
mod moe;
mod multi_head;
mod multi_head_attention;
mod multinomial;
mod named_activation;
mod nhwc_conv;
mod non_max_suppression;
mod non_zero;
mod normalise;
mod one_hot;
mod p_relu;
mod pad;
mod pow;
mod q_attention;
mod q_embed_layer_normalization;
mod q_gemm;
mod q_linear_activation;
mod q_linear_binary;
mod q_linear_concat;
mod q_linear_conv;
mod q_linear_mat_mul;
mod q_linear_pool;
mod q_linear_softmax;
mod q_linear_where;
mod q_moe;
mod quantize_linear;
mod quantized;
mod quick_gelu;
mod random;
mod range;
mod recurrent;
mod reduce;
mod relative_position_bias;
mod remainder;
mod reshape;
mod resize;
mod reverse_sequence;
mod rms_normalization;
mod roi_align;
mod rotary_embedding;
mod rotary_embedding_microsoft;
mod scatter;
mod select;
mod selu;
mod shape;
mod shrink;
mod simplified_layer_normalization;
mod skip_layer_normalization;
mod skip_simplified_layer_normalization;
mod slice;
mod softmax;
mod softplus;
mod space_to_depth;
mod split;
mod squeeze;
mod stft;
mod sum;
mod swi_glu;
mod swish;
mod tensor_scatter;
mod thresholded_relu;
mod tile;
mod top_k;
mod transpose;
mod trilu;
mod unary;
mod unique;
mod unsqueeze;
mod upsample;
mod window;
mod window_function;
mod wires;

pub use compose::Composer;

use crate::error::Error;
use crate::onnx::pb::NodeProto;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::LazyLock;
use tract_core::internal::*;

/// How an operator becomes nodes of a typed graph.
trait Wiring: Clone + Debug + Send + Sync + Sized + 'static {
    /// Operator type, with its domain when that is not ONNX's own.
    const OPERATOR: &'static str;

    /// Reads the node's attributes.
    fn parse(node: &NodeProto, opset: i64) -> TractResult<Self>;

    /// Wires the operator on those of its inputs that are there; gives an outlet for each output that has a name, in order.
    ///
    /// # Errors
    /// [`Error`] for a use of the operator that is not supported; any other error when a value is wanted that is no constant:
    /// the node is then wired again, at run time, when its value is known.
    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>>;
}

/// Parses and wires a node of one operator, or of those of one table.
type WireNode = fn(&NodeProto, i64, &str, &mut TypedModel, &[OutletId]) -> TractResult<TVec<OutletId>>;

/// The operators that can be wired, by type, with its domain when that is not ONNX's own.
type Operators = HashMap<&'static str, WireNode>;

static OPERATORS: LazyLock<Operators> = LazyLock::new(operators);

/// Whether there is an operator of that type.
pub fn is_known(op_type: &str) -> bool {
    OPERATORS.contains_key(op_type)
}

/// Wires a node on those of its inputs that are there; gives an outlet for each output that has a name, in order.
///
/// # Errors
/// [`Error`] for what is not supported; any other error where a value that the operator needs may not be known yet.
pub fn wire_node(
    node: &NodeProto,
    opset: i64,
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    match OPERATORS.get(&*node.op_type) {
        Some(wire) => wire(node, opset, prefix, model, inputs),
        None => Err(unsupported("it is not supported")),
    }
}

fn operators() -> Operators {
    let mut onnx = Operators::new();
    onnx.extend(binary::OPERATORS.iter().map(|(operator, _)| (*operator, binary::wire as WireNode)));
    onnx.extend(unary::OPERATORS.iter().map(|(operator, _)| (*operator, unary::wire as WireNode)));
    register::<activation::Relu>(&mut onnx);
    register::<activation::Sigmoid>(&mut onnx);
    register::<activation::Tanh>(&mut onnx);
    register::<affine_grid::AffineGrid>(&mut onnx);
    register::<arg_extremum::ArgMax>(&mut onnx);
    register::<arg_extremum::ArgMin>(&mut onnx);
    register::<attention::Attention>(&mut onnx);
    register::<attention_microsoft::Attention>(&mut onnx);
    register::<average_pool::AveragePool>(&mut onnx);
    register::<batch_normalization::BatchNormalization>(&mut onnx);
    register::<bias_add::BiasAdd>(&mut onnx);
    register::<bias_gelu::BiasGelu>(&mut onnx);
    register::<bias_split_gelu::BiasSplitGelu>(&mut onnx);
    register::<bit_cast::BitCast>(&mut onnx);
    register::<bit_shift::BitShift>(&mut onnx);
    register::<bitwise::BitwiseAnd>(&mut onnx);
    register::<bitwise::BitwiseNot>(&mut onnx);
    register::<bitwise::BitwiseOr>(&mut onnx);
    register::<bitwise::BitwiseXor>(&mut onnx);
    register::<cast::Cast>(&mut onnx);
    register::<cast::CastLike>(&mut onnx);
    register::<causal_conv_with_state::CausalConvWithState>(&mut onnx);
    register::<celu::Celu>(&mut onnx);
    register::<center_crop_pad::CenterCropPad>(&mut onnx);
    register::<col2im::Col2Im>(&mut onnx);
    register::<compress::Compress>(&mut onnx);
    register::<concat::Concat>(&mut onnx);
    register::<constant_of_shape::ConstantOfShape>(&mut onnx);
    register::<constant::Constant>(&mut onnx);
    register::<conv::Conv>(&mut onnx);
    register::<conv_integer::ConvInteger>(&mut onnx);
    register::<conv_transpose::ConvTranspose>(&mut onnx);
    register::<cumulative::CumProd>(&mut onnx);
    register::<cumulative::CumSum>(&mut onnx);
    register::<decoder_masked_multi_head_attention::DecoderMaskedMultiHeadAttention>(&mut onnx);
    register::<depth_to_space::DepthToSpace>(&mut onnx);
    register::<dequantize_linear::DequantizeLinear>(&mut onnx);
    register::<dequantize_linear::MicrosoftDequantizeLinear>(&mut onnx);
    register::<det::Det>(&mut onnx);
    register::<dft::Dft>(&mut onnx);
    register::<dropout::Dropout>(&mut onnx);
    register::<dynamic_quantize_linear::DynamicQuantizeLinear>(&mut onnx);
    register::<dynamic_quantize_mat_mul::DynamicQuantizeMatMul>(&mut onnx);
    register::<einsum::Einsum>(&mut onnx);
    register::<elu::Elu>(&mut onnx);
    register::<embed_layer_normalization::EmbedLayerNormalization>(&mut onnx);
    register::<equal::Equal>(&mut onnx);
    register::<expand::Expand>(&mut onnx);
    register::<expand_dims::ExpandDims>(&mut onnx);
    register::<extrema::Clip>(&mut onnx);
    register::<extrema::Max>(&mut onnx);
    register::<extrema::Min>(&mut onnx);
    register::<eye_like::EyeLike>(&mut onnx);
    register::<fast_gelu::FastGelu>(&mut onnx);
    register::<flatten::Flatten>(&mut onnx);
    register::<fused_conv::FusedConv>(&mut onnx);
    register::<fused_gemm::FusedGemm>(&mut onnx);
    register::<fused_mat_mul::FusedMatMul>(&mut onnx);
    register::<fused_mat_mul::TransposeMatMul>(&mut onnx);
    register::<gated_relative_position_bias::GatedRelativePositionBias>(&mut onnx);
    register::<gather::Gather>(&mut onnx);
    register::<gather::GatherElements>(&mut onnx);
    register::<gather_block_quantized::GatherBlockQuantized>(&mut onnx);
    register::<gather_nd::GatherND>(&mut onnx);
    register::<gelu::Gelu>(&mut onnx);
    register::<gemm::Gemm>(&mut onnx);
    register::<gemm_fast_gelu::GemmFastGelu>(&mut onnx);
    register::<global_pool::GlobalAveragePool>(&mut onnx);
    register::<global_pool::GlobalMaxPool>(&mut onnx);
    register::<grid_sample::GridSample>(&mut onnx);
    register::<group_norm::GroupNorm>(&mut onnx);
    register::<group_norm::SkipGroupNorm>(&mut onnx);
    register::<group_normalization::GroupNormalization>(&mut onnx);
    register::<group_query_attention::GroupQueryAttention>(&mut onnx);
    register::<hard_sigmoid::HardSigmoid>(&mut onnx);
    register::<hardmax::Hardmax>(&mut onnx);
    register::<identity::Identity>(&mut onnx);
    register::<instance_normalization::InstanceNormalization>(&mut onnx);
    register::<inverse::Inverse>(&mut onnx);
    register::<is_special::IsInf>(&mut onnx);
    register::<is_special::IsNaN>(&mut onnx);
    register::<layer_normalization::LayerNormalization>(&mut onnx);
    register::<leaky_relu::LeakyRelu>(&mut onnx);
    register::<linear_attention::LinearAttention>(&mut onnx);
    register::<log_softmax::LogSoftmax>(&mut onnx);
    register::<loss::NegativeLogLikelihoodLoss>(&mut onnx);
    register::<loss::SoftmaxCrossEntropyLoss>(&mut onnx);
    register::<lp_normalization::LpNormalization>(&mut onnx);
    register::<lp_pool::GlobalLpPool>(&mut onnx);
    register::<lp_pool::LpPool>(&mut onnx);
    register::<lrn::Lrn>(&mut onnx);
    register::<mat_mul::MatMul>(&mut onnx);
    register::<mat_mul_integer::MatMulInteger>(&mut onnx);
    register::<mat_mul_integer_to_float::MatMulIntegerToFloat>(&mut onnx);
    register::<mat_mul_n_bits::MatMulNBits>(&mut onnx);
    register::<max_pool::MaxPool>(&mut onnx);
    register::<mean::Mean>(&mut onnx);
    register::<mean_variance_normalization::MeanVarianceNormalization>(&mut onnx);
    register::<mel_weight_matrix::MelWeightMatrix>(&mut onnx);
    register::<moe::Moe>(&mut onnx);
    register::<multi_head_attention::MultiHeadAttention>(&mut onnx);
    register::<multinomial::Multinomial>(&mut onnx);
    register::<nhwc_conv::NhwcConv>(&mut onnx);
    register::<non_max_suppression::NonMaxSuppression>(&mut onnx);
    register::<non_zero::NonZero>(&mut onnx);
    register::<one_hot::OneHot>(&mut onnx);
    register::<p_relu::PRelu>(&mut onnx);
    register::<pad::Pad>(&mut onnx);
    register::<pow::Pow>(&mut onnx);
    register::<q_attention::QAttention>(&mut onnx);
    register::<q_embed_layer_normalization::QEmbedLayerNormalization>(&mut onnx);
    register::<q_gemm::QGemm>(&mut onnx);
    register::<q_linear_activation::QLinearLeakyRelu>(&mut onnx);
    register::<q_linear_activation::QLinearSigmoid>(&mut onnx);
    register::<q_linear_binary::QLinearAdd>(&mut onnx);
    register::<q_linear_binary::QLinearMul>(&mut onnx);
    register::<q_linear_concat::QLinearConcat>(&mut onnx);
    register::<q_linear_conv::MicrosoftQLinearConv>(&mut onnx);
    register::<q_linear_conv::QLinearConv>(&mut onnx);
    register::<q_linear_mat_mul::QLinearMatMul>(&mut onnx);
    register::<q_linear_pool::QLinearAveragePool>(&mut onnx);
    register::<q_linear_pool::QLinearGlobalAveragePool>(&mut onnx);
    register::<q_linear_pool::QLinearReduceMean>(&mut onnx);
    register::<q_linear_softmax::QLinearSoftmax>(&mut onnx);
    register::<q_linear_where::QLinearWhere>(&mut onnx);
    register::<q_moe::QMoe>(&mut onnx);
    register::<quantize_linear::MicrosoftQuantizeLinear>(&mut onnx);
    register::<quantize_linear::QuantizeLinear>(&mut onnx);
    register::<quick_gelu::QuickGelu>(&mut onnx);
    register::<random::Normal>(&mut onnx);
    register::<random::NormalLike>(&mut onnx);
    register::<random::Uniform>(&mut onnx);
    register::<random::UniformLike>(&mut onnx);
    register::<range::Range>(&mut onnx);
    register::<recurrent::Gru>(&mut onnx);
    register::<recurrent::Lstm>(&mut onnx);
    register::<recurrent::Rnn>(&mut onnx);
    register::<reduce::L1>(&mut onnx);
    register::<reduce::L2>(&mut onnx);
    register::<reduce::LogSum>(&mut onnx);
    register::<reduce::LogSumExp>(&mut onnx);
    register::<reduce::Max>(&mut onnx);
    register::<reduce::Mean>(&mut onnx);
    register::<reduce::Min>(&mut onnx);
    register::<reduce::Prod>(&mut onnx);
    register::<reduce::Sum>(&mut onnx);
    register::<reduce::SumSquare>(&mut onnx);
    register::<relative_position_bias::RelativePositionBias>(&mut onnx);
    register::<remainder::Mod>(&mut onnx);
    register::<reshape::Reshape>(&mut onnx);
    register::<resize::Resize>(&mut onnx);
    register::<reverse_sequence::ReverseSequence>(&mut onnx);
    register::<rms_normalization::RmsNormalization>(&mut onnx);
    register::<roi_align::RoiAlign>(&mut onnx);
    register::<rotary_embedding::RotaryEmbedding>(&mut onnx);
    register::<rotary_embedding_microsoft::RotaryEmbedding>(&mut onnx);
    register::<scatter::Scatter>(&mut onnx);
    register::<scatter::ScatterElements>(&mut onnx);
    register::<scatter::ScatterNd>(&mut onnx);
    register::<select::Where>(&mut onnx);
    register::<selu::Selu>(&mut onnx);
    register::<shape::Shape>(&mut onnx);
    register::<shape::Size>(&mut onnx);
    register::<shrink::Shrink>(&mut onnx);
    register::<simplified_layer_normalization::SimplifiedLayerNormalization>(&mut onnx);
    register::<skip_layer_normalization::SkipLayerNormalization>(&mut onnx);
    register::<skip_simplified_layer_normalization::SkipSimplifiedLayerNormalization>(&mut onnx);
    register::<slice::Slice>(&mut onnx);
    register::<softmax::Softmax>(&mut onnx);
    register::<softplus::Softplus>(&mut onnx);
    register::<space_to_depth::SpaceToDepth>(&mut onnx);
    register::<split::Split>(&mut onnx);
    register::<squeeze::Squeeze>(&mut onnx);
    register::<stft::Stft>(&mut onnx);
    register::<sum::Sum>(&mut onnx);
    register::<swi_glu::SwiGlu>(&mut onnx);
    register::<swish::Swish>(&mut onnx);
    register::<tensor_scatter::TensorScatter>(&mut onnx);
    register::<thresholded_relu::ThresholdedRelu>(&mut onnx);
    register::<tile::Tile>(&mut onnx);
    register::<top_k::TopK>(&mut onnx);
    register::<transpose::Transpose>(&mut onnx);
    register::<trilu::Trilu>(&mut onnx);
    register::<unique::Unique>(&mut onnx);
    register::<unsqueeze::Unsqueeze>(&mut onnx);
    register::<upsample::Upsample>(&mut onnx);
    register::<window_function::BlackmanWindow>(&mut onnx);
    register::<window_function::HammingWindow>(&mut onnx);
    register::<window_function::HannWindow>(&mut onnx);
    onnx
}

fn register<W: Wiring>(operators: &mut Operators) {
    operators
        .insert(W::OPERATOR, |node, opset, prefix, model, inputs| W::parse(node, opset)?.wire(prefix, model, inputs));
}

/// Which of a node's wired inputs stands at `position`, `None` where it was left out.
fn input(node: &NodeProto, position: usize) -> Option<usize> {
    node.input.get(position).filter(|name| !name.is_empty())?;
    Some(node.input[..position].iter().filter(|name| !name.is_empty()).count())
}

/// Whether a node's output at `position` is wanted.
fn has_output(node: &NodeProto, position: usize) -> bool {
    node.output.get(position).is_some_and(|name| !name.is_empty())
}

/// The axis that an attribute means, where negative ones count from the end.
fn axis_of(axis: i64, rank: usize) -> TractResult<usize> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    ensure!((0..rank as i64).contains(&counted), "axis {axis} of a tensor of rank {rank}");
    Ok(counted as usize)
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a crate::onnx::pb::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |attribute| attribute.i)
}

fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name).map(|attribute| attribute.f)
}

/// Refuses every attribute that is not among those that the operator understands.
fn only_attributes(node: &NodeProto, known: &[&str]) -> TractResult<()> {
    match node.attribute.iter().find(|attribute| !known.contains(&&*attribute.name)) {
        Some(unknown) => Err(unsupported(format!("attribute `{}` is not supported", unknown.name))),
        None => Ok(()),
    }
}

fn unsupported(message: impl Into<String>) -> TractError {
    Error::unsupported_op(message).remedy("export the model without this use of the operator").into()
}

/// The axis along which the scales of a quantised tensor vary; 0 where there is one scale for all.
fn scale_axis(model: &TypedModel, inputs: &[OutletId], axis: i64) -> TractResult<usize> {
    let rank = model.outlet_fact(inputs[0])?.rank() as i64;
    if model.outlet_fact(inputs[1])?.shape.volume() == 1.to_dim() {
        return Ok(0);
    }
    let axis = if axis < 0 { axis + rank } else { axis };
    ensure!((0..rank).contains(&axis), "axis {axis} of a tensor of rank {rank}");
    Ok(axis as usize)
}

/// The constant behind an outlet, where there is one.
fn constant(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Arc<Tensor>>> {
    Ok(model.outlet_fact(outlet)?.konst.clone())
}

/// The constant f32 vector behind an outlet, where there is one.
fn constant_f32(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Vec<f32>>> {
    let tensor = constant(model, outlet)?.filter(|tensor| tensor.datum_type() == f32::datum_type());
    tensor.map(|tensor| Ok(crate::ops::f32_slice(&tensor)?.to_vec())).transpose()
}

fn is_f32(model: &TypedModel, outlets: &[OutletId]) -> TractResult<bool> {
    for outlet in outlets {
        if model.outlet_fact(*outlet)?.datum_type != f32::datum_type() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::pb::AttributeProto;

    #[test]
    fn uses() {
        // Operators, inputs, string attributes, and whether this use is supported.
        type Case = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)], bool);
        let cases: &[Case] = &[
            ("Add", &["x", "y"], &[], true),
            ("Add", &["x", "y"], &[("broadcast", "")], false),
            ("Abs", &["x"], &[], true),
            ("Abs", &["x"], &[("consumed_inputs", "")], false),
            ("AveragePool", &["x"], &[("auto_pad", "SAME_UPPER")], true),
            ("AveragePool", &["x"], &[("auto_pad", "SAME")], false),
            ("CategoryMapper", &["x"], &[], false),
            ("ConvTranspose", &["x", "y"], &[("output_shape", "")], false),
            ("DFT", &["x", "", ""], &[("onesided", "")], true),
            ("DFT", &["x", "y"], &[], false),
            ("GlobalLpPool", &["x"], &[], true),
            ("GlobalLpPool", &["x"], &[("axes", "")], false),
            ("GridSample", &["x", "y"], &[("mode", "bicubic"), ("padding_mode", "border")], false),
            ("GridSample", &["x", "y"], &[("mode", "bicubic")], true),
            ("LpNormalization", &["x"], &[("p", "")], false),
        ];
        for (operator, inputs, attributes, supported) in cases {
            let attribute = |(name, value): &(&str, &str)| AttributeProto {
                name: name.to_string(),
                s: value.as_bytes().to_vec(),
                ..Default::default()
            };
            let kernel = AttributeProto { name: "kernel_shape".into(), ints: vec![1, 1], ..Default::default() };
            let node = NodeProto {
                op_type: operator.to_string(),
                input: inputs.iter().map(|name| name.to_string()).collect(),
                attribute: attributes
                    .iter()
                    .map(attribute)
                    .chain((*operator == "AveragePool").then_some(kernel))
                    .collect(),
                ..Default::default()
            };
            let mut model = TypedModel::default();
            let given = inputs.iter().filter(|name| !name.is_empty());
            let sources = given.map(|name| model.add_source(*name, f32::fact([1, 2, 2, 2])).unwrap());
            let sources: Vec<OutletId> = sources.collect();
            let wired = wire_node(&node, 19, "node", &mut model, &sources);
            assert_eq!(wired.is_ok(), *supported, "{operator} {inputs:?} {attributes:?}: {:?}", wired.err());
        }
    }
}
