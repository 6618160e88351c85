//! How many inputs the operators take.

use crate::error::{Error, Result};
use crate::onnx::pb::NodeProto;

/// As many as one likes.
const ANY: usize = usize::MAX;

/// Operators by the fewest and the most inputs that they take, in whatever version since opset 7 (the operator schemas of
/// ONNX 1.23 and onnxruntime 1.32).
#[rustfmt::skip]
const INPUTS: &[(usize, usize, &[&str])] = &[
    (0, 0, &[
        "Constant", "RandomNormal", "RandomUniform", "SequenceEmpty",
    ]),
    (0, 1, &[
        "Optional", "OptionalHasElement",
    ]),
    (1, 1, &[
        "Abs", "Acos", "Acosh", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool",
        "Bernoulli", "BitCast", "BitwiseNot", "BlackmanWindow", "Cast", "Ceil", "Celu", "ConcatFromSequence",
        "ConstantOfShape", "Cos", "Cosh", "DepthToSpace", "Det", "DynamicQuantizeLinear", "Elu", "Erf", "Exp",
        "EyeLike", "Flatten", "Floor", "Gelu", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool",
        "HammingWindow", "HannWindow", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "If", "ImageDecoder",
        "IsInf", "IsNaN", "LRN", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "LpPool", "MaxPool",
        "MeanVarianceNormalization", "Mish", "Multinomial", "Neg", "NonZero", "Not", "OptionalGetElement",
        "RandomNormalLike", "RandomUniformLike", "Reciprocal", "RegexFullMatch", "Relu", "Round", "Selu",
        "SequenceLength", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Softmax", "Softplus",
        "Softsign", "SpaceToDepth", "Sqrt", "StringNormalizer", "StringSplit", "Swish", "Tan", "Tanh",
        "TfIdfVectorizer", "ThresholdedRelu", "Transpose", "Unique", "com.microsoft.Gelu",
        "com.microsoft.Inverse", "com.microsoft.Irfft", "com.microsoft.QuickGelu", "com.microsoft.Rfft",
    ]),
    (1, 2, &[
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
        "ReduceProd", "ReduceSum", "ReduceSumSquare", "SequenceErase", "Split", "SplitToSequence", "Squeeze",
        "TopK", "Trilu", "Unsqueeze", "Upsample", "com.microsoft.FastGelu", "com.microsoft.Trilu",
    ]),
    (1, 3, &[
        "Clip", "DFT", "Dropout",
    ]),
    (1, 4, &[
        "Pad", "Resize",
    ]),
    (1, 5, &[
        "Slice",
    ]),
    (1, 10, &[
        "com.microsoft.MultiHeadAttention",
    ]),
    (1, 11, &[
        "com.microsoft.DecoderMaskedMultiHeadAttention",
    ]),
    (1, ANY, &[
        "Concat", "Einsum", "Max", "Mean", "Min", "Scan", "SequenceConstruct", "SequenceMap", "Sum",
    ]),
    (2, 2, &[
        "Add", "AffineGrid", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "CastLike",
        "CenterCropPad", "Compress", "CumProd", "CumSum", "Div", "Equal", "Expand", "Gather", "GatherElements",
        "GatherND", "Greater", "GreaterOrEqual", "GridSample", "Less", "LessOrEqual", "MatMul", "MaxRoiPool",
        "Mod", "Mul", "Or", "PRelu", "Pow", "RMSNormalization", "Reshape", "ReverseSequence", "SequenceAt",
        "StringConcat", "Sub", "SwiGLU", "Tile", "Xor", "com.microsoft.BiasGelu", "com.microsoft.BiasSoftmax",
        "com.microsoft.BiasSplitGelu", "com.microsoft.ExpandDims", "com.microsoft.FusedMatMul",
    ]),
    (2, 3, &[
        "Conv", "ConvTranspose", "DequantizeLinear", "Gemm", "LayerNormalization", "MaxUnpool",
        "NegativeLogLikelihoodLoss", "QuantizeLinear", "SequenceInsert", "SoftmaxCrossEntropyLoss",
        "TensorScatter", "com.microsoft.DequantizeLinear", "com.microsoft.FusedGemm", "com.microsoft.NhwcConv",
        "com.microsoft.QuantizeLinear",
    ]),
    (2, 4, &[
        "CausalConvWithState", "ConvInteger", "MatMulInteger", "STFT", "com.microsoft.FusedConv",
    ]),
    (2, 5, &[
        "NonMaxSuppression",
    ]),
    (2, 7, &[
        "com.microsoft.Attention",
    ]),
    (2, ANY, &[
        "Loop",
    ]),
    (3, 3, &[
        "Col2Im", "GroupNormalization", "InstanceNormalization", "OneHot", "Range", "RoiAlign", "Scatter",
        "ScatterElements", "ScatterND", "Where", "com.microsoft.BiasAdd", "com.microsoft.GroupNorm",
        "com.microsoft.RelativePositionBias",
    ]),
    (3, 4, &[
        "RotaryEmbedding", "com.microsoft.GatherBlockQuantized",
        "com.microsoft.SkipSimplifiedLayerNormalization",
    ]),
    (3, 5, &[
        "DeformConv", "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.SkipLayerNormalization",
    ]),
    (3, 6, &[
        "GRU", "LinearAttention", "RNN", "com.microsoft.MatMulNBits",
    ]),
    (3, 7, &[
        "Attention",
    ]),
    (3, 8, &[
        "LSTM",
    ]),
    (3, ANY, &[
        "com.microsoft.QLinearConcat",
    ]),
    (4, 4, &[
        "com.microsoft.RotaryEmbedding",
    ]),
    (4, 5, &[
        "com.microsoft.QLinearAveragePool", "com.microsoft.QLinearLeakyRelu", "com.microsoft.QLinearSigmoid",
        "com.microsoft.SkipGroupNorm",
    ]),
    (4, 7, &[
        "com.microsoft.MatMulIntegerToFloat",
    ]),
    (5, 5, &[
        "BatchNormalization", "MelWeightMatrix", "com.microsoft.QLinearGlobalAveragePool",
        "com.microsoft.QLinearSoftmax",
    ]),
    (5, 6, &[
        "com.microsoft.PackedAttention",
    ]),
    (5, 8, &[
        "com.microsoft.MoE",
    ]),
    (5, 9, &[
        "com.microsoft.QAttention",
    ]),
    (6, 7, &[
        "com.microsoft.GatedRelativePositionBias", "com.microsoft.PackedMultiHeadAttention",
    ]),
    (6, 21, &[
        "com.microsoft.QMoE",
    ]),
    (7, 8, &[
        "com.microsoft.QLinearAdd", "com.microsoft.QLinearMul",
    ]),
    (7, 9, &[
        "com.microsoft.EmbedLayerNormalization",
    ]),
    (7, 17, &[
        "com.microsoft.GroupQueryAttention",
    ]),
    (8, 8, &[
        "QLinearMatMul",
    ]),
    (8, 9, &[
        "QLinearConv",
    ]),
    (9, 11, &[
        "com.microsoft.SparseAttention",
    ]),
    (18, 18, &[
        "com.microsoft.QEmbedLayerNormalization",
    ]),
];

/// Checks that a node is given as many inputs as its operator takes, and none of those that it cannot do without is left out.
pub fn check(node: &NodeProto) -> Result<()> {
    let Some((fewest, most, _)) = INPUTS.iter().find(|(_, _, operators)| operators.contains(&&*node.op_type)) else {
        return Ok(());
    };
    let given = node.input.len();
    if given < *fewest || given > *most {
        let most = if *most == ANY { String::new() } else { format!(" to {most}") };
        return Err(Error::invalid_model(format!("it takes {fewest}{most} inputs and is given {given}")));
    }
    // onnxruntime's operators have optional inputs before ones that are not.
    // So has Scan before opset 9.
    let certain = match &*node.op_type {
        "Scan" => 0,
        microsoft if microsoft.contains('.') => 1,
        _ => *fewest,
    };
    match node.input.iter().take(certain.min(*fewest)).position(|name| name.is_empty()) {
        Some(position) => Err(Error::invalid_model(format!("its input {position} is missing"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs() {
        let cases: &[(&str, &[&str], bool)] = &[
            ("Add", &["a", "b"], true),
            ("Add", &["a"], false),
            ("Add", &["a", ""], false),
            ("MatMul", &["a", "b", "c"], false),
            ("Clip", &["a", "", "b"], true),
            ("Clip", &[], false),
            ("Concat", &["a", "b", "c", "d", "e"], true),
            ("Concat", &[], false),
            ("com.microsoft.Gelu", &[], false),
            ("elsewhere.Gelu", &[], true),
        ];
        for (operator, inputs, right) in cases {
            let input = inputs.iter().map(|name| name.to_string()).collect();
            let node = NodeProto { op_type: operator.to_string(), input, ..Default::default() };
            assert_eq!(check(&node).is_ok(), *right, "{operator} {inputs:?}");
        }
    }
}
