//! Reading a node's attributes and those inputs that must be constant.

use super::{attribute, constant};
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;

/// A list of integers.
pub fn ints(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    attribute(node, name).map(|attribute| attribute.ints.clone())
}

/// A list of floats.
pub fn floats(node: &NodeProto, name: &str) -> Option<Vec<f32>> {
    attribute(node, name).map(|attribute| attribute.floats.clone())
}

/// A string.
pub fn string(node: &NodeProto, name: &str, default: &str) -> String {
    attribute(node, name).map_or_else(|| default.into(), |found| String::from_utf8_lossy(&found.s).into_owned())
}

/// An element type.
///
/// # Errors
/// `UnsupportedOp` for a type that is not supported, `InvalidModel` for a number that ONNX does not define.
pub fn element_type(node: &NodeProto, name: &str) -> TractResult<Option<DatumType>> {
    let found = attribute(node, name).map(|found| crate::onnx::element_type(found.i as i32)).transpose()?;
    Ok(found.map(|element| element.held_as))
}

/// An axis counted from the start.
pub fn axis(axis: i64, rank: usize) -> TractResult<usize> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    ensure!((0..rank as i64).contains(&from_start), "axis {axis} of a tensor of rank {rank}");
    Ok(from_start as usize)
}

/// The integers behind an outlet.
///
/// # Errors
/// A plain error where they are not constant, so that the node can be wired when they are known.
pub fn constant_ints(model: &TypedModel, outlet: OutletId, what: &str) -> TractResult<Vec<i64>> {
    let tensor = constant(model, outlet)?.with_context(|| format!("{what} is not constant"))?;
    crate::ops::integers(&tensor)
}

/// The integers behind an outlet, which may be sizes that the model's inputs decide.
///
/// # Errors
/// As for [`constant_ints`].
pub fn constant_sizes(model: &TypedModel, outlet: OutletId, what: &str) -> TractResult<Vec<TDim>> {
    let tensor = constant(model, outlet)?.with_context(|| format!("{what} is not constant"))?;
    Ok(tensor.cast_to::<TDim>()?.try_as_plain_ram()?.as_slice::<TDim>()?.to_vec())
}

/// The float32 values behind an outlet.
///
/// # Errors
/// As for [`constant_ints`].
pub fn constant_floats(model: &TypedModel, outlet: OutletId, what: &str) -> TractResult<Vec<f32>> {
    let tensor = constant(model, outlet)?.with_context(|| format!("{what} is not constant"))?;
    Ok(tensor.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

#[cfg(test)]
mod tests {
    use crate::graph::testing::{graph, int64s, node, run, value, with_int};
    use crate::onnx::pb::attribute_proto::AttributeType;
    use crate::onnx::pb::tensor_proto::DataType;
    use crate::onnx::pb::{AttributeProto, NodeProto};
    use tract_core::internal::*;

    #[test]
    fn sizes_of_another_input() {
        let r#type = AttributeType::String as i32;
        let linear = AttributeProto { name: "mode".into(), r#type, s: b"linear".to_vec(), ..Default::default() };
        let resize = NodeProto { attribute: vec![linear], ..node("Resize", &["x", "", "", "size"], &["y"]) };
        let size = || node("Shape", &["sized"], &["size"]);
        // Nodes, and what they make of 1, 3, 7, 9 where the other input has six elements.
        let cases: [(Vec<NodeProto>, &[f32]); 3] = [
            (vec![size(), resize], &[1.0, 2.0, 3.66667, 6.33333, 8.0, 9.0]),
            (
                vec![
                    size(),
                    node("Sub", &["size", "four"], &["behind"]),
                    with_int(node("Concat", &["zero", "behind"], &["pads"]), "axis", 0),
                    node("Pad", &["x", "pads"], &["y"]),
                ],
                &[1.0, 3.0, 7.0, 9.0, 0.0, 0.0],
            ),
            (
                vec![
                    size(),
                    node("ScatterND", &["pair", "second", "size"], &["scattered"]),
                    node("Slice", &["scattered", "one", "two"], &["length"]),
                    node("Expand", &["first", "length"], &["y"]),
                ],
                &[1.0; 6],
            ),
        ];
        for (nodes, expected) in cases {
            let what = nodes.last().unwrap().op_type.clone();
            let first = node("Slice", &["x", "zero", "one"], &["first"]);
            let model = graph(
                vec![value("x", DataType::Float, &[4]), value("sized", DataType::Float, &[-1])],
                vec![
                    int64s("zero", &[1], &[0]),
                    int64s("one", &[1], &[1]),
                    int64s("two", &[1], &[2]),
                    int64s("four", &[1], &[4]),
                    int64s("pair", &[2], &[5, 5]),
                    int64s("second", &[1, 1], &[1]),
                ],
                [vec![first], nodes].concat(),
                vec![value("y", DataType::Float, &[-1])],
            );
            let x = tensor1(&[1f32, 3.0, 7.0, 9.0]).into_tvalue();
            let outputs = run(model, &[], &[x, Tensor::zero::<f32>(&[6]).unwrap().into_tvalue()]).unwrap();
            let output = outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap();
            let close = |(left, right): (&f32, &f32)| (left - right).abs() < 1e-4;
            assert!(output.len() == expected.len() && output.iter().zip(expected).all(close), "{what}: {output:?}");
        }
    }
}
