//! ONNX's operators on the elements of two tensors that broadcast (7 to 28).

use super::only_attributes;
use crate::onnx::pb::NodeProto;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cast::wire_cast;
use tract_core::ops::change_axes::wire_rank_broadcast;
use tract_core::ops::logic::{and, comp_gt, comp_gte, comp_lt, comp_lte, or, xor};
use tract_core::ops::math::{add, div, mul, sub};

/// Makes what computes an operator.
pub type Binary = fn() -> TypedBinOp;

/// Operators by what computes them.
pub const OPERATORS: &[(&str, Binary)] = &[
    ("Add", add),
    ("And", and),
    ("Div", div),
    ("Greater", || TypedBinOp(comp_gt(), None)),
    ("GreaterOrEqual", || TypedBinOp(comp_gte(), None)),
    ("Less", || TypedBinOp(comp_lt(), None)),
    ("LessOrEqual", || TypedBinOp(comp_lte(), None)),
    ("Mul", mul),
    ("Or", or),
    ("Sub", sub),
    ("Xor", xor),
];

/// Wires an operator of the table.
pub fn wire(
    node: &NodeProto,
    _: i64,
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    only_attributes(node, &[])?;
    let row = OPERATORS.iter().find(|(operator, _)| *operator == node.op_type);
    let (_, operator) = row.with_context(|| format!("{} is no operator on two tensors", node.op_type))?;
    wire_operands(prefix, model, operator(), inputs)
}

/// Wires an operator on two tensors, which are cast to the type that it works on: symbolic sizes where one of them holds such.
pub fn wire_operands(
    prefix: &str,
    model: &mut TypedModel,
    operator: TypedBinOp,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    let &[left, right] = inputs else { bail!("two operands are needed") };
    let (left, right) = (model.outlet_fact(left)?.datum_type, model.outlet_fact(right)?.datum_type);
    let datum_type = operator.0.operating_datum_type(left, right)?;
    let operands = wire_rank_broadcast(prefix, model, inputs)?;
    let operands = wire_cast(prefix, model, &operands, datum_type)?;
    model.wire_node(prefix, operator, &operands)
}

/// Wires an operator on the first two tensors, then on its result and the next one, and so on.
pub fn wire_all(
    prefix: &str,
    model: &mut TypedModel,
    operator: Binary,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    let mut result = *inputs.first().context("an operand is needed")?;
    for (position, input) in inputs.iter().enumerate().skip(1) {
        let last = position + 1 == inputs.len();
        let name = if last { prefix.to_string() } else { format!("{prefix}.{position}") };
        result = wire_operands(&name, model, operator(), &[result, *input])?[0];
    }
    Ok(tvec!(result))
}
