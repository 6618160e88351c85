//! What quantised models are made of besides the patterns: operators on every element by itself, with constant scales and
//! zero points, as steps of [`crate::kernels`].

use super::pattern::{binary, same_shape, scalar, unary, with_scalar};
use crate::kernels::steps::Step;
use crate::ops::{DequantizeLinear, QuantizeLinear, QuantizedType};
use tract_core::internal::*;

/// Nodes that are looked at, one above or below the other.
pub const REACH: usize = 48;

/// The scale and the zero point of a whole tensor, and its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// One for all elements.
    pub scale: f32,
    /// One for all elements.
    pub zero_point: f32,
    /// Type of the integers.
    pub integers: QuantizedType,
}

impl Grid {
    /// Of the output of a quantisation.
    pub fn of_quantize(model: &TypedModel, node: &TypedNode) -> Option<Grid> {
        let operator = node.op_as::<QuantizeLinear>().filter(|operator| operator.block_size == 0)?;
        Grid::of(model, node, operator.output)
    }

    /// Of the input of a dequantisation.
    pub fn of_dequantize(model: &TypedModel, node: &TypedNode) -> Option<Grid> {
        let plain = |operator: &&DequantizeLinear| operator.block_size == 0 && operator.packed.is_none();
        node.op_as::<DequantizeLinear>().filter(plain)?;
        Grid::of(model, node, QuantizedType::of(model.outlet_fact(node.inputs[0]).ok()?.datum_type)?)
    }

    fn of(model: &TypedModel, node: &TypedNode, integers: QuantizedType) -> Option<Grid> {
        let zero_point = match node.inputs.get(2) {
            Some(zero_point) => number(model, *zero_point)?,
            None => 0.0,
        };
        Some(Grid { scale: number(model, node.inputs[1])?, zero_point, integers })
    }

    /// The least and the greatest integer.
    pub fn range(&self) -> [f32; 2] {
        [self.integers.lowest() as f32, self.integers.highest() as f32]
    }

    /// To integers.
    pub fn quantize(&self) -> [Step; 4] {
        Step::quantize(self.scale, self.zero_point, self.range())
    }

    /// From integers.
    pub fn dequantize(&self) -> [Step; 2] {
        Step::dequantize(self.scale, self.zero_point)
    }
}

/// The only element of a constant of numbers.
pub fn number(model: &TypedModel, outlet: OutletId) -> Option<f32> {
    let constant = model.outlet_fact(outlet).ok()?.konst.clone()?;
    if constant.volume() != 1 || !constant.datum_type().is_number() {
        return None;
    }
    crate::ops::to_f32(&constant).ok()?.first().copied()
}

/// The operand of a node that treats each element by itself, and its steps.
pub fn steps(model: &TypedModel, node: &TypedNode) -> Option<(OutletId, Vec<Step>)> {
    let operand = *node.inputs.first()?;
    if node.op_is::<QuantizeLinear>() {
        return Some((operand, Grid::of_quantize(model, node)?.quantize().to_vec()));
    }
    if node.op_is::<DequantizeLinear>() {
        return Some((operand, Grid::of_dequantize(model, node)?.dequantize().to_vec()));
    }
    let named = [
        ("Tanh", &[Step::Tanh][..]),
        ("Sqrt", &[Step::SquareRoot]),
        ("Rsqrt", &[Step::SquareRoot, Step::Reciprocal]),
        ("Recip", &[Step::Reciprocal]),
    ];
    if let Some((operand, steps)) = named.into_iter().find_map(|(name, steps)| Some((unary(node, name)?, steps))) {
        return Some((operand, steps.to_vec()));
    }
    if let Some((operand, factor)) = with_scalar(model, node, "Mul") {
        return Some((operand, vec![Step::Multiply(factor)]));
    }
    if let Some((operand, summand)) = with_scalar(model, node, "Add") {
        return Some((operand, vec![Step::Add(summand)]));
    }
    let output = OutletId::new(node.id, 0);
    let whole = |operand: OutletId| same_shape(model, operand, output);
    if let Some([left, right]) = binary(node, "Sub") {
        let subtrahend = scalar(model, right).filter(|_| scalar(model, left).is_none() && whole(left))?;
        return Some((left, vec![Step::Add(-subtrahend)]));
    }
    let [left, right] = binary(node, "Div")?;
    match (scalar(model, left), scalar(model, right)) {
        (None, Some(divisor)) if whole(left) => Some((left, vec![Step::Divide(divisor)])),
        (Some(1.0), None) if whole(right) => Some((right, vec![Step::Reciprocal])),
        _ => None,
    }
}

/// The outlet above all nodes that treat each element by itself, up to [`REACH`] of them, and the steps down from it.
pub fn climbed(model: &TypedModel, mut outlet: OutletId) -> (OutletId, Vec<Step>) {
    let mut parts = Vec::new();
    while parts.len() < REACH
        && let Some((operand, steps)) = steps(model, model.node(outlet.node))
    {
        parts.push(steps);
        outlet = operand;
    }
    (outlet, parts.into_iter().rev().flatten().collect())
}
