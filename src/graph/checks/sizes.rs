//! Sizes of values.

use crate::error::{Error, Result};
use crate::onnx::pb::NodeProto;
use tract_core::internal::TDim;
use tract_core::prelude::{DatumType, Tensor, TypedFact};

/// Bytes that one value may take: what the memory of a browser's tab for WebAssembly can hold at all, and in one piece.
const LARGEST_VALUE: f64 = if usize::BITS == 32 { isize::MAX as f64 } else { (1u64 << 32) as f64 };
/// Values of an input that says sizes. Beyond it is no size of anything.
const LARGEST_SIZE: i64 = i32::MAX as i64;

/// Parts of the expression that a symbolic size is.
const MOST_TERMS: usize = 512;
/// Parts of it inside each other.
const DEEPEST_SIZE: usize = 64;

/// Inputs that say the shape of the output, each value a size: operator, position, and whether -1 stands for "whatever fits".
const SHAPES: &[(&str, usize, bool)] =
    &[("ConstantOfShape", 0, false), ("Expand", 1, false), ("Reshape", 1, true), ("Resize", 3, false)];

/// Inputs of sizes, counts or widths whose product says nothing, and whether they may be negative.
const COUNTS: &[(&str, usize, bool)] = &[
    ("Tile", 1, false),
    ("TopK", 1, false),
    ("OneHot", 1, false),
    ("Split", 1, false),
    ("Pad", 1, true),
    ("Trilu", 1, true),
    ("CenterCropPad", 1, false),
];

/// Checks the inputs of a node that say sizes, as far as they are known; `None` stands for an input that is left out.
pub fn check_parameters(node: &NodeProto, operands: &[Option<&TypedFact>]) -> Result<()> {
    let parameters = |position: usize| operands.get(position).copied().flatten().and_then(integers).unwrap_or_default();
    let of = |operator: &str| operator == node.op_type;
    for (_, position, wildcard) in SHAPES.iter().filter(|(operator, ..)| of(operator)) {
        let sizes = parameters(*position);
        let smallest = if *wildcard { -1 } else { 0 };
        check_range(&sizes, smallest)?;
        check_bytes(&sizes.iter().map(|size| size.abs()).collect::<Vec<_>>(), 1)?;
    }
    for (_, position, negative) in COUNTS.iter().filter(|(operator, ..)| of(operator)) {
        check_range(&parameters(*position), if *negative { -LARGEST_SIZE } else { 0 })?;
    }
    if of("Range")
        && let ([start], [limit], [step]) = (&*parameters(0), &*parameters(1), &*parameters(2))
    {
        check_steps(*start, *limit, *step)?;
    }
    Ok(())
}

fn check_range(sizes: &[i64], smallest: i64) -> Result<()> {
    match sizes.iter().find(|size| !(smallest..=LARGEST_SIZE).contains(*size)) {
        Some(size) if *size > 0 => Err(too_large(&format!("a size of {size}"))),
        Some(size) => Err(Error::invalid_model(format!("a size of {size}"))),
        None => Ok(()),
    }
}

fn check_steps(start: i64, limit: i64, step: i64) -> Result<()> {
    if step == 0 {
        return Err(Error::invalid_model("a range in steps of 0"));
    }
    let steps = (i128::from(limit) - i128::from(start)) / i128::from(step);
    check_bytes(&[i64::try_from(steps.max(0)).unwrap_or(i64::MAX)], size_of::<i64>())
}

/// The integers of a constant that says sizes; those that are symbolic are left out.
fn integers(fact: &TypedFact) -> Option<Vec<i64>> {
    let constant: &Tensor = fact.konst.as_deref()?;
    match constant.datum_type() {
        DatumType::TDim => {
            let dims = constant.try_as_plain_ram().ok()?.as_slice::<TDim>().ok()?.to_vec();
            Some(dims.iter().filter_map(|dim| dim.to_i64().ok()).collect())
        }
        datum_type if datum_type.is_integer() => {
            Some(constant.cast_to::<i64>().ok()?.try_as_plain_ram().ok()?.as_slice::<i64>().ok()?.to_vec())
        }
        _ => None,
    }
}

/// Checks the sizes that a fact tells.
pub fn check_fact(fact: &TypedFact) -> Result<()> {
    fact.shape.iter().try_for_each(check_expression)?;
    let constant = fact.konst.as_ref().filter(|constant| constant.datum_type() == DatumType::TDim);
    if let Some(Ok(plain)) = constant.map(|constant| constant.try_as_plain_ram()) {
        plain.as_slice::<TDim>().unwrap_or_default().iter().try_for_each(check_expression)?;
    }
    let known: Vec<i64> = fact.shape.iter().filter_map(|dim| dim.to_i64().ok()).collect();
    check_shape(&known, fact.datum_type)
}

/// Checks that a symbolic size is no expression beyond all measure: tract works on it by recursion, in a time that grows with
/// its square or worse.
fn check_expression(size: &TDim) -> Result<()> {
    let mut terms = 0;
    if is_measured(size, 0, &mut terms) {
        return Ok(());
    }
    Err(Error::unsupported_op("a size is computed from others in too many steps")
        .remedy("export the model with fixed sizes"))
}

fn is_measured(size: &TDim, depth: usize, terms: &mut usize) -> bool {
    *terms += 1;
    if depth > DEEPEST_SIZE || *terms > MOST_TERMS {
        return false;
    }
    let mut measured = |part: &TDim| is_measured(part, depth + 1, terms);
    match size {
        TDim::Val(_) | TDim::Sym(_) => true,
        TDim::Add(parts) | TDim::Mul(parts) | TDim::Broadcast(parts) | TDim::Min(parts) | TDim::Max(parts) => {
            parts.iter().all(measured)
        }
        TDim::MulInt(factor, part) => factor.unsigned_abs() <= LARGEST_SIZE as u64 && measured(part),
        TDim::Div(part, divisor) => *divisor <= LARGEST_SIZE as u64 && measured(part),
        TDim::Ge(left, right) | TDim::Eq(left, right) => measured(left) && measured(right),
    }
}

/// Checks that a value can be held.
pub fn check_shape(sizes: &[i64], datum_type: DatumType) -> Result<()> {
    if sizes.iter().any(|size| *size < 0) {
        return Err(Error::invalid_model("a tensor whose size is negative").remedy("export the model again"));
    }
    check_bytes(sizes, datum_type.size_of())
}

/// Checks that there is memory for a large value now, so that running out of it is an error and not an abort.
///
/// # Errors
/// `OutOfMemory`.
pub fn check_memory(sizes: &[i64], datum_type: DatumType) -> Result<()> {
    const LARGE: f64 = (16 << 20) as f64;
    let bytes = bytes(sizes, datum_type.size_of());
    if bytes <= LARGE {
        return Ok(());
    }
    let mut probe: Vec<u8> = Vec::new();
    probe.try_reserve_exact(bytes as usize).map_err(|_| {
        Error::out_of_memory(format!("no memory for a tensor of {bytes} bytes"))
            .remedy("use shorter inputs or a smaller model")
    })
}

fn check_bytes(sizes: &[i64], element: usize) -> Result<()> {
    if bytes(sizes, element) <= LARGEST_VALUE {
        return Ok(());
    }
    Err(too_large(&format!("a tensor of {sizes:?} elements of {element} bytes")))
}

/// Bytes of so many elements: exact up to 2^53, and beyond it no less. WebAssembly has no instruction that tells whether a product of
/// integers overflows.
fn bytes(sizes: &[i64], element: usize) -> f64 {
    // A tensor without elements takes no memory, however large its other sizes.
    if sizes.contains(&0) { 0.0 } else { sizes.iter().fold(element as f64, |bytes, size| bytes * *size as f64) }
}

fn too_large(what: &str) -> Error {
    Error::out_of_memory(format!("{what} is more than 4 GiB can hold")).remedy("use shorter inputs or a smaller model")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use tract_core::prelude::tensor1;

    #[test]
    fn shapes() {
        const OUT: Option<ErrorCode> = Some(ErrorCode::OutOfMemory);
        let cases: &[(&[i64], DatumType, Option<ErrorCode>)] = &[
            (&[], DatumType::F32, None),
            (&[1 << 15, 1 << 15], DatumType::F32, None),
            (&[1 << 30, 2], DatumType::F32, OUT),
            (&[1 << 15, 1 << 15, 4], DatumType::U8, None),
            (&[LARGEST_VALUE as i64], DatumType::U8, None),
            (&[LARGEST_VALUE as i64 + 1], DatumType::U8, OUT),
            (&[1 << 60, 4], DatumType::U8, OUT),
            (&[1 << 60, 1 << 60, 1 << 60], DatumType::U8, OUT),
            (&[1 << 60, 0], DatumType::F64, None),
            (&[2, -1], DatumType::F32, Some(ErrorCode::InvalidModel)),
        ];
        for (sizes, datum_type, expected) in cases {
            assert_eq!(check_shape(sizes, *datum_type).err().map(|error| error.code), *expected, "{sizes:?}");
        }
    }

    #[test]
    fn parameters() {
        const OUT: Option<ErrorCode> = Some(ErrorCode::OutOfMemory);
        const INVALID: Option<ErrorCode> = Some(ErrorCode::InvalidModel);
        let cases: &[(&str, usize, &[i64], Option<ErrorCode>)] = &[
            ("ConstantOfShape", 0, &[2, 3], None),
            ("ConstantOfShape", 0, &[1 << 60], OUT),
            ("ConstantOfShape", 0, &[-1], INVALID),
            ("Expand", 1, &[1 << 31, 4], OUT),
            ("Expand", 1, &[i64::MIN, 4], INVALID),
            ("Reshape", 1, &[-1, 4], None),
            ("Reshape", 1, &[-2, 4], INVALID),
            ("Reshape", 1, &[1 << 30, 1 << 30], OUT),
            ("Tile", 1, &[1 << 40], OUT),
            ("Pad", 1, &[-1, 1], None),
            ("TopK", 1, &[1 << 60], OUT),
            ("Add", 1, &[1 << 60], None),
        ];
        for (operator, position, values, expected) in cases {
            let node = NodeProto { op_type: operator.to_string(), ..Default::default() };
            let fact = TypedFact::try_from(tensor1(values)).unwrap();
            let mut operands = vec![None; position + 1];
            operands[*position] = Some(&fact);
            let outcome = check_parameters(&node, &operands).err().map(|error| error.code);
            assert_eq!(outcome, *expected, "{operator} {values:?}");
        }
        let steps = [
            ([0, 1 << 60, 1], OUT),
            ([0, -1, 1], None),
            ([i64::MIN, i64::MAX, 1], OUT),
            ([0, 1, 0], INVALID),
            ([10, 0, -3], None),
        ];
        for ([start, limit, step], expected) in steps {
            assert_eq!(check_steps(start, limit, step).err().map(|error| error.code), expected);
        }
    }
}
