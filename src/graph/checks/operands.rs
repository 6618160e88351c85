//! Element types and axes of a node's operands.

use crate::error::{Error, Result};
use crate::onnx::pb::NodeProto;
use tract_core::internal::DimLike;
use tract_core::prelude::{DatumType, TypedFact};

/// Operators whose inputs at these positions have one type (ONNX's operator schemas); none means all.
const SAME_TYPE: &[(&str, &[usize])] = &[
    ("Add", &[]),
    ("And", &[]),
    ("BitwiseAnd", &[]),
    ("BitwiseOr", &[]),
    ("BitwiseXor", &[]),
    ("Clip", &[]),
    ("Concat", &[]),
    ("Conv", &[]),
    ("ConvTranspose", &[]),
    ("DequantizeLinear", &[0, 2]),
    ("Div", &[]),
    ("Einsum", &[]),
    ("Equal", &[]),
    ("Gemm", &[]),
    ("Greater", &[]),
    ("GreaterOrEqual", &[]),
    ("Less", &[]),
    ("LessOrEqual", &[]),
    ("MatMul", &[]),
    ("MatMulInteger", &[0, 2]),
    ("MatMulInteger", &[1, 3]),
    ("Max", &[]),
    ("Mean", &[]),
    ("Min", &[]),
    ("Mod", &[]),
    ("Mul", &[]),
    ("Or", &[]),
    ("PRelu", &[]),
    ("Pad", &[0, 2]),
    ("Range", &[]),
    ("ScatterElements", &[0, 2]),
    ("ScatterND", &[0, 2]),
    ("Sub", &[]),
    ("Sum", &[]),
    ("Where", &[1, 2]),
    ("Xor", &[]),
];

/// Inputs that are positions, axes or sizes: integers of 32 or 64 bits.
const POSITIONS: &[(&str, &[usize])] = &[
    ("ConstantOfShape", &[0]),
    ("CumSum", &[1]),
    ("Expand", &[1]),
    ("Gather", &[1]),
    ("GatherElements", &[1]),
    ("GatherND", &[1]),
    ("Pad", &[1, 3]),
    ("Reshape", &[1]),
    ("Resize", &[3]),
    ("ScatterElements", &[1]),
    ("ScatterND", &[1]),
    ("Slice", &[1, 2, 3, 4]),
    ("Split", &[1]),
    ("Squeeze", &[1]),
    ("Tile", &[1]),
    ("TopK", &[1]),
    ("Trilu", &[1]),
    ("Unsqueeze", &[1]),
];

/// Operators whose first input is of floats.
const FLOATS: &[&str] = &[
    "DynamicQuantizeLinear",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "Hardmax",
    "HardSigmoid",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "RMSNormalization",
    "Reciprocal",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Tanh",
];

/// Inputs that hold one value, which tract reads without looking.
const SCALARS: &[(&str, &[usize])] = &[
    ("Clip", &[1, 2]),
    ("CumProd", &[1]),
    ("CumSum", &[1]),
    ("Dropout", &[1, 2]),
    ("OneHot", &[1]),
    ("Pad", &[2]),
    ("Range", &[0, 1, 2]),
    ("TopK", &[1]),
    ("Trilu", &[1]),
];

/// Positions in a window, and steps between windows.
const LARGEST_WINDOW: i64 = 1 << 20;

/// Operators whose attribute `axis` is an axis of their first input.
const AXIS_OF_FIRST: &[&str] = &[
    "ArgMax",
    "ArgMin",
    "Concat",
    "Gather",
    "GatherElements",
    "Hardmax",
    "LayerNormalization",
    "LogSoftmax",
    "RMSNormalization",
    "ScatterElements",
    "Softmax",
    "Split",
    "TopK",
];

/// Checks a node; `None` stands for an input that is left out.
pub fn check(node: &NodeProto, operands: &[Option<&TypedFact>]) -> Result<()> {
    let rows = |table: &'static [(&str, &'static [usize])]| {
        table.iter().filter(|(operator, _)| *operator == node.op_type).map(|(_, positions)| *positions)
    };
    for positions in rows(SAME_TYPE) {
        let wanted = |position: &usize| positions.is_empty() || positions.contains(position);
        let mut types = operands
            .iter()
            .enumerate()
            .filter(|(position, _)| wanted(position))
            .filter_map(|(_, fact)| fact.map(element));
        let first = types.next();
        if let Some(other) = types.find(|other| Some(*other) != first) {
            let names = first.map(|first| format!("{first:?} and {other:?}")).unwrap_or_default().to_lowercase();
            return Err(Error::invalid_model(format!("its operands are of different types: {names}")));
        }
    }
    for position in rows(POSITIONS).flatten() {
        let found = operands.get(*position).copied().flatten().map(element);
        if let Some(found) = found.filter(|found| !matches!(found, DatumType::I64 | DatumType::I32)) {
            let found = format!("{found:?}").to_lowercase();
            return Err(Error::invalid_model(format!("its input {position} must be of integers, not {found}")));
        }
    }
    if node.op_type.starts_with("Gather") {
        refuse_far_positions(operands.get(1).copied().flatten())?;
    }
    if let Some(Some(first)) = operands.first()
        && FLOATS.contains(&&*node.op_type)
        && !element(first).is_float()
    {
        let found = format!("{:?}", element(first)).to_lowercase();
        return Err(Error::invalid_model(format!("its input must be of floats, not {found}")));
    }
    for position in rows(SCALARS).flatten() {
        let found = operands.get(*position).copied().flatten();
        if let Some(found) = found.filter(|found| found.shape.volume().to_usize().ok() != Some(1)) {
            let shape = &found.shape;
            return Err(Error::invalid_model(format!(
                "its input {position} must be one value, not a tensor of {shape:?}"
            )));
        }
    }
    check_parts(node)?;
    check_windows(node)?;
    check_axes_of_windows(node, operands)?;
    check_ranks(node, operands)?;
    check_axis(node, operands)
}

/// Constant positions that no tensor has: tract would cut them to 32 bits in a browser.
fn refuse_far_positions(positions: Option<&TypedFact>) -> Result<()> {
    let constant = positions.and_then(|fact| fact.konst.as_ref());
    let Some(Ok(plain)) = constant.map(|constant| constant.try_as_plain_ram()) else { return Ok(()) };
    let Ok(positions) = plain.as_slice::<i64>() else { return Ok(()) };
    match positions.iter().find(|position| i32::try_from(**position).is_err()) {
        Some(far) => Err(Error::invalid_model(format!("position {far} lies outside of every tensor"))),
        None => Ok(()),
    }
}

/// Windows of convolutions and pools: sizes whose products no number holds, and windows that nothing gets through in time.
fn check_windows(node: &NodeProto) -> Result<()> {
    for attribute in &node.attribute {
        let range = match &*attribute.name {
            "kernel_shape" | "strides" | "dilations" => 1..=LARGEST_WINDOW,
            "pads" | "output_padding" => -LARGEST_WINDOW..=LARGEST_WINDOW,
            _ => continue,
        };
        let volume = attribute.ints.iter().try_fold(1i64, |volume, size| volume.checked_mul(*size));
        let fits = attribute.name != "kernel_shape" || volume.is_some_and(|volume| volume <= LARGEST_WINDOW);
        if !fits || attribute.ints.iter().any(|size| !range.contains(size)) {
            return Err(Error::invalid_model(format!("`{}` of {:?}", attribute.name, attribute.ints)));
        }
    }
    Ok(())
}

/// Operators with windows over all axes behind batch and channels.
const WINDOWED: &[&str] = &[
    "AveragePool",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "LpPool",
    "MaxPool",
    "QLinearConv",
    "com.microsoft.FusedConv",
    "com.microsoft.NhwcConv",
    "com.microsoft.QLinearAveragePool",
];

fn check_axes_of_windows(node: &NodeProto, operands: &[Option<&TypedFact>]) -> Result<()> {
    let Some(Some(first)) = operands.first().filter(|_| WINDOWED.contains(&&*node.op_type)) else { return Ok(()) };
    let Some(axes) = first.rank().checked_sub(2).filter(|axes| *axes > 0) else {
        return Err(Error::invalid_model(format!("windows over a tensor of rank {}", first.rank())));
    };
    let kernel =
        operands.get(1).copied().flatten().filter(|_| node.op_type.contains("Conv") && node.op_type != "QLinearConv");
    if let Some(kernel) = kernel.filter(|kernel| kernel.rank() != first.rank()) {
        return Err(Error::invalid_model(format!(
            "a kernel of rank {} over a tensor of rank {}",
            kernel.rank(),
            first.rank()
        )));
    }
    for attribute in &node.attribute {
        let expected = match &*attribute.name {
            "kernel_shape" | "strides" | "dilations" | "output_padding" => axes,
            "pads" => 2 * axes,
            _ => continue,
        };
        if !attribute.ints.is_empty() && attribute.ints.len() != expected {
            let found = &attribute.ints;
            return Err(Error::invalid_model(format!("`{}` of {found:?} for {axes} axes", attribute.name)));
        }
    }
    Ok(())
}

/// Counts of inputs or outputs, which must be there.
fn check_parts(node: &NodeProto) -> Result<()> {
    let count = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name).map(|found| found.i);
    let (claimed, most) = match &*node.op_type {
        "Split" => {
            (count("num_outputs").filter(|parts| usize::try_from(*parts) != Ok(node.output.len())), node.output.len())
        }
        "Scan" => {
            let read = count("num_scan_inputs");
            (read.filter(|read| !(1..=node.input.len() as i64).contains(read)), node.input.len())
        }
        _ => (None, 0),
    };
    match claimed {
        Some(claimed) => Err(Error::invalid_model(format!("{claimed} parts where there are {most}"))),
        None => Ok(()),
    }
}

/// tract's symbolic sizes are ONNX's int64.
pub fn element(fact: &TypedFact) -> DatumType {
    match fact.datum_type.unquantized() {
        DatumType::TDim => DatumType::I64,
        other => other,
    }
}

fn check_ranks(node: &NodeProto, operands: &[Option<&TypedFact>]) -> Result<()> {
    let rank = |position: usize| operands.get(position).copied().flatten().map(|fact| fact.rank());
    let batch_dims = node.attribute.iter().find(|attribute| attribute.name == "batch_dims").map_or(0, |found| found.i);
    let fits = match (&*node.op_type, rank(0), rank(1)) {
        ("Trilu", Some(rank), _) => rank >= 2,
        ("GatherND", Some(table), Some(indices)) => (0..table.min(indices) as i64).contains(&batch_dims),
        _ => true,
    };
    if fits { Ok(()) } else { Err(Error::invalid_model("its operands have too few dimensions")) }
}

fn check_axis(node: &NodeProto, operands: &[Option<&TypedFact>]) -> Result<()> {
    let axis = node.attribute.iter().find(|attribute| attribute.name == "axis");
    let (Some(axis), Some(Some(first))) = (axis, operands.first()) else { return Ok(()) };
    let rank = first.rank().max(1) as i64;
    if !AXIS_OF_FIRST.contains(&&*node.op_type) || (-rank..rank).contains(&axis.i) {
        return Ok(());
    }
    Err(Error::invalid_model(format!("axis {} of a tensor of rank {}", axis.i, first.rank())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::pb::AttributeProto;
    use tract_core::prelude::DatumType::{Bool, F32, I8, I32, I64, TDim, U8};
    use tract_core::prelude::DatumTypeExt;

    #[test]
    fn axes_of_windows() {
        let cases: &[(&str, usize, &str, &[i64], bool)] = &[
            ("MaxPool", 4, "kernel_shape", &[2, 2], true),
            ("MaxPool", 4, "kernel_shape", &[2], false),
            ("AveragePool", 3, "pads", &[1, 1], true),
            ("AveragePool", 3, "pads", &[1, 1, 1, 1], false),
            ("Conv", 4, "strides", &[], true),
            ("Conv", 2, "strides", &[], false),
            ("Pad", 2, "pads", &[0, 0, 1, 1], true),
        ];
        for (op_type, rank, name, ints, fits) in cases {
            let attribute = vec![AttributeProto { name: name.to_string(), ints: ints.to_vec(), ..Default::default() }];
            let node = NodeProto { op_type: op_type.to_string(), attribute, ..Default::default() };
            let fact = F32.fact(vec![1usize; *rank]);
            let result = check_axes_of_windows(&node, &[Some(&fact)]);
            assert_eq!(result.is_ok(), *fits, "{op_type} {rank} {name} {ints:?}");
        }
    }

    #[test]
    fn types_and_axes() {
        type Operands = &'static [Option<DatumType>];
        let cases: &[(&str, Operands, Option<i64>, bool)] = &[
            ("MatMul", &[Some(F32), Some(F32)], None, true),
            ("MatMul", &[Some(F32), Some(I64)], None, false),
            ("Add", &[Some(TDim), Some(I64)], None, true),
            ("Add", &[Some(I32), Some(I64)], None, false),
            ("Clip", &[Some(F32), None, Some(F32)], None, true),
            ("Clip", &[Some(F32), None, Some(I64)], None, false),
            ("Where", &[Some(Bool), Some(F32), Some(F32)], None, true),
            ("Where", &[Some(Bool), Some(F32), Some(I64)], None, false),
            ("DequantizeLinear", &[Some(I8), Some(F32), Some(I8)], None, true),
            ("DequantizeLinear", &[Some(I8), Some(F32), Some(U8)], None, false),
            ("Gather", &[Some(F32), Some(I32)], Some(-2), true),
            ("Gather", &[Some(F32), Some(F32)], None, false),
            ("Gather", &[Some(F32), Some(I64)], Some(2), false),
            ("Softmax", &[Some(F32)], Some(1), true),
            ("Softmax", &[Some(F32)], Some(77), false),
            ("Softmax", &[Some(F32)], Some(i64::MIN), false),
            ("Pow", &[Some(F32), Some(I64)], Some(77), true),
            ("Softmax", &[Some(I8)], None, false),
        ];
        for (operator, types, axis, right) in cases {
            let axis = axis.map(|i| AttributeProto { name: "axis".into(), i, ..Default::default() });
            let attribute = axis.into_iter().collect();
            let node = NodeProto { op_type: operator.to_string(), attribute, ..Default::default() };
            let shape = |position: usize| if position == 0 { &[2usize, 3][..] } else { &[1] };
            let facts =
                types.iter().enumerate().map(|(at, datum_type)| datum_type.map(|d| TypedFact::dt_shape(d, shape(at))));
            let facts: Vec<_> = facts.collect();
            let facts: Vec<_> = facts.iter().map(Option::as_ref).collect();
            assert_eq!(check(&node, &facts).is_ok(), *right, "{operator} {types:?}");
        }
    }
    #[test]
    fn single_values() {
        let cases: &[(&str, &[usize], bool)] = &[
            ("Trilu", &[], true),
            ("Trilu", &[1], true),
            ("Trilu", &[0], false),
            ("Trilu", &[2], false),
            ("Reshape", &[2], true),
        ];
        for (operator, shape, right) in cases {
            let node = NodeProto { op_type: operator.to_string(), ..Default::default() };
            let (first, second) = (TypedFact::dt_shape(F32, [2, 3]), TypedFact::dt_shape(I64, *shape));
            assert_eq!(check(&node, &[Some(&first), Some(&second)]).is_ok(), *right, "{operator} {shape:?}");
        }
    }
    #[test]
    fn windows() {
        let cases: &[(&str, &[i64], bool)] = &[
            ("kernel_shape", &[3, 3], true),
            ("kernel_shape", &[1 << 15, 1 << 15], false),
            ("kernel_shape", &[0], false),
            ("strides", &[1 << 31], false),
            ("dilations", &[-1], false),
            ("pads", &[0, 1], true),
            ("pads", &[i64::MAX], false),
        ];
        for (name, ints, right) in cases {
            let attribute = AttributeProto { name: name.to_string(), ints: ints.to_vec(), ..Default::default() };
            let node = NodeProto { op_type: "MaxPool".into(), attribute: vec![attribute], ..Default::default() };
            assert_eq!(check(&node, &[]).is_ok(), *right, "{name} {ints:?}");
        }
    }
}
