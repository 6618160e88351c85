//! Rotary position embedding written out: `x * cos + Concat(-x₂, x₁) * sin`, where `x₁` and `x₂` are the halves of the last axis of
//! x, and each row of `cos` and of `sin` is a half that stands there twice; and the axis operations around a rotation.

use super::Match;
use super::axes::heads;
use super::pattern::{binary, producer, same_value, shared, unary, with_scalar};
use crate::ops::{HeadLayout, Positions, RotaryEmbedding};
use tract_core::internal::*;
use tract_core::ops::array::{Gather, MultiBroadcastTo, Slice, TypedConcat};
use tract_core::ops::element_wise::ElementWiseOp;

/// Nodes between a table and what its rows are made of.
const REACH: usize = 16;

/// Looks for the sum.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some([x, cos, sin]) = written_out(model, node) else { return Ok(Match::None) };
    let shape = &model.outlet_fact(x)?.shape;
    let (Some((cos, layout)), Some((sin, layout_of_sin))) = (table(model, cos, shape)?, table(model, sin, shape)?)
    else {
        return Ok(Match::None);
    };
    let dim = shape[3].to_usize();
    let Some(pairs) = dim.ok().filter(|dim| dim.is_multiple_of(2) && layout == layout_of_sin).map(|dim| dim / 2) else {
        return Ok(Match::None);
    };
    let wanted = [&shape[0], &shape[layout.position_axis()], &pairs.to_dim()].map(TDim::clone);
    let mut patch = TypedModelPatch::default();
    let mut taps = tvec!(patch.tap_model(model, x)?);
    for table in [cos, sin] {
        taps.push(half(model, &mut patch, table, &wanted)?);
    }
    let positions = Positions::InOrder;
    let operator = RotaryEmbedding { heads: None, layout, columns: None, interleaved: false, positions };
    let rotated = patch.wire_node(&*node.name, operator, &taps)?[0];
    patch.shunt_outside(model, OutletId::new(node.id, 0), rotated)?;
    Ok(Match::Found(Box::new(patch)))
}

/// `x`, `cos` and `sin` of a sum.
fn written_out(model: &TypedModel, node: &TypedNode) -> Option<[OutletId; 3]> {
    let orders = |[left, right]: [OutletId; 2]| [[left, right], [right, left]];
    let product = |outlet: OutletId| binary(producer(model, outlet), "Mul");
    let products = |[plain, turned]: [OutletId; 2]| Some((product(plain)?, product(turned)?));
    orders(binary(node, "Add")?).into_iter().filter_map(products).find_map(|(plain, turned)| {
        let find_sin = |[turned, sin]: [OutletId; 2]| Some((turned_from(model, turned)?, sin));
        let (x, sin) = orders(turned).into_iter().find_map(find_sin)?;
        let [_, cos] = orders(plain).into_iter().find(|[operand, _]| *operand == x)?;
        Some([x, cos, sin])
    })
}

/// The `x` of `Concat(-x₂, x₁)`, which has four axes.
fn turned_from(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let node = producer(model, outlet);
    let (concat, &[negative, first]) = (node.op_as::<TypedConcat>()?, &node.inputs[..]) else { return None };
    let [first, second] = [first, unary(producer(model, negative), "Neg")?].map(|half| producer(model, half));
    let (lower, upper) = (first.op_as::<Slice>()?, second.op_as::<Slice>()?);
    let shape = &model.outlet_fact(first.inputs[0]).ok()?.shape;
    let of_last_axis = shape.len() == 4 && [concat.axis, lower.axis, upper.axis] == [3; 3];
    let halves = lower.start == 0.to_dim()
        && lower.end == upper.start
        && upper.end == shape[3]
        && lower.end.clone() * 2 == shape[3];
    (first.inputs == second.inputs && of_last_axis && halves).then_some(first.inputs[0])
}

/// The table, `[batch, positions, dim]` or `[1, positions, dim]`, that an operand is with an axis for the heads, and the layout of
/// vectors of that shape which it fits.
fn table(model: &TypedModel, operand: OutletId, shape: &[TDim]) -> TractResult<Option<(OutletId, HeadLayout)>> {
    let node = producer(model, operand);
    let layout = match node.op_as::<AxisOp>() {
        Some(AxisOp::Add(1)) => HeadLayout::HeadMajor,
        Some(AxisOp::Add(2)) => HeadLayout::PositionMajor,
        _ => return Ok(None),
    };
    let fact = model.outlet_fact(node.inputs[0])?;
    let [batch, positions, dim] = &*fact.shape else { return Ok(None) };
    let fits = fact.datum_type == f32::datum_type()
        && (*batch == shape[0] || *batch == 1.to_dim())
        && [positions, dim] == [&shape[layout.position_axis()], &shape[3]];
    Ok((fits && repeats_half(model, node.inputs[0])?).then_some((node.inputs[0], layout)))
}

/// Whether the second half of the last axis is known to repeat the first one.
fn repeats_half(model: &TypedModel, mut outlet: OutletId) -> TractResult<bool> {
    for _ in 0..REACH {
        let (node, fact) = (producer(model, outlet), model.outlet_fact(outlet)?);
        if let Some(constant) = fact.konst.as_ref().filter(|constant| constant.datum_type() == f32::datum_type()) {
            let dim = constant.shape().last().copied().unwrap_or(0);
            let mut rows = crate::ops::f32_slice(constant)?.chunks_exact(dim.max(1));
            return Ok(rows.all(|row| row[..dim / 2] == row[dim / 2..]));
        }
        if let (Some(concat), &[first, second]) = (node.op_as::<TypedConcat>(), &node.inputs[..]) {
            return Ok(concat.axis + 1 == fact.rank() && same_value(model, first, second));
        }
        match same_rows(model, node, fact)? {
            Some(operand) => outlet = operand,
            None => return Ok(false),
        }
    }
    Ok(false)
}

/// The operand whose rows along the last axis a node's result has too, each element perhaps changed in the same way.
fn same_rows(model: &TypedModel, node: &TypedNode, fact: &TypedFact) -> TractResult<Option<OutletId>> {
    if let Some((operand, _)) = with_scalar(model, node, "Mul") {
        return Ok(Some(operand));
    }
    let Some(first) = node.inputs.first() else { return Ok(None) };
    let before = model.outlet_fact(*first)?;
    let kept = if let Some(operator) = node.op_as::<AxisOp>() {
        match operator {
            AxisOp::Add(axis) => *axis < before.rank(),
            AxisOp::Rm(axis) => *axis + 1 < before.rank(),
            _ => false,
        }
    } else if let Some(gather) = node.op_as::<Gather>() {
        gather.axis + 1 < before.rank()
    } else if let Some(slice) = node.op_as::<Slice>() {
        slice.axis + 1 < before.rank()
    } else if node.op_is::<MultiBroadcastTo>() {
        before.shape.last() == fact.shape.last()
    } else {
        node.op_is::<ElementWiseOp>()
    };
    Ok(kept.then_some(*first))
}

/// The first half of each row of a table, for all of a batch; what others have made of it is used.
fn half(model: &TypedModel, patch: &mut TypedModelPatch, table: OutletId, wanted: &[TDim; 3]) -> TractResult<OutletId> {
    let mut steps: Vec<Box<dyn TypedOp>> = vec![Box::new(Slice::new(2, 0, wanted[2].clone()))];
    if model.outlet_fact(table)?.shape[0] != wanted[0] {
        steps.push(Box::new(MultiBroadcastTo { shape: wanted.iter().cloned().collect() }));
    }
    let (mut known, mut outlet) = (Some(table), patch.tap_model(model, table)?);
    for step in steps {
        known = known.and_then(|known| shared(model, &*step, &[known]));
        outlet = match known {
            Some(known) => patch.tap_model(model, known)?,
            None => patch.wire_node(format!("{}.half", producer(model, table).name), step, &[outlet])?[0],
        };
    }
    Ok(outlet)
}

/// Looks for a rotation of vectors whose heads were moved before their positions: they are moved afterwards instead, where the
/// readers may take them from where they were.
pub fn look_for_layout(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    let Some(rotary) = node.op_as::<RotaryEmbedding>().filter(|rotary| rotary.layout == HeadLayout::HeadMajor) else {
        return Ok(Match::None);
    };
    let unchanged = heads(model, node.inputs[0])?.into_iter().rfind(|heads| heads.repeats == 1 && heads.factor == 1.0);
    let Some(source) = unchanged.filter(|source| source.layout != HeadLayout::HeadMajor) else {
        return Ok(Match::None);
    };
    let shape = &model.outlet_fact(node.inputs[0])?.shape;
    let Ok(count) = shape[1].to_usize() else { return Ok(Match::None) };
    let mut patch = TypedModelPatch::default();
    let mut taps = patch.taps(model, &node.inputs)?;
    taps[0] = patch.tap_model(model, source.outlet)?;
    let operator = RotaryEmbedding { heads: Some(count), layout: source.layout, ..rotary.clone() };
    let mut outlet = patch.wire_node(&*node.name, operator, &taps)?[0];
    if source.layout == HeadLayout::Packed {
        let (packed, apart) = (tvec!(shape[1].clone() * &shape[3]), tvec!(shape[1].clone(), shape[3].clone()));
        outlet = patch.wire_node(format!("{}.apart", node.name), AxisOp::Reshape(2, packed, apart), &[outlet])?[0];
    }
    outlet = patch.wire_node(format!("{}.moved", node.name), AxisOp::Move(1, 2), &[outlet])?[0];
    patch.shunt_outside(model, OutletId::new(node.id, 0), outlet)?;
    Ok(Match::Found(Box::new(patch)))
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use tract_core::ops::math::{add, cos, mul, neg, sin, sub};

    /// A sum that each case differs from in something.
    #[derive(Clone, Copy)]
    struct Written {
        what: &'static str,
        /// Shape of the angles.
        angles: [usize; 3],
        /// The axis of heads in cosines and sines.
        heads_axis: usize,
        /// Where x is cut.
        cut: usize,
        /// Sum, and difference.
        sum: fn() -> tract_core::ops::binary::TypedBinOp,
        /// What the halves of a row are made of the angles.
        row: fn(&mut Sketch, OutletId) -> [OutletId; 2],
        /// Which half comes first, and which is negative.
        turned: fn(&mut Sketch, [OutletId; 2]) -> [OutletId; 2],
        /// Whether operands come the other way round.
        swapped: bool,
        /// What is done to cosines and sines.
        then: fn(&mut Sketch, OutletId) -> OutletId,
    }

    impl Written {
        fn of(what: &'static str) -> Written {
            Written {
                what,
                angles: [0, 3, 2],
                heads_axis: 1,
                cut: 2,
                sum: add,
                row: |_, angles| [angles; 2],
                turned: |sketch, [first, second]| [sketch.wire(neg(), &[second]), first],
                swapped: false,
                then: |_, table| table,
            }
        }

        fn check(&self, expected: Expected) {
            let mut sketch = Sketch::new();
            let x = sketch.input(&[0, 3, 3, 4]);
            let angles = sketch.input(&self.angles);
            let halves = (self.row)(&mut sketch, angles);
            let row = sketch.wire(TypedConcat { axis: 2 }, &halves);
            let [cos, sin] = [cos(), sin()].map(|operator| {
                let table = sketch.wire(operator, &[row]);
                let table = (self.then)(&mut sketch, table);
                sketch.wire(AxisOp::Add(self.heads_axis), &[table])
            });
            let cut = [(0, self.cut), (self.cut, 4)].map(|(start, end)| sketch.wire(Slice::new(3, start, end), &[x]));
            let turned = (self.turned)(&mut sketch, cut);
            let turned = sketch.wire(TypedConcat { axis: 3 }, &turned);
            let mut order = |operator: tract_core::ops::binary::TypedBinOp, operands: [OutletId; 2]| {
                let [left, right] = operands;
                sketch.wire(operator, &if self.swapped { [right, left] } else { [left, right] })
            };
            let (plain, turned) = (order(mul(), [x, cos]), order(mul(), [turned, sin]));
            let rotated = order((self.sum)(), [plain, turned]);
            sketch.check(self.what, &[rotated], "rotary embedding", expected);
        }
    }

    #[test]
    fn sums() {
        use Expected::{Fused, Not};
        let of = Written::of;
        let halved = |sketch: &mut Sketch, table: OutletId| {
            let factor = sketch.number(3, 0.5);
            sketch.wire(mul(), &[table, factor])
        };
        of("as it is").check(Fused);
        Written { swapped: true, ..of("operands the other way round") }.check(Fused);
        Written { angles: [1, 3, 2], ..of("the same for each sequence") }.check(Fused);
        Written { heads_axis: 2, ..of("heads behind positions") }.check(Fused);
        Written { then: halved, ..of("scaled") }.check(Fused);
        Written {
            row: |sketch, angles| [angles, sketch.wire(neg(), &[angles])],
            ..of("other angles in the second half")
        }
        .check(Not(""));
        Written { sum: sub, ..of("turned the other way") }.check(Not(""));
        Written { turned: |sketch, [first, second]| [second, sketch.wire(neg(), &[first])], ..of("another half") }
            .check(Not(""));
        Written { cut: 1, ..of("cut before the middle") }.check(Not(""));
        Written { angles: [3, 3, 2], heads_axis: 0, ..of("another axis") }.check(Not(""));
    }

    #[test]
    fn tables() {
        let repeated: Vec<f32> = (0..32).map(|at| (at / 4 * 2 + at % 2) as f32).collect();
        let all_different: Vec<f32> = (0..32).map(|at| at as f32).collect();
        for (what, elements, expected) in [("halves", repeated, true), ("no halves", all_different, false)] {
            let mut sketch = Sketch::new();
            let table = sketch.constant(Tensor::from_shape(&[8, 4], &elements).unwrap());
            let ids = sketch.typed_input(i64::datum_type(), &[0, 3]);
            let rows = sketch.wire(Gather::new(0), &[table, ids]);
            let wide = sketch.wire(AxisOp::Add(1), &[rows]);
            let narrow = sketch.wire(AxisOp::Rm(1), &[wide]);
            let some = sketch.wire(Slice::new(1, 0, 2), &[narrow]);
            assert_eq!(repeats_half(&sketch.model, some).unwrap(), expected, "{what}");
            for (what, axis, expected) in [("its last axis at the end", 1, expected), ("another one", 3, false)] {
                let moved = sketch.wire(AxisOp::Add(axis), &[rows]);
                assert_eq!(repeats_half(&sketch.model, moved).unwrap(), expected, "{what}");
            }
        }
    }

    #[test]
    fn layouts() {
        use Expected::{Fused, Not};
        for (what, packed, moved, expected) in
            [("packed", true, true, Fused), ("moved", false, true, Fused), ("as they are", false, false, Not(""))]
        {
            let mut sketch = Sketch::new();
            let x = match (packed, moved) {
                (true, _) => {
                    let x = sketch.input(&[0, 3, 8]);
                    sketch.split_heads(x, 2, 4)
                }
                (false, true) => {
                    let x = sketch.input(&[0, 3, 2, 4]);
                    sketch.wire(AxisOp::Move(1, 2), &[x])
                }
                (false, false) => sketch.input(&[0, 2, 3, 4]),
            };
            let tables = [(); 2].map(|()| sketch.input(&[0, 3, 2]));
            let (layout, positions) = (HeadLayout::HeadMajor, Positions::InOrder);
            let rotary = RotaryEmbedding { heads: None, layout, columns: None, interleaved: false, positions };
            let rotated = sketch.wire(rotary, &[x, tables[0], tables[1]]);
            sketch.check(what, &[rotated], "rotary layout", expected);
        }
    }
}
