//! What the patterns are made of.

use crate::ops::Activate;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::element_wise::ElementWiseOp;

/// The node that computes an outlet.
pub fn producer(model: &TypedModel, outlet: OutletId) -> &TypedNode {
    model.node(outlet.node)
}

/// The operands of a node that is the binary operator of that name (`Add`, `Mul`, `Div`, …).
pub fn binary(node: &TypedNode, name: &str) -> Option<[OutletId; 2]> {
    let operator = node.op_as::<TypedBinOp>()?;
    (operator.0.name() == name).then(|| [node.inputs[0], node.inputs[1]])
}

/// The operand of a node that is the element-wise operator of that name (`Erf`, `Tanh`, …).
pub fn unary(node: &TypedNode, name: &str) -> Option<OutletId> {
    let is_named = match (node.op_as::<Activate>(), node.op_as::<ElementWiseOp>()) {
        (Some(Activate(activation)), _) => activation.name().eq_ignore_ascii_case(name),
        (_, Some(operator)) => operator.0.name().eq_ignore_ascii_case(name),
        _ => false,
    };
    is_named.then(|| node.inputs[0])
}

/// The value of an f32 constant whose elements are all the same.
pub fn scalar(model: &TypedModel, outlet: OutletId) -> Option<f32> {
    let constant = model.outlet_fact(outlet).ok()?.konst.clone()?;
    if constant.datum_type() != f32::datum_type() || constant.volume() == 0 {
        return None;
    }
    let elements = crate::ops::f32_slice(&constant).ok()?;
    elements.iter().all(|element| *element == elements[0]).then(|| elements[0])
}

/// The other operand and the scalar of a commutative operation with a scalar that does not widen the other operand.
pub fn with_scalar(model: &TypedModel, node: &TypedNode, name: &str) -> Option<(OutletId, f32)> {
    let [left, right] = binary(node, name)?;
    let found = match (scalar(model, left), scalar(model, right)) {
        (None, Some(value)) => (left, value),
        (Some(value), None) => (right, value),
        _ => return None,
    };
    same_shape(model, found.0, OutletId::new(node.id, 0)).then_some(found)
}

/// The operand and the factor of a multiplication or division by a scalar.
pub fn scaled(model: &TypedModel, outlet: OutletId) -> Option<(OutletId, f32)> {
    let node = producer(model, outlet);
    if let Some(found) = with_scalar(model, node, "Mul") {
        return Some(found);
    }
    let [left, right] = binary(node, "Div")?;
    let divisor = scalar(model, right)?;
    same_shape(model, left, outlet).then_some((left, 1.0 / divisor))
}

/// Whether two outlets have the same shape.
pub fn same_shape(model: &TypedModel, left: OutletId, right: OutletId) -> bool {
    match (model.outlet_fact(left), model.outlet_fact(right)) {
        (Ok(left), Ok(right)) => left.shape == right.shape,
        _ => false,
    }
}

/// Whether two outlets have the same value: they are the same, or the same binary operator gives both from the same operands.
pub fn same_value(model: &TypedModel, left: OutletId, right: OutletId) -> bool {
    let (one, other) = (producer(model, left), producer(model, right));
    let same = |operator: &TypedBinOp| one.inputs == other.inputs && other.op_as() == Some(operator);
    left == right || one.op_as().is_some_and(same)
}

/// Whether two numbers are the same but for rounding to f32 or f16.
pub fn close(left: f32, right: f32) -> bool {
    (left - right).abs() <= 1e-3 * right.abs()
}

/// The one node that reads a node's only output, if it is no output of the model.
pub fn sole_reader<'a>(model: &'a TypedModel, node: &TypedNode) -> Option<&'a TypedNode> {
    if node.outputs.len() != 1 || model.outputs.iter().any(|output| output.node == node.id) {
        return None;
    }
    match *node.outputs[0].successors {
        [inlet] => Some(model.node(inlet.node)),
        _ => None,
    }
}

/// Whether an outlet is read by one node, once, and is no output of the model.
pub fn read_once(model: &TypedModel, outlet: OutletId) -> bool {
    producer(model, outlet).outputs[outlet.slot].successors.len() == 1 && !model.outputs.contains(&outlet)
}

/// The result of a node of the model that applies `operator` to `inputs`, if there is one.
pub fn shared(model: &TypedModel, operator: &dyn TypedOp, inputs: &[OutletId]) -> Option<OutletId> {
    let first = inputs.first()?;
    let readers = &producer(model, *first).outputs[first.slot].successors;
    let twin = readers
        .iter()
        .map(|reader| model.node(reader.node))
        .find(|node| *node.inputs == *inputs && *node.op == *operator)?;
    Some(OutletId::new(twin.id, 0))
}

/// A patch that computes `operator` from outlets of the model and puts the result in the place of `replaced`.
pub fn replace(
    model: &TypedModel,
    name: &str,
    operator: impl Into<Box<dyn TypedOp>>,
    inputs: &[OutletId],
    replaced: OutletId,
) -> TractResult<Box<TypedModelPatch>> {
    let mut patch = TypedModelPatch::default();
    let taps = inputs.iter().map(|outlet| patch.tap_model(model, *outlet)).collect::<TractResult<TVec<_>>>()?;
    let outlet = patch.wire_node(name, operator, &taps)?[0];
    patch.shunt_outside(model, replaced, outlet)?;
    Ok(Box::new(patch))
}
