//! What a chain of axis operations does as a whole.

use super::pattern::{producer, scaled};
use crate::ops::HeadLayout;
use tract_onnx::tract_hir::internal::*;

/// A part of an axis of the chain's start.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    axis: usize,
    index: usize,
    dim: TDim,
}

/// Which parts of the start's axes make up each axis, outermost part first.
#[derive(Debug, Clone)]
struct Axes(Vec<Vec<Part>>);

impl Axes {
    fn of(shape: &[TDim]) -> Axes {
        let axis = |(axis, dim): (usize, &TDim)| vec![Part { axis, index: 0, dim: dim.clone() }];
        Axes(shape.iter().enumerate().map(axis).collect())
    }

    fn apply(&mut self, operation: &AxisOp) -> Option<()> {
        match operation {
            AxisOp::Add(axis) => self.0.insert(*axis, vec![]),
            AxisOp::Rm(axis) => {
                let removed = self.0.remove(*axis);
                if removed.iter().any(|part| part.dim != 1.to_dim()) {
                    return None;
                }
            }
            AxisOp::Move(from, to) => {
                let axis = self.0.remove(*from);
                self.0.insert(*to, axis);
            }
            AxisOp::Reshape(at, from, to) => {
                let parts: Vec<Part> = self.0.drain(*at..at + from.len()).flatten().collect();
                let reshaped = regroup(parts, to)?;
                self.0.splice(*at..*at, reshaped);
            }
        }
        Some(())
    }

    /// `(axis, part)` of each axis that is made of exactly one part.
    fn single_parts(&self) -> Option<Vec<(usize, usize)>> {
        self.0.iter().map(|parts| if let [part] = &**parts { Some((part.axis, part.index)) } else { None }).collect()
    }
}

/// Groups parts into axes of the given sizes; a part that is a whole axis may be split.
fn regroup(parts: Vec<Part>, to: &[TDim]) -> Option<Vec<Vec<Part>>> {
    if let [whole] = &*parts
        && whole.index == 0
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
pub struct Heads {
    /// The operand.
    pub outlet: OutletId,
    /// How its heads lie.
    pub layout: HeadLayout,
    /// The scalar by which it is multiplied on the way.
    pub factor: f32,
}

/// Follows axis operations and scalings upwards from `[batch, heads, position, dim]`, or `[batch, heads, dim, position]` if
/// `transposed`, to the farthest tensor in which the heads lie in a known layout.
pub fn heads(model: &TypedModel, outlet: OutletId, transposed: bool) -> TractResult<Option<Heads>> {
    let mut found = None;
    let (mut current, mut factor) = (outlet, 1.0);
    let mut chain: Vec<&AxisOp> = Vec::new();
    loop {
        if let Some(layout) = layout(model, current, &chain, transposed)? {
            found = Some(Heads { outlet: current, layout, factor });
        }
        if let Some((operand, scalar)) = scaled(model, current) {
            factor *= scalar;
            current = operand;
        } else if let Some(operation) = producer(model, current).op_as::<AxisOp>() {
            chain.push(operation);
            current = producer(model, current).inputs[0];
        } else {
            return Ok(found);
        }
    }
}

fn layout(model: &TypedModel, start: OutletId, chain: &[&AxisOp], transposed: bool) -> TractResult<Option<HeadLayout>> {
    let shape = model.outlet_fact(start)?.shape.to_tvec();
    let mut axes = Axes::of(&shape);
    if chain.iter().rev().any(|operation| axes.apply(operation).is_none()) {
        return Ok(None);
    }
    let Some(mut parts) = axes.single_parts().filter(|parts| parts.len() == 4) else { return Ok(None) };
    if transposed {
        parts.swap(2, 3);
    }
    Ok(match (shape.len(), &*parts) {
        (3, [(0, 0), (2, 0), (1, 0), (2, 1)]) => Some(HeadLayout::Packed),
        (4, [(0, 0), (2, 0), (1, 0), (3, 0)]) => Some(HeadLayout::PositionMajor),
        (4, [(0, 0), (1, 0), (2, 0), (3, 0)]) => Some(HeadLayout::HeadMajor),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_axis_operations() {
        struct Case {
            what: &'static str,
            start: &'static [usize],
            chain: Vec<AxisOp>,
            transposed: bool,
            expected: Option<HeadLayout>,
        }
        let reshape = |at: usize, from: &[usize], to: &[usize]| {
            AxisOp::Reshape(at, from.iter().map(|d| d.to_dim()).collect(), to.iter().map(|d| d.to_dim()).collect())
        };
        let split = || reshape(2, &[8], &[4, 2]);
        let cases = [
            Case {
                what: "split and moved",
                start: &[3, 5, 8],
                chain: vec![split(), AxisOp::Move(1, 2)],
                transposed: false,
                expected: Some(HeadLayout::Packed),
            },
            Case {
                what: "the same for transposed keys, in one move",
                start: &[3, 5, 8],
                chain: vec![split(), AxisOp::Move(1, 3)],
                transposed: true,
                expected: Some(HeadLayout::Packed),
            },
            Case {
                what: "transposed keys through a folded batch",
                start: &[3, 5, 8],
                chain: vec![
                    split(),
                    AxisOp::Move(1, 2),
                    reshape(0, &[3, 4], &[12]),
                    AxisOp::Move(1, 2),
                    reshape(0, &[12], &[3, 4]),
                ],
                transposed: true,
                expected: Some(HeadLayout::Packed),
            },
            Case {
                what: "not moved at all",
                start: &[3, 4, 5, 2],
                chain: vec![],
                transposed: false,
                expected: Some(HeadLayout::HeadMajor),
            },
            Case {
                what: "moved",
                start: &[3, 5, 4, 2],
                chain: vec![AxisOp::Move(2, 1)],
                transposed: false,
                expected: Some(HeadLayout::PositionMajor),
            },
            Case { what: "keys not transposed", start: &[3, 4, 5, 2], chain: vec![], transposed: true, expected: None },
            Case {
                what: "heads split from the wrong axis",
                start: &[3, 8, 5],
                chain: vec![reshape(1, &[8], &[4, 2])],
                transposed: false,
                expected: None,
            },
        ];
        for case in cases {
            let mut model = TypedModel::default();
            let shape: TVec<usize> = case.start.into();
            let start = model.add_source("start", f32::fact(&*shape)).unwrap();
            let chain: Vec<&AxisOp> = case.chain.iter().rev().collect();
            assert_eq!(layout(&model, start, &chain, case.transposed).unwrap(), case.expected, "{}", case.what);
        }
    }
}
