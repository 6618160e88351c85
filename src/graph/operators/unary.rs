//! ONNX's operators without attributes on each element of one tensor (7 to 28).

use super::{Composer, only_attributes};
use crate::onnx::pb::NodeProto;
use crate::ops::elementary::Elementary;
use crate::ops::plain::PlainOperator;
use tract_core::internal::*;
use tract_core::ops::cast::wire_cast;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::logic::not;
use tract_core::ops::math::{abs, ceil, cos, erf, exp, floor, ln, neg, recip, sign, sin, sqrt};

/// What computes an operator.
#[derive(Debug, Clone, Copy)]
pub enum Unary {
    /// tract.
    Stock(fn() -> ElementWiseOp),
    /// A function of floats.
    Own(Elementary),
}

/// Operators by what computes them.
pub const OPERATORS: &[(&str, Unary)] = &[
    ("Abs", Unary::Stock(abs)),
    ("Acos", Unary::Own(Elementary::Acos)),
    ("Acosh", Unary::Own(Elementary::Acosh)),
    ("Asin", Unary::Own(Elementary::Asin)),
    ("Asinh", Unary::Own(Elementary::Asinh)),
    ("Atan", Unary::Own(Elementary::Atan)),
    ("Atanh", Unary::Own(Elementary::Atanh)),
    ("Ceil", Unary::Stock(ceil)),
    ("Cos", Unary::Stock(cos)),
    ("Cosh", Unary::Own(Elementary::Cosh)),
    ("Erf", Unary::Stock(erf)),
    ("Exp", Unary::Stock(exp)),
    ("Floor", Unary::Stock(floor)),
    ("HardSwish", Unary::Own(Elementary::HardSwish)),
    ("Log", Unary::Stock(ln)),
    ("Mish", Unary::Own(Elementary::Mish)),
    ("Neg", Unary::Stock(neg)),
    ("Not", Unary::Stock(not)),
    ("Reciprocal", Unary::Stock(recip)),
    ("Round", Unary::Own(Elementary::Round)),
    ("Sign", Unary::Stock(sign)),
    ("Sin", Unary::Stock(sin)),
    ("Sinh", Unary::Own(Elementary::Sinh)),
    ("Softsign", Unary::Own(Elementary::Softsign)),
    ("Sqrt", Unary::Stock(sqrt)),
    ("Tan", Unary::Own(Elementary::Tan)),
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
    let (_, operator) = row.with_context(|| format!("{} is no operator on elements", node.op_type))?;
    match operator {
        Unary::Stock(operator) => {
            let operator = operator();
            let datum_type = operator.0.operating_datum_type(model.outlet_fact(inputs[0])?.datum_type);
            let operand = wire_cast(prefix, model, &inputs[..1], datum_type)?;
            model.wire_node(prefix, operator, &operand)
        }
        Unary::Own(function) => elementary(prefix, model, inputs[0], *function),
    }
}

/// Wires a function of floats.
pub fn elementary(
    prefix: &str,
    model: &mut TypedModel,
    x: OutletId,
    function: Elementary,
) -> TractResult<TVec<OutletId>> {
    Ok(tvec!(Composer::new(prefix, model).wire(PlainOperator(function), &[x])?))
}
