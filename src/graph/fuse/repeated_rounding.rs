//! Pairs of `QuantizeLinear` and `DequantizeLinear` that round once more what is rounded so already: quantisers put one behind
//! every operator, those that only move elements too. And pairs that stand twice behind one tensor.

use super::Match;
use super::pattern::producer;
use super::steps::Grid;
use crate::graph::fold::twin;
use crate::kernels::steps::Step;
use crate::ops::{DequantizeLinear, QuantizeLinear};
use tract_core::internal::*;
use tract_core::ops::array::{MultiBroadcastTo, Slice};

/// Looks for the end of a pair that changes nothing.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if !node.op_is::<QuantizeLinear>() && !node.op_is::<DequantizeLinear>() {
        return Ok(Match::None);
    }
    if let Some(patch) = twin(model, node)? {
        return Ok(Match::Found(Box::new(patch)));
    }
    let Some(grid) = Grid::of_dequantize(model, node) else { return Ok(Match::None) };
    let quantize = producer(model, node.inputs[0]);
    if Grid::of_quantize(model, quantize) != Some(grid) {
        return Ok(Match::None);
    }
    let (rounded, output) = (quantize.inputs[0], OutletId::new(node.id, 0));
    let before = Grid::of_dequantize(model, producer(model, unmoved(model, rounded)));
    let both_outputs = model.outputs.contains(&rounded) && model.outputs.contains(&output);
    if before != Some(grid) || both_outputs || !is_kept(&grid) {
        return Ok(Match::None);
    }
    let mut patch = TypedModelPatch::default();
    let rounded = patch.tap_model(model, rounded)?;
    patch.shunt_outside(model, output, rounded)?;
    Ok(Match::Found(Box::new(patch)))
}

/// The tensor above operators that move, repeat or leave out elements.
fn unmoved(model: &TypedModel, mut outlet: OutletId) -> OutletId {
    loop {
        let node = producer(model, outlet);
        if !node.op_is::<AxisOp>() && !node.op_is::<MultiBroadcastTo>() && !node.op_is::<Slice>() {
            return outlet;
        }
        outlet = node.inputs[0];
    }
}

/// Whether every integer comes out of a pair as it went in, which a scale near the bounds of f32 may prevent.
fn is_kept(grid: &Grid) -> bool {
    let integers: Vec<f32> = (grid.integers.lowest()..=grid.integers.highest()).map(|integer| integer as f32).collect();
    let mut rounded = integers.clone();
    grid.dequantize().into_iter().chain(grid.quantize()).for_each(|step: Step| step.apply(&mut rounded));
    rounded == integers
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use tract_core::ops::math::{add, neg};

    #[test]
    fn pairs() {
        use Expected::{Fused, Not};
        type Build = fn(&mut Sketch, OutletId) -> OutletId;
        let cases: [(&str, Build, Expected); 7] = [
            ("the same twice", |sketch, x| sketch.rounded(x, 0.01, 128), Fused),
            (
                "the same behind a transposition",
                |sketch, x| {
                    let moved = sketch.wire(AxisOp::Move(1, 2), &[x]);
                    sketch.rounded(moved, 0.01, 128)
                },
                Fused,
            ),
            (
                "two pairs with the same constants behind one tensor",
                |sketch, x| {
                    let x = sketch.wire(neg(), &[x]);
                    let parameters = [sketch.constant(tensor0(0.02f32)), sketch.constant(tensor0(9u8))];
                    let quantize = QuantizeLinear { axis: 0, block_size: 0, output: crate::ops::QuantizedType::UINT8 };
                    let dequantize = DequantizeLinear { axis: 0, block_size: 0, packed: None };
                    let pairs = [(); 2].map(|()| {
                        let integers = sketch.wire(quantize.clone(), &[x, parameters[0], parameters[1]]);
                        sketch.wire(dequantize.clone(), &[integers, parameters[0], parameters[1]])
                    });
                    sketch.wire(add(), &pairs)
                },
                Fused,
            ),
            ("another scale", |sketch, x| sketch.rounded(x, 0.02, 128), Not("")),
            ("another zero point", |sketch, x| sketch.rounded(x, 0.01, 100), Not("")),
            (
                "a negation between",
                |sketch, x| {
                    let negated = sketch.wire(neg(), &[x]);
                    sketch.rounded(negated, 0.01, 128)
                },
                Not(""),
            ),
            (
                "integers that overflow",
                |sketch, x| {
                    let x = sketch.rounded(x, 3e38, 128);
                    sketch.rounded(x, 3e38, 128)
                },
                Not(""),
            ),
        ];
        for (what, build, expected) in cases {
            let mut sketch = Sketch::new();
            let x = sketch.input(&[0, 0, 4]);
            let x = sketch.rounded(x, 0.01, 128);
            let output = build(&mut sketch, x);
            sketch.check(what, &[output], "repeated rounding", expected);
        }
    }
}
