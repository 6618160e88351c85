//! Attention of statically quantised models: between the products of query, key and value, every result is rounded to
//! integers, in pairs of `QuantizeLinear` and `DequantizeLinear` or by `QLinear…` operators. The roundings are kept, as steps
//! of the [`Attention`].

use super::Match;
use super::attention::{Split, head_counts, unfolding};
use super::pattern::{binary, producer, read_once, scalar, unary};
use super::steps::{number, steps};
use crate::kernels::score_steps::ScoreStep;
use crate::kernels::steps::{QuantizedSoftmax, Step};
use crate::ops::plain::PlainOperator;
use crate::ops::{
    Attention, DequantizeLinear, HeadLayout, MatMul, MatMulInteger, QLinearBinary, QLinearSoftmax, QuantizedType,
    Requantize, RoundFloat,
};
use tract_core::internal::*;
use tract_core::ops::cast::cast;
use tract_core::ops::logic::Iff;
use tract_core::ops::math::add;
use tract_core::ops::nn::{Softmax, SoftmaxKind};

/// Nodes between the products that are followed, on all ways that are tried.
const REACH: usize = 256;

/// Up to here f32 holds every integer.
const EXACT: usize = 1 << 24;

/// Looks for the product of probabilities and values.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some([probabilities, values]) = operands(model, node) else { return Ok(Match::None) };
    let Ok(chain) = followed(model, probabilities.outlet, &mut { REACH }) else { return Ok(Match::None) };
    if !chain.is_softmax || !chain.rounds {
        return Ok(Match::None);
    }
    if chain.split.is_some() != chain.joined {
        return Ok(Match::Almost(
            "batch and heads are not joined behind the softmax as they were split before it".into(),
        ));
    }
    if !read_once(model, node.inputs[0]) {
        return Ok(Match::Almost("the probabilities are an output or read elsewhere too".into()));
    }
    let masks: Vec<OutletId> = chain.masks.iter().map(|mask| mask.outlet).collect();
    let outlets = [chain.operands[0].outlet, chain.operands[1].outlet, values.outlet];
    let counts = match head_counts(model, outlets, chain.split.as_ref(), &masks)? {
        Ok(counts) => counts,
        Err(reason) => return Ok(Match::Almost(reason)),
    };
    if let Some(reason) = inexact(model, &chain, probabilities)? {
        return Ok(Match::Almost(reason));
    }
    Ok(Match::Found(Box::new(fused(model, node, chain, [probabilities, values], counts)?)))
}

/// Why the scores that a softmax is over are not those of an attention that is rounded at each step; `None` if they are, or
/// if nothing is rounded.
pub fn obstacle(model: &TypedModel, softmax: &TypedNode) -> Option<String> {
    match followed(model, OutletId::new(softmax.id, 0), &mut { REACH }) {
        Err(obstacle) if obstacle.rounds => Some(obstacle.reason),
        _ => None,
    }
}

/// What is multiplied: floats, or integers.
#[derive(Debug, Clone, Copy)]
struct Operand {
    outlet: OutletId,
    /// Of integers.
    zero_point: Option<f32>,
}

/// The operands of a product of two tensors that are computed.
fn operands(model: &TypedModel, node: &TypedNode) -> Option<[Operand; 2]> {
    let computed = |slot: usize| model.outlet_fact(node.inputs[slot]).is_ok_and(|fact| fact.konst.is_none());
    let operand = |slot: usize, zero_point: Option<f32>| Operand { outlet: node.inputs[slot], zero_point };
    if node.op_is::<MatMul>() {
        return (computed(0) && computed(1)).then(|| [operand(0, None), operand(1, None)]);
    }
    node.op_as::<PlainOperator<MatMulInteger>>().filter(|_| computed(0) && computed(1))?;
    let zero_points = [number(model, node.inputs[2])?, number(model, node.inputs[3])?];
    Some([operand(0, Some(zero_points[0])), operand(1, Some(zero_points[1]))])
}

/// A mask, and what is done to it before it is used.
struct Mask {
    outlet: OutletId,
    /// Integers: multiplied by the first number, and the second is added.
    scaled: Option<[f32; 2]>,
}

impl From<OutletId> for Mask {
    fn from(outlet: OutletId) -> Mask {
        Mask { outlet, scaled: None }
    }
}

/// The way from the product of query and key down to an outlet.
struct Chain {
    /// Query, and key `[batch, heads, dim, position]`.
    operands: [Operand; 2],
    steps: Vec<ScoreStep>,
    /// In the order in which steps read them.
    masks: Vec<Mask>,
    /// Into what the first axis of the product is split.
    split: Option<Split>,
    /// Whether that axis is whole again.
    joined: bool,
    is_softmax: bool,
    /// Whether something is rounded to integers.
    rounds: bool,
}

/// Why there is no such way.
struct Obstacle {
    reason: String,
    /// Whether something is rounded below it.
    rounds: bool,
}

impl Obstacle {
    fn new(reason: impl Into<String>) -> Obstacle {
        Obstacle { reason: reason.into(), rounds: false }
    }
}

impl Chain {
    fn of_product(operands: [Operand; 2], steps: Vec<Step>) -> Chain {
        let rounds = !steps.is_empty();
        let chain =
            Chain { operands, steps: vec![], masks: vec![], split: None, joined: false, is_softmax: false, rounds };
        chain.then(steps)
    }

    fn then(mut self, steps: impl IntoIterator<Item = Step>) -> Chain {
        self.steps.extend(steps.into_iter().map(ScoreStep::Each));
        self
    }

    fn then_step(mut self, step: ScoreStep) -> Chain {
        self.steps.push(step);
        self
    }

    fn masked(mut self, step: ScoreStep, mask: impl Into<Mask>) -> Result<Chain, Obstacle> {
        if self.joined {
            return Err(Obstacle::new("the scores are masked after batch and heads are joined"));
        }
        self.masks.push(mask.into());
        Ok(self.then_step(step))
    }

    fn softmax(mut self, step: ScoreStep) -> Result<Chain, Obstacle> {
        if self.is_softmax {
            return Err(Obstacle::new("there are two softmaxes"));
        }
        self.is_softmax = true;
        Ok(self.then_step(step))
    }
}

fn rounds(steps: &[Step]) -> bool {
    steps.contains(&Step::Round)
}

/// The scores that `outlet` is made of; of `reach`, what is followed is taken away.
fn followed(model: &TypedModel, outlet: OutletId, reach: &mut usize) -> Result<Chain, Obstacle> {
    *reach = reach.checked_sub(1).ok_or_else(|| Obstacle::new("there are too many steps"))?;
    let node = producer(model, outlet);
    if let Some((operand, steps)) = steps(model, node) {
        let rounds = rounds(&steps);
        return match followed(model, operand, reach) {
            Ok(chain) => Ok(Chain { rounds: chain.rounds || rounds, ..chain.then(steps) }),
            Err(obstacle) => Err(Obstacle { rounds: obstacle.rounds || rounds, ..obstacle }),
        };
    }
    if node.op_is::<MatMul>() {
        let operands = operands(model, node).ok_or_else(|| Obstacle::new("the scores come from a constant"))?;
        return Ok(Chain::of_product(operands, vec![]));
    }
    if let Some(PlainOperator(operator)) = node.op_as::<PlainOperator<Requantize>>() {
        return integer_product(model, node, operator);
    }
    if let Some(PlainOperator(operator)) = node.op_as::<PlainOperator<QLinearBinary>>() {
        let chain = quantized_binary(model, node, *operator, reach);
        return chain.map_err(|obstacle| Obstacle { rounds: true, ..obstacle });
    }
    if let Some(operator) = node.op_as::<Softmax>() {
        let last = model.outlet_fact(outlet).map_or(0, |fact| fact.rank()).wrapping_sub(1);
        let plain = operator.kind == SoftmaxKind::Softmax && operator.quant_output_dt.is_none();
        if !plain || *operator.axes != [last] {
            return Err(Obstacle::new("the softmax is not a plain one over the last axis"));
        }
        return followed(model, node.inputs[0], reach)?.softmax(ScoreStep::Softmax);
    }
    if node.op_is::<PlainOperator<QLinearSoftmax>>() {
        let softmax = quantized_softmax(model, node).ok_or_else(|| Obstacle::new("its scales are not constant"))?;
        return followed(model, node.inputs[0], reach)?.softmax(ScoreStep::QuantizedSoftmax(softmax));
    }
    // Kept in f32, as in attention that is not quantised.
    if node.op_is::<RoundFloat>() {
        return followed(model, node.inputs[0], reach);
    }
    if let Some(AxisOp::Reshape(0, from, to)) = node.op_as() {
        return reshaped(followed(model, node.inputs[0], reach)?, from, to);
    }
    if let Some([left, right]) = binary(node, "Add") {
        let (chain, mask) = match followed(model, left, reach) {
            Ok(chain) => (chain, right),
            Err(obstacle) => (followed(model, right, reach).map_err(|_| obstacle)?, left),
        };
        return chain.masked(ScoreStep::AddMask, mask);
    }
    if node.op_is::<Iff>() {
        return replaced(model, node, reach);
    }
    let name = node.op.name();
    Err(Obstacle::new(format!("the scores come from {name} `{}`, not from a product", node.name)))
}

/// Batch and heads split, or joined again.
fn reshaped(mut chain: Chain, from: &Split, to: &Split) -> Result<Chain, Obstacle> {
    match &chain.split {
        None if (from.len(), to.len()) == (1, 2) && chain.masks.is_empty() => chain.split = Some(to.clone()),
        Some(split) if !chain.joined && (split, to.len()) == (from, 1) => chain.joined = true,
        Some(split) if chain.joined && split == to => chain.joined = false,
        _ => return Err(Obstacle::new("the scores are reshaped otherwise than into batch and heads")),
    }
    Ok(chain)
}

/// `Where(IsNaN(x), 0, x)`, `Where(condition, scores, value)` and `Where(condition, value, scores)`.
fn replaced(model: &TypedModel, node: &TypedNode, reach: &mut usize) -> Result<Chain, Obstacle> {
    let [condition, chosen, other] = [node.inputs[0], node.inputs[1], node.inputs[2]];
    if unary(producer(model, condition), "IsNan") == Some(other) && scalar(model, chosen) == Some(0.0) {
        return Ok(followed(model, other, reach)?.then_step(ScoreStep::ZeroForNan));
    }
    let (kept, operand, value) = match (scalar(model, chosen), scalar(model, other)) {
        (None, Some(value)) => (true, chosen, value),
        (Some(value), None) => (false, other, value),
        _ => return Err(Obstacle::new("masked scores are not replaced by one number")),
    };
    followed(model, operand, reach)?.masked(ScoreStep::Replace { kept, value }, condition)
}

/// The product of query and key as integers.
fn integer_product(model: &TypedModel, node: &TypedNode, operator: &Requantize) -> Result<Chain, Obstacle> {
    let product = producer(model, node.inputs[0]);
    let constants = || {
        let mut factor = operator.alpha * number(model, node.inputs[1])? * number(model, node.inputs[2])?;
        let Some(integers) = operator.output else { return Some(vec![Step::Multiply(factor)]) };
        let zero_point = number(model, node.inputs[4])?;
        factor /= number(model, node.inputs[3])?;
        let [lowest, highest] = bounds(integers).map(|bound| bound - zero_point);
        Some(vec![Step::Multiply(factor), Step::Saturate { lowest, highest }, Step::Round, Step::Add(zero_point)])
    };
    let operands = operands(model, product).filter(|operands| operands[0].zero_point.is_some());
    match (operands, constants()) {
        (Some(operands), Some(steps)) => Ok(Chain::of_product(operands, steps)),
        _ => Err(Obstacle { rounds: true, ..Obstacle::new("its scales or zero points are not single constants") }),
    }
}

fn bounds(integers: QuantizedType) -> [f32; 2] {
    [integers.lowest() as f32, integers.highest() as f32]
}

/// A sum or a product of scores and what else is quantised, in the order of operations of the operator.
fn quantized_binary(
    model: &TypedModel,
    node: &TypedNode,
    operator: QLinearBinary,
    reach: &mut usize,
) -> Result<Chain, Obstacle> {
    let other_than = |reason: &str| Obstacle::new(reason);
    let parameters = [1, 2, 4, 5, 6, 7].map(|slot| number(model, node.inputs[slot]));
    let [Some(a_scale), Some(a_zero), Some(b_scale), Some(b_zero), Some(scale), Some(zero)] = parameters else {
        return Err(other_than("its scales or zero points are not constant"));
    };
    let integers =
        model.outlet_fact(OutletId::new(node.id, 0)).ok().and_then(|fact| QuantizedType::of(fact.datum_type));
    let Some([lowest, highest]) = integers.map(bounds) else { return Err(other_than("its type is not supported")) };
    let rounded = [Step::Round, Step::Saturate { lowest, highest }];
    let (a, b) = (node.inputs[0], node.inputs[3]);
    let (chain, other, is_first) = match followed(model, a, reach) {
        Ok(chain) => (chain, b, true),
        Err(obstacle) => (followed(model, b, reach).map_err(|_| obstacle)?, a, false),
    };
    let chain = Chain { rounds: true, ..chain };
    let constant = number(model, other);
    match operator {
        QLinearBinary::Mul => {
            let Some(other) = constant else {
                return Err(other_than("the scores are multiplied by what is not constant"));
            };
            let (own_zero, other_zero) = if is_first { (a_zero, b_zero) } else { (b_zero, a_zero) };
            let ratio = a_scale * b_scale / scale;
            let steps =
                [Step::Add(-own_zero), Step::Multiply(other - other_zero), Step::Multiply(ratio), Step::Add(zero)];
            Ok(chain.then(steps).then(rounded))
        }
        QLinearBinary::Add => {
            let (a_ratio, b_ratio) = (a_scale / scale, b_scale / scale);
            let fixed = zero - (a_ratio * a_zero + b_ratio * b_zero);
            // `(fixed + a · a_ratio) + b · b_ratio`: the constant goes with the first.
            let (own_ratio, own_fixed, ratio, shift) =
                if is_first { (a_ratio, fixed, b_ratio, 0.0) } else { (b_ratio, 0.0, a_ratio, fixed) };
            let chain = chain.then([Step::Multiply(own_ratio), Step::Add(own_fixed)]);
            let chain = match constant {
                Some(other) => chain.then([Step::Add(other * ratio + shift)]),
                None => chain.masked(ScoreStep::AddMask, Mask { outlet: other, scaled: Some([ratio, shift]) })?,
            };
            Ok(chain.then(rounded))
        }
    }
}

fn quantized_softmax(model: &TypedModel, node: &TypedNode) -> Option<QuantizedSoftmax> {
    let integers = QuantizedType::of(model.outlet_fact(node.inputs[0]).ok()?.datum_type)?;
    Some(QuantizedSoftmax {
        scale: number(model, node.inputs[1])?,
        out_scale: number(model, node.inputs[2])?,
        zero_point: number(model, node.inputs[3])?,
        highest: bounds(integers)[1],
    })
}

/// Why sums of products of integers may not stay exact in f32. Probabilities in steps of 1 / 1024 or more add up to little
/// more than 1024 however many they are.
fn inexact(model: &TypedModel, chain: &Chain, probabilities: Operand) -> TractResult<Option<String>> {
    if chain.operands[0].zero_point.is_some() {
        let key = model.outlet_fact(chain.operands[1].outlet)?;
        let head_dim = key.shape[key.rank() - 2].to_usize().unwrap_or(usize::MAX);
        if head_dim.saturating_mul(255 * 255) > EXACT {
            return Ok(Some(format!("products of integers over {head_dim} elements of a head are too large")));
        }
    }
    let Some(zero_point) = probabilities.zero_point else { return Ok(None) };
    let node = producer(model, probabilities.outlet);
    let grid = match node.op_is::<PlainOperator<QLinearSoftmax>>() {
        true => number(model, node.inputs[2]).zip(number(model, node.inputs[3])),
        false => super::steps::Grid::of_quantize(model, node).map(|grid| (grid.scale, grid.zero_point)),
    };
    let coarse = grid.is_some_and(|(scale, zero)| scale >= 1.0 / 1024.0 && zero == zero_point);
    Ok((!coarse).then(|| "the probabilities are quantised in too small steps".into()))
}

fn fused(
    model: &TypedModel,
    node: &TypedNode,
    mut chain: Chain,
    [probabilities, values]: [Operand; 2],
    (heads, kv_heads): (usize, usize),
) -> TractResult<TypedModelPatch> {
    let mut patch = TypedModelPatch::default();
    let unfold = unfolding(model, chain.operands[0].outlet, chain.split.as_ref())?;
    let mut operand = |name: &str, operand: Operand| {
        let mut wire = patch.tap_model(model, operand.outlet)?;
        if let Some(zero_point) = operand.zero_point {
            wire = dequantized(&mut patch, &format!("{}.{name}", node.name), wire, 1.0, zero_point)?;
        }
        match &unfold {
            Some(unfold) => Ok(patch.wire_node(format!("{}.{name}.unfolded", node.name), unfold.clone(), &[wire])?[0]),
            None => Ok::<_, TractError>(wire),
        }
    };
    let query = operand("query", chain.operands[0])?;
    let transposed = operand("transposed key", chain.operands[1])?;
    let value = operand("value", values)?;
    let key = patch.wire_node(format!("{}.key", node.name), AxisOp::Move(2, 3), &[transposed])?[0];
    let mut inputs = tvec!(query, key, value);
    for (number, mask) in chain.masks.iter().enumerate() {
        inputs.push(mask_input(model, &mut patch, &format!("{}.mask.{number}", node.name), mask)?);
    }
    if let Some(zero_point) = probabilities.zero_point {
        chain.steps.push(ScoreStep::Each(Step::Add(-zero_point)));
    }
    let operator =
        Attention { steps: chain.steps, ..Attention::new(heads, kv_heads, Some(1.0), HeadLayout::HeadMajor) };
    let mut outlet = patch.wire_node(&*node.name, operator, &inputs)?[0];
    if let Some(unfold) = unfold {
        outlet = patch.wire_node(format!("{}.folded", node.name), unfold.recip(), &[outlet])?[0];
    }
    if probabilities.zero_point.is_some() {
        outlet = patch.wire_node(format!("{}.sums", node.name), cast(i32::datum_type()), &[outlet])?[0];
    }
    patch.shunt_outside(model, OutletId::new(node.id, 0), outlet)?;
    Ok(patch)
}

/// Integers as f32.
fn dequantized(
    patch: &mut TypedModelPatch,
    name: &str,
    integers: OutletId,
    scale: f32,
    zero_point: f32,
) -> TractResult<OutletId> {
    let scale = patch.add_const(format!("{name}.scale"), tensor0(scale))?;
    let zero_point = patch.add_const(format!("{name}.zero point"), tensor0(zero_point))?;
    let operator = DequantizeLinear { axis: 0, block_size: 0, packed: None };
    Ok(patch.wire_node(name, operator, &[integers, scale, zero_point])?[0])
}

/// A mask as f32 of rank 4.
fn mask_input(model: &TypedModel, patch: &mut TypedModelPatch, name: &str, mask: &Mask) -> TractResult<OutletId> {
    let mut wire = patch.tap_model(model, mask.outlet)?;
    if let Some([factor, shift]) = mask.scaled {
        wire = dequantized(patch, name, wire, factor, 0.0)?;
        if shift != 0.0 {
            let ones = vec![1; patch.outlet_fact(wire)?.rank()];
            let shift = patch.add_const(format!("{name}.shift"), Tensor::from_shape(&ones, &[shift])?)?;
            wire = patch.wire_node(format!("{name}.shifted"), add(), &[wire, shift])?[0];
        }
    } else if patch.outlet_fact(wire)?.datum_type == bool::datum_type() {
        wire = patch.wire_node(format!("{name}.numbers"), cast(f32::datum_type()), &[wire])?[0];
    }
    if patch.outlet_fact(wire)?.rank() == 3 {
        wire = patch.wire_node(format!("{name}.heads"), AxisOp::Add(1), &[wire])?[0];
    }
    Ok(wire)
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use tract_core::ops::math::{div, is_nan, mul};

    const HEADS: usize = 2;
    const DIM: usize = 4;

    /// What stands between the product of query and key and that with the values.
    #[derive(Clone, Copy)]
    enum Between {
        /// To uint8 with that scale and zero point, and back.
        Round(f32, u8),
        Scale(f32),
        Divide(f32),
        /// `[B, 1, S, S]`
        Mask,
        /// `[1, heads, S, S]`, rounded itself.
        RoundedBias,
        /// `Where(condition, scores, number)`
        Keep(f32),
        Softmax,
        /// `Where(IsNaN(x), 0, x)`
        Guard,
        /// The softmax over the queries.
        OverQueries,
        /// Batch and heads split, and joined.
        Split,
        Join,
    }

    struct Case {
        what: &'static str,
        between: &'static [Between],
        /// Whether batch and heads are one axis of the operands.
        folded: bool,
        expected: Expected,
    }

    fn next(sketch: &mut Sketch, x: OutletId, between: Between) -> OutletId {
        let [batch, heads] = [sketch.dim("B"), HEADS.to_dim()];
        let (whole, split): (Split, Split) = (tvec!(batch.clone() * HEADS), tvec!(batch, heads));
        match between {
            Between::Round(scale, zero_point) => sketch.rounded(x, scale, zero_point),
            Between::Scale(factor) => {
                let factor = sketch.number(4, factor);
                sketch.wire(mul(), &[x, factor])
            }
            Between::Divide(divisor) => {
                let divisor = sketch.number(4, divisor);
                sketch.wire(div(), &[x, divisor])
            }
            Between::Mask => {
                let mask = sketch.input(&[0, 1, 0, 0]);
                sketch.wire(add(), &[x, mask])
            }
            Between::RoundedBias => {
                let bias = sketch.input(&[1, HEADS, 0, 0]);
                let bias = sketch.rounded(bias, 0.01, 128);
                sketch.wire(add(), &[bias, x])
            }
            Between::Keep(value) => {
                let condition = sketch.typed_input(bool::datum_type(), &[0, 1, 0, 0]);
                let value = sketch.number(4, value);
                sketch.wire(Iff, &[condition, x, value])
            }
            Between::Softmax => {
                let last = sketch.model.outlet_fact(x).unwrap().rank() - 1;
                sketch.softmax(x, last)
            }
            Between::OverQueries => sketch.softmax(x, 2),
            Between::Guard => {
                let tested = sketch.wire(is_nan(), &[x]);
                let zero = sketch.number(4, 0.0);
                sketch.wire(Iff, &[tested, zero, x])
            }
            Between::Split => sketch.wire(AxisOp::Reshape(0, whole, split), &[x]),
            Between::Join => sketch.wire(AxisOp::Reshape(0, split, whole), &[x]),
        }
    }

    #[test]
    fn roundings_between_the_products() {
        use Between::*;
        use Expected::{Fused, Not};
        const INF: f32 = f32::INFINITY;
        // Odd scales, so that no score lies halfway between two integers.
        const SCORES: Between = Round(0.020_123, 120);
        const PROBABILITIES: Between = Round(1.0 / 255.0, 0);
        let case = |what, between| Case { what, between, folded: false, expected: Fused };
        let cases = [
            case("the product", &[SCORES, Softmax]),
            case("the probabilities", &[Softmax, PROBABILITIES]),
            case(
                "everything",
                &[SCORES, Scale(0.5), Round(0.010_123, 120), Mask, Round(0.015_171, 110), Softmax, PROBABILITIES],
            ),
            case("between a bias and a mask", &[SCORES, Divide(3.0), RoundedBias, Round(0.020_471, 99), Mask, Softmax]),
            case("before a scale behind the mask", &[Mask, SCORES, Scale(0.5), Softmax]),
            case("rows masked everywhere", &[SCORES, Keep(-INF), Softmax, Guard, PROBABILITIES]),
            case("NaN in rows masked everywhere", &[SCORES, Keep(-INF), Softmax, PROBABILITIES]),
            case("a replacement near to the scores", &[SCORES, Keep(-1.5), Softmax]),
            case("a mask on a coarse grid", &[Keep(f32::MIN), Round(1.33e36, 255), Softmax]),
            Case { folded: true, ..case("heads in the batch", &[SCORES, Split, SCORES, Mask, SCORES, Join, Softmax]) },
            Case {
                folded: true,
                expected: Not("not joined"),
                ..case("heads split out of the batch", &[SCORES, Split, Softmax, PROBABILITIES])
            },
            Case { expected: Not("last axis"), ..case("over the queries", &[SCORES, OverQueries]) },
        ];
        for case in cases {
            let mut sketch = Sketch::new();
            let mut operands = [(); 3].map(|()| {
                let operand = sketch.input(&[0, 0, HEADS * DIM]);
                let operand = sketch.rounded(operand, 0.01, 128);
                sketch.split_heads(operand, HEADS, DIM)
            });
            if case.folded {
                operands = operands.map(|operand| next(&mut sketch, operand, Join));
            }
            let last = if case.folded { 2 } else { 3 };
            let key = sketch.wire(AxisOp::Move(last, last - 1), &[operands[1]]);
            let scores = sketch.wire(MatMul, &[operands[0], key]);
            let probabilities = case.between.iter().fold(scores, |x, between| next(&mut sketch, x, *between));
            // Where heads stay split the values have to follow.
            let rank = sketch.model.outlet_fact(probabilities).unwrap().rank();
            let value = if case.folded && rank == 4 { next(&mut sketch, operands[2], Split) } else { operands[2] };
            let output = sketch.wire(MatMul, &[probabilities, value]);
            let output = sketch.rounded(output, 0.01, 128);
            sketch.check(case.what, &[output], "attention", case.expected);
        }
    }

    /// What is done to quantised scores.
    #[derive(Clone, Copy)]
    enum Integers {
        /// `QLinearMul` with 0.5.
        Halve,
        /// `QLinearAdd` of a mask, before or behind it.
        Add {
            first: bool,
        },
        Softmax,
        /// `QLinearSoftmax` to that scale.
        QuantizedSoftmax(f32),
        Requantize(f32),
    }

    fn wire_binary(sketch: &mut Sketch, operator: QLinearBinary, a: (OutletId, f32), b: (OutletId, f32)) -> OutletId {
        let scales = [a.1, b.1, 0.03].map(|scale| sketch.constant(tensor0(scale)));
        let zero_points = [128u8, 120, 125].map(|zero_point| sketch.constant(tensor0(zero_point)));
        let [a_zero, b_zero, zero] = zero_points;
        sketch.wire(PlainOperator(operator), &[a.0, scales[0], a_zero, b.0, scales[1], b_zero, scales[2], zero])
    }

    fn wire_integers(sketch: &mut Sketch, x: OutletId, integers: Integers) -> OutletId {
        match integers {
            Integers::Halve => {
                let half = sketch.constant(Tensor::from_shape(&[1, 1, 1, 1], &[220u8]).unwrap());
                wire_binary(sketch, QLinearBinary::Mul, (x, 0.03), (half, 0.005))
            }
            Integers::Add { first } => {
                let mask = sketch.typed_input(u8::datum_type(), &[0, 1, 0, 0]);
                let [a, b] = if first { [(mask, 0.01), (x, 0.03)] } else { [(x, 0.03), (mask, 0.01)] };
                wire_binary(sketch, QLinearBinary::Add, a, b)
            }
            Integers::Softmax => {
                let x = sketch.dequantized(x, 0.03, 125);
                let x = sketch.softmax(x, 3);
                sketch.quantized(x, 1.0 / 255.0, 0)
            }
            Integers::QuantizedSoftmax(out_scale) => {
                let scales = [0.03f32, out_scale].map(|scale| sketch.constant(tensor0(scale)));
                let zero_point = sketch.constant(tensor0(0u8));
                sketch.wire(PlainOperator(QLinearSoftmax), &[x, scales[0], scales[1], zero_point])
            }
            Integers::Requantize(scale) => {
                let x = sketch.dequantized(x, 1.0 / 256.0, 0);
                sketch.quantized(x, scale, 0)
            }
        }
    }

    fn wire_product(sketch: &mut Sketch, left: OutletId, right: OutletId, zero_points: [u8; 2]) -> OutletId {
        let zero_points = zero_points.map(|zero_point| sketch.constant(tensor0(zero_point)));
        let sums = sketch.wire(PlainOperator(MatMulInteger), &[left, right, zero_points[0], zero_points[1]]);
        let scales = [0.01f32, 0.02, 0.1].map(|scale| sketch.constant(tensor0(scale)));
        let zero_point = sketch.constant(tensor0(128u8));
        let operator = Requantize { axis: 3, alpha: 1.0, output: Some(QuantizedType::UINT8) };
        sketch.wire(PlainOperator(operator), &[sums, scales[0], scales[1], scales[2], zero_point])
    }

    #[test]
    fn products_of_integers() {
        use Expected::{Fused, Not};
        use Integers::*;
        let cases: [(&str, &[Integers], usize, Expected); 7] = [
            ("a softmax of floats", &[Halve, Softmax], DIM, Fused),
            ("a softmax of integers", &[Halve, QuantizedSoftmax(1.0 / 256.0)], DIM, Fused),
            ("quantised again", &[QuantizedSoftmax(1.0 / 256.0), Requantize(0.0039)], DIM, Fused),
            ("a mask behind", &[Add { first: false }, QuantizedSoftmax(1.0 / 256.0)], DIM, Fused),
            ("a mask before", &[Add { first: true }, Softmax], DIM, Fused),
            ("heads too large for exact sums", &[QuantizedSoftmax(1.0 / 256.0)], 300, Not("too large")),
            ("probabilities in small steps", &[QuantizedSoftmax(1.0 / 2048.0)], DIM, Not("too small steps")),
        ];
        for (what, integers, dim, expected) in cases {
            let mut sketch = Sketch::new();
            let [query, key, value] = [(); 3].map(|()| sketch.typed_input(u8::datum_type(), &[0, HEADS, 0, dim]));
            let key = sketch.wire(AxisOp::Move(3, 2), &[key]);
            let scores = wire_product(&mut sketch, query, key, [120, 130]);
            let probabilities = integers.iter().fold(scores, |x, integers| wire_integers(&mut sketch, x, *integers));
            let output = wire_product(&mut sketch, probabilities, value, [0, 125]);
            let output = sketch.dequantized(output, 0.01, 128);
            sketch.check(what, &[output], "attention", expected);
        }
    }
}
