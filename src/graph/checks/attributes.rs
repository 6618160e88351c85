//! Types of a node's attributes, and which of them cannot be left out. Whoever reads an attribute reads one field of it, which
//! is zero or empty where it is of another type.

use crate::error::{Error, Result};
use crate::onnx::pb::attribute_proto::AttributeType::{self, *};
use crate::onnx::pb::{AttributeProto, NodeProto};

/// Attributes by their type, which is the same for all operators (the operator schemas of ONNX 1.23 and onnxruntime 1.32).
#[rustfmt::skip]
const TYPES: &[(AttributeType, &[&str])] = &[
    (Int, &[
        "K", "N", "accuracy_level", "align_corners", "allowzero", "antialias", "axis", "batch_axis", "batch_dims", "bits",
        "block_size", "blocksize", "broadcast", "causal", "ceil_mode", "center_point_box", "channels_last", "chunk_size",
        "count_include_pad", "detect_negative", "detect_positive", "do_rotary", "dtype", "end", "exclude_outside",
        "exclusive", "expert_weight_bits", "fc1_expert_weight_bits", "fc2_expert_weight_bits", "fmod", "gather_axis",
        "group", "groups", "hidden_size", "ignore_index", "input_forget", "interleaved", "inverse", "is_bidirectional",
        "is_causal", "is_packed_batching", "is_test", "k", "keepdims", "kv_cache_bit_width", "kv_num_heads", "largest",
        "layout", "left_window_size", "linear_before_reset", "local_window_size", "mask_index_type", "max_distance",
        "new_axis", "noop_with_empty_axes", "normalize_routing_weights", "normalized", "num_groups", "num_heads",
        "num_outputs", "num_scan_inputs", "onesided", "opset", "output_datatype", "output_dtype", "output_qk",
        "past_present_share_buffer", "periodic", "precision", "q_num_heads", "qk_matmul_output_mode", "qk_output",
        "quantize_axis", "reverse", "right_window_size", "rotary_embedding_dim", "rotary_interleaved", "sample_size",
        "saturate", "select_last_index", "size", "sliding_window_cache", "smooth_softmax", "softmax_precision", "sorted",
        "spatial", "start", "stash_type", "state_window", "storage_order", "swiglu_fusion", "swiglu_limit_after_activation",
        "time_axis", "training_mode", "transA", "transB", "transBatchA", "transBatchB", "unidirectional", "upper",
        "use_sparse_mixer", "value_int", "weight_prepacked", "weights_prepacked",
    ]),
    (Float, &[
        "activation_alpha", "activation_beta", "activation_gamma", "alpha", "beta", "bias", "clip", "cubic_coeff_a",
        "epsilon", "extrapolation_value", "gamma", "height_scale", "high", "k_norm_epsilon", "lambd", "low",
        "mask_filter_value", "max", "mean", "min", "momentum", "q_norm_epsilon", "qk_norm_epsilon", "ratio", "scale",
        "softcap", "spatial_scale", "swiglu_limit", "value_float", "width_scale",
    ]),
    (Floats, &["activation_params", "scales", "value_floats", "weights"]),
    (String, &[
        "activation_type", "approximate", "auto_pad", "coordinate_transformation_mode", "direction", "equation",
        "k_quant_type", "keep_aspect_ratio_policy", "mode", "nearest_mode", "padding_mode", "quant_type", "reduction",
        "round_mode", "update_rule", "v_quant_type", "value_string",
    ]),
    (Strings, &["activations", "value_strings"]),
    (Ints, &[
        "axes", "dilations", "directions", "ends", "kernel_shape", "output_padding", "output_shape", "pads", "perm",
        "qkv_hidden_sizes", "scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions",
        "shape", "split", "starts", "strides", "value_ints",
    ]),
];

/// Operators by the attributes that they cannot do without.
const REQUIRED: &[(&str, &[&str])] = &[
    ("AveragePool", &["kernel_shape"]),
    ("BitCast", &["to"]),
    ("BitShift", &["direction"]),
    ("Cast", &["to"]),
    ("Concat", &["axis"]),
    ("DepthToSpace", &["blocksize"]),
    ("Einsum", &["equation"]),
    ("GroupNormalization", &["num_groups"]),
    ("LRN", &["size"]),
    ("LinearAttention", &["kv_num_heads", "q_num_heads"]),
    ("MaxPool", &["kernel_shape"]),
    ("RandomNormal", &["shape"]),
    ("RandomUniform", &["shape"]),
    ("SpaceToDepth", &["blocksize"]),
    ("com.microsoft.Attention", &["num_heads"]),
    ("com.microsoft.DecoderMaskedMultiHeadAttention", &["num_heads"]),
    ("com.microsoft.GatedRelativePositionBias", &["num_heads"]),
    ("com.microsoft.GroupNorm", &["activation", "groups"]),
    ("com.microsoft.GroupQueryAttention", &["kv_num_heads", "num_heads"]),
    ("com.microsoft.MatMulNBits", &["K", "N", "block_size"]),
    ("com.microsoft.MultiHeadAttention", &["num_heads"]),
    ("com.microsoft.QAttention", &["num_heads"]),
    ("com.microsoft.QLinearAveragePool", &["kernel_shape"]),
    ("com.microsoft.QLinearConcat", &["axis"]),
    ("com.microsoft.QLinearSoftmax", &["opset"]),
    ("com.microsoft.RelativePositionBias", &["max_distance"]),
];

/// Checks a node's attributes.
pub fn check(node: &NodeProto) -> Result<()> {
    if let Some(wrong) = node.attribute.iter().find(|attribute| !is_of_its_type(node, attribute)) {
        return Err(Error::invalid_model(format!("attribute `{}` is of another type", wrong.name)));
    }
    let required = REQUIRED.iter().find(|(operator, _)| *operator == node.op_type).map_or(&[][..], |(_, names)| names);
    let given = |name: &&&str| node.attribute.iter().any(|attribute| attribute.name == **name);
    match required.iter().find(|name| !given(name)) {
        Some(missing) => Err(Error::invalid_model(format!("attribute `{missing}` is missing"))),
        None => Ok(()),
    }
}

/// Files of the first version leave the type out.
fn is_of_its_type(node: &NodeProto, attribute: &AttributeProto) -> bool {
    let expected = match (&*node.op_type, &*attribute.name) {
        ("GRU" | "LSTM" | "RNN", "activation_alpha" | "activation_beta") => Some(Floats),
        (_, "activation_alpha" | "activation_beta") => Some(Float),
        ("Cast" | "BitCast", "to") => Some(Int),
        ("Constant" | "ConstantOfShape", "value") => Some(Tensor),
        ("LpNormalization", "p") => Some(Int),
        ("com.microsoft.GroupNorm" | "com.microsoft.SkipGroupNorm", "activation") => Some(Int),
        (_, "activation") => Some(String),
        (_, name) => TYPES.iter().find(|(_, names)| names.contains(&name)).map(|(expected, _)| *expected),
    };
    let given = AttributeType::try_from(attribute.r#type);
    expected.is_none_or(|expected| given == Ok(Undefined) || given == Ok(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_absence() {
        type Given = &'static [(&'static str, AttributeType)];
        let cases: &[(&str, Given, bool)] = &[
            ("Softmax", &[], true),
            ("Softmax", &[("axis", Int)], true),
            ("Softmax", &[("axis", Undefined)], true),
            ("Softmax", &[("axis", Float)], false),
            ("Transpose", &[("perm", Int)], false),
            ("Concat", &[], false),
            ("Cast", &[("saturate", Int)], false),
            ("Cast", &[("to", Int)], true),
            ("LSTM", &[("activation_alpha", Float)], false),
            ("com.microsoft.FusedGemm", &[("activation_alpha", Float), ("activation", String)], true),
            ("elsewhere.Operator", &[("anything", Graph)], true),
        ];
        for (operator, attributes, right) in cases {
            let attribute = |(name, kind): &(&str, AttributeType)| AttributeProto {
                name: name.to_string(),
                r#type: *kind as i32,
                ..Default::default()
            };
            let attribute = attributes.iter().map(attribute).collect();
            let node = NodeProto { op_type: operator.to_string(), attribute, ..Default::default() };
            assert_eq!(check(&node).is_ok(), *right, "{operator} {attributes:?}");
        }
    }
}
