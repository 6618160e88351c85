//! What a chain of axis operations and repetitions does to the heads of attention as a whole.

use super::pattern::{producer, scaled};
use crate::ops::HeadLayout;
use tract_core::internal::*;
use tract_core::ops::array::MultiBroadcastTo;

/// A part of an axis of the chain's start, or, without `axis`, repetitions that a broadcast makes.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    axis: Option<usize>,
    index: usize,
    dim: TDim,
}

/// An operator that moves or repeats elements and changes none.
#[derive(Debug, Clone)]
enum Step {
    Axis(AxisOp),
    Broadcast(ShapeFact),
}

impl Step {
    fn of(node: &TypedNode) -> Option<Step> {
        let broadcast = node.op_as::<MultiBroadcastTo>().map(|broadcast| Step::Broadcast(broadcast.shape.clone()));
        broadcast.or_else(|| node.op_as::<AxisOp>().cloned().map(Step::Axis))
    }
}

/// Which parts of the start's axes make up each axis, outermost part first.
#[derive(Debug, Clone)]
struct Axes(Vec<Vec<Part>>);

impl Axes {
    fn of(shape: &[TDim]) -> Axes {
        let axis = |(axis, dim): (usize, &TDim)| vec![Part { axis: Some(axis), index: 0, dim: dim.clone() }];
        Axes(shape.iter().enumerate().map(axis).collect())
    }

    fn apply(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::Axis(AxisOp::Add(axis)) => self.0.insert(*axis, vec![]),
            Step::Axis(AxisOp::Rm(axis)) => {
                let removed = self.0.remove(*axis);
                if removed.iter().any(|part| part.dim != 1.to_dim()) {
                    return None;
                }
            }
            Step::Axis(AxisOp::Move(from, to)) => {
                let axis = self.0.remove(*from);
                self.0.insert(*to, axis);
            }
            Step::Axis(AxisOp::Reshape(at, from, to)) => {
                let parts: Vec<Part> = self.0.drain(*at..at + from.len()).flatten().collect();
                let reshaped = regroup(parts, to)?;
                self.0.splice(*at..*at, reshaped);
            }
            Step::Broadcast(shape) => self.broadcast(shape)?,
        }
        Some(())
    }

    fn broadcast(&mut self, shape: &[TDim]) -> Option<()> {
        if shape.len() != self.0.len() {
            return None;
        }
        for (parts, dim) in self.0.iter_mut().zip(shape) {
            if parts.is_empty() && *dim != 1.to_dim() {
                parts.push(Part { axis: None, index: 0, dim: dim.clone() });
            } else if parts.iter().map(|part| &part.dim).product::<TDim>() != *dim {
                return None;
            }
        }
        Some(())
    }

    /// How often each head is repeated; the repetitions are taken out of the axis of the heads.
    fn take_repeats(&mut self) -> Option<usize> {
        let heads = self.0.get_mut(1)?;
        if heads.len() == 2 && heads[1].axis.is_none() {
            return heads.pop()?.dim.to_usize().ok().filter(|repeats| *repeats > 0);
        }
        Some(1)
    }

    /// `(axis, part)` of each axis that is made of exactly one part of the start.
    fn single_parts(&self) -> Option<Vec<(usize, usize)>> {
        self.0.iter().map(|parts| if let [part] = &**parts { Some((part.axis?, part.index)) } else { None }).collect()
    }
}

/// Groups parts into axes of the given sizes; a part that is a whole axis may be split.
fn regroup(parts: Vec<Part>, to: &[TDim]) -> Option<Vec<Vec<Part>>> {
    if let [whole] = &*parts
        && whole.index == 0
        && whole.axis.is_some()
        && to.len() > 1
        && to.iter().cloned().product::<TDim>() == whole.dim
    {
        let split = |(index, dim): (usize, &TDim)| vec![Part { axis: whole.axis, index, dim: dim.clone() }];
        return Some(to.iter().enumerate().map(split).collect());
    }
    let mut parts = parts.into_iter().peekable();
    let mut groups = Vec::new();
    for dim in to {
        let (mut group, mut size) = (Vec::new(), 1.to_dim());
        while size != *dim {
            let part = parts.next()?;
            size *= &part.dim;
            group.push(part);
        }
        groups.push(group);
    }
    parts.next().is_none().then_some(groups)
}

/// An operand of attention as it lies in memory before axes were moved.
#[derive(Debug, Clone)]
pub struct Heads {
    /// The operand.
    pub outlet: OutletId,
    /// How its heads lie.
    pub layout: HeadLayout,
    /// How often each of its heads is repeated on the way.
    pub repeats: usize,
    /// The scalar by which it is multiplied on the way.
    pub factor: f32,
}

/// Follows axis operations, repetitions and scalings upwards from `[batch, heads, position, dim]`, to the tensors in which the
/// heads lie in a known layout; the farthest comes last.
pub fn heads(model: &TypedModel, outlet: OutletId) -> TractResult<Vec<Heads>> {
    let mut found = Vec::new();
    let (mut current, mut factor) = (outlet, 1.0);
    let mut chain: Vec<Step> = Vec::new();
    loop {
        if let Some((layout, repeats)) = layout(model, current, &chain)? {
            found.push(Heads { outlet: current, layout, repeats, factor });
        }
        let node = producer(model, current);
        if let Some((operand, scalar)) = scaled(model, current) {
            factor *= scalar;
            current = operand;
        } else if let Some(step) = Step::of(node) {
            chain.push(step);
            current = node.inputs[0];
        } else {
            return Ok(found);
        }
    }
}

/// The layout of `start` and the repetitions, when the chain, of which the last step comes first, leads to
/// `[batch, heads, position, dim]`.
fn layout(model: &TypedModel, start: OutletId, chain: &[Step]) -> TractResult<Option<(HeadLayout, usize)>> {
    let shape = model.outlet_fact(start)?.shape.to_tvec();
    let mut axes = Axes::of(&shape);
    if chain.iter().rev().any(|step| axes.apply(step).is_none()) {
        return Ok(None);
    }
    let Some(repeats) = axes.take_repeats() else { return Ok(None) };
    let Some(parts) = axes.single_parts() else { return Ok(None) };
    let layout = match (shape.len(), &*parts) {
        (3, [(0, 0), (2, 0), (1, 0), (2, 1)]) => HeadLayout::Packed,
        (4, [(0, 0), (2, 0), (1, 0), (3, 0)]) => HeadLayout::PositionMajor,
        (4, [(0, 0), (1, 0), (2, 0), (3, 0)]) => HeadLayout::HeadMajor,
        _ => return Ok(None),
    };
    Ok(Some((layout, repeats)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_axis_operations() {
        struct Case {
            what: &'static str,
            start: &'static [usize],
            chain: Vec<Step>,
            expected: Option<(HeadLayout, usize)>,
        }
        let dims = |dims: &[usize]| dims.iter().map(|dim| dim.to_dim()).collect::<TVec<_>>();
        let reshape = |at: usize, from: &[usize], to: &[usize]| Step::Axis(AxisOp::Reshape(at, dims(from), dims(to)));
        let moved = |from: usize, to: usize| Step::Axis(AxisOp::Move(from, to));
        let added = |axis: usize| Step::Axis(AxisOp::Add(axis));
        let broadcast = |shape: &[usize]| Step::Broadcast(dims(shape).into());
        let split = || reshape(2, &[8], &[4, 2]);
        let cases = [
            Case {
                what: "split and moved",
                start: &[3, 5, 8],
                chain: vec![split(), moved(1, 2)],
                expected: Some((HeadLayout::Packed, 1)),
            },
            Case {
                what: "keys transposed and back, in other moves",
                start: &[3, 5, 8],
                chain: vec![split(), moved(1, 3), moved(2, 3)],
                expected: Some((HeadLayout::Packed, 1)),
            },
            Case {
                what: "through a folded batch",
                start: &[3, 5, 8],
                chain: vec![split(), moved(1, 2), reshape(0, &[3, 4], &[12]), reshape(0, &[12], &[3, 4])],
                expected: Some((HeadLayout::Packed, 1)),
            },
            Case {
                what: "not moved at all",
                start: &[3, 4, 5, 2],
                chain: vec![],
                expected: Some((HeadLayout::HeadMajor, 1)),
            },
            Case {
                what: "moved",
                start: &[3, 5, 4, 2],
                chain: vec![moved(2, 1)],
                expected: Some((HeadLayout::PositionMajor, 1)),
            },
            Case {
                what: "each head repeated three times",
                start: &[3, 4, 5, 2],
                chain: vec![added(2), broadcast(&[3, 4, 3, 5, 2]), reshape(1, &[4, 3], &[12])],
                expected: Some((HeadLayout::HeadMajor, 3)),
            },
            Case {
                what: "the heads repeated as a whole, in another order",
                start: &[3, 4, 5, 2],
                chain: vec![added(1), broadcast(&[3, 3, 4, 5, 2]), reshape(1, &[3, 4], &[12])],
                expected: None,
            },
            Case {
                what: "no repetition at all",
                start: &[3, 4, 5, 2],
                chain: vec![added(2), broadcast(&[3, 4, 0, 5, 2]), reshape(1, &[4, 0], &[0])],
                expected: None,
            },
            Case {
                what: "positions repeated",
                start: &[3, 4, 5, 2],
                chain: vec![added(3), broadcast(&[3, 4, 5, 3, 2]), reshape(2, &[5, 3], &[15])],
                expected: None,
            },
            Case { what: "transposed", start: &[3, 4, 2, 5], chain: vec![moved(2, 3)], expected: None },
            Case {
                what: "heads split from the wrong axis",
                start: &[3, 8, 5],
                chain: vec![reshape(1, &[8], &[4, 2])],
                expected: None,
            },
        ];
        for case in cases {
            let mut model = TypedModel::default();
            let shape: TVec<usize> = case.start.into();
            let start = model.add_source("start", f32::fact(&*shape)).unwrap();
            let chain: Vec<Step> = case.chain.into_iter().rev().collect();
            assert_eq!(layout(&model, start, &chain).unwrap(), case.expected, "{}", case.what);
        }
    }
}
