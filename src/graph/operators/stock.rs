//! What is relied on of the operators that are left to tract's own parsers, which ignore what they do not know.

use super::{arguments, input, only_attributes, unsupported};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// Operators by the attributes that tract's parsers read, or that say nothing that its operands do not.
#[rustfmt::skip]
const ATTRIBUTES: &[(&[&str], &[&str])] = &[
    (&[
        "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
        "BitwiseXor", "Ceil", "Cos", "Cosh", "Div", "DynamicQuantizeLinear", "Erf", "Exp", "Expand", "Floor",
        "Greater", "GreaterOrEqual", "HardSwish", "Identity", "Less", "LessOrEqual",
        "Log", "MatMulInteger", "Mish", "Mul", "Neg", "Not", "Or", "PRelu", "QLinearMatMul", "Range", "Reciprocal", "Round",
        "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Softsign", "Sqrt", "Sub", "Sum", "Tan", "Tanh", "Tile", "Where", "Xor",
    ], &[]),
    (&["BlackmanWindow", "HammingWindow", "HannWindow"], &["output_datatype", "periodic"]),
    (&["Concat", "Gather", "GatherElements", "Softmax"], &["axis"]),
    (&["Constant"], &[
        "value", "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings",
    ]),
    (&["ConstantOfShape"], &["value"]),
    (&["DFT"], &["axis", "inverse", "onesided"]),
    (&["Elu", "ThresholdedRelu"], &["alpha"]),
    (&["EyeLike"], &["dtype", "k"]),
    (&["GridSample"], &["align_corners", "mode", "padding_mode"]),
    (&["HardSigmoid"], &["alpha", "beta"]),
    (&["InstanceNormalization"], &["epsilon"]),
    (&["LRN"], &["alpha", "beta", "bias", "size"]),
    (&["LpNormalization"], &["axis", "p"]),
    (&["MeanVarianceNormalization"], &["axes"]),
    (&["MelWeightMatrix"], &["output_datatype"]),
    (&["Mod"], &["fmod"]),
    (&["Multinomial"], &["dtype", "sample_size", "seed"]),
    (&["NonMaxSuppression"], &["center_point_box"]),
    (&["RandomNormal"], &["dtype", "mean", "scale", "seed", "shape"]),
    (&["RandomNormalLike"], &["dtype", "mean", "scale", "seed"]),
    (&["RandomUniform"], &["dtype", "high", "low", "seed", "shape"]),
    (&["RandomUniformLike"], &["dtype", "high", "low", "seed"]),
    (&["Reshape"], &["allowzero"]),
    (&["STFT"], &["onesided"]),
    (&["Selu"], &["alpha", "gamma"]),
    (&["Shape"], &["end", "start"]),
    (&["Shrink"], &["bias", "lambd"]),
    (&["Split"], &["axis", "num_outputs", "split"]),
    (&["Transpose"], &["perm"]),
    (&["Trilu"], &["upper"]),
    (&["Unsqueeze"], &["axes"]),
];

/// Refuses what tract's own parser would ignore or compute wrongly. `wired` tells that a [`super::Wiring`] has read the
/// attributes and left the rest to tract.
///
/// # Errors
/// `UnsupportedOp`.
pub fn check(node: &NodeProto, wired: bool) -> TractResult<()> {
    match ATTRIBUTES.iter().find(|(operators, _)| operators.contains(&&*node.op_type)) {
        Some((_, known)) => only_attributes(node, known)?,
        None if wired => {}
        None => return Err(unsupported("it is not supported")),
    }
    match &*node.op_type {
        "DFT" if input(node, 1).is_some() => Err(unsupported("an input `dft_length` is not supported")),
        "GridSample"
            if arguments::string(node, "mode", "linear").ends_with("cubic")
                && arguments::string(node, "padding_mode", "zeros") == "border" =>
        {
            Err(unsupported("cubic interpolation with `border` padding is not supported"))
        }
        "NonMaxSuppression" if input(node, 2).is_none() => {
            Err(unsupported("without `max_output_boxes_per_class` it is not supported"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::AttributeProto;

    struct Case {
        operator: &'static str,
        inputs: &'static [&'static str],
        /// Names and values of string attributes.
        attributes: &'static [(&'static str, &'static str)],
        supported: bool,
    }

    #[test]
    fn uses() {
        let case = |operator, inputs, attributes, supported| Case { operator, inputs, attributes, supported };
        let cases = [
            case("Add", &["a", "b"], &[], true),
            case("Add", &["a", "b"], &[("broadcast", "")], false),
            case("DFT", &["x", "", "axis"], &[("onesided", "")], true),
            case("DFT", &["x", "length"], &[], false),
            case("GlobalLpPool", &["x"], &[], false),
            case("GridSample", &["x", "grid"], &[("mode", "bicubic"), ("padding_mode", "border")], false),
            case("GridSample", &["x", "grid"], &[("mode", "bicubic")], true),
            case("NonMaxSuppression", &["boxes", "scores"], &[], false),
            case("NonMaxSuppression", &["boxes", "scores", "most"], &[], true),
        ];
        for case in cases {
            let attribute = |(name, value): &(&str, &str)| AttributeProto {
                name: name.to_string(),
                s: value.as_bytes().to_vec(),
                ..Default::default()
            };
            let node = NodeProto {
                op_type: case.operator.into(),
                input: case.inputs.iter().map(|name| name.to_string()).collect(),
                attribute: case.attributes.iter().map(attribute).collect(),
                ..Default::default()
            };
            let supported = check(&node, false).is_ok();
            assert_eq!(supported, case.supported, "{} {:?} {:?}", case.operator, case.inputs, case.attributes);
        }
    }
}
