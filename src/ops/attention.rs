//! `Attention`: `softmax(scale · Q·Kᵀ + mask) · V` for every sequence and head.
//! Vaswani et al., "Attention Is All You Need", section 3.2; ONNX `Attention` (23) without past, causality or softcap.
//!
//! Inputs, all f32: query, key, value, each in its [`HeadLayout`]; then, with `mask`, an additive mask that broadcasts to
//! `[batch, heads, queries, keys]`. Output: f32 in its own layout.

use super::{f32_slice, f32_tensor};
use crate::attention::{AttentionCall, AttentionShape, HeadStrides, MaskStrides};
use crate::kernels::attention::attention;
use tract_onnx::tract_hir::internal::*;

/// How the heads of an operand lie in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadLayout {
    /// `[batch, position, heads * dim]`
    Packed,
    /// `[batch, position, heads, dim]`
    PositionMajor,
    /// `[batch, heads, position, dim]`
    HeadMajor,
}

/// Sizes of an operand.
struct Operand<D> {
    batch: D,
    heads: D,
    positions: D,
    dim: D,
}

impl HeadLayout {
    fn rank(self) -> usize {
        if self == HeadLayout::Packed { 3 } else { 4 }
    }

    fn operand<D: DimLike>(self, shape: &[D], heads: usize) -> TractResult<Operand<D>> {
        ensure!(shape.len() == self.rank(), "Attention takes rank {}, not {shape:?}", self.rank());
        let [batch, second, third] = [shape[0].clone(), shape[1].clone(), shape[2].clone()];
        let (heads, positions, dim) = match self {
            HeadLayout::Packed => {
                let dim = third.clone() / heads;
                ensure!(dim.clone() * heads == third, "{third} columns cannot hold {heads} heads");
                (heads.into(), second, dim)
            }
            HeadLayout::PositionMajor => (third, second, shape[3].clone()),
            HeadLayout::HeadMajor => (second, third, shape[3].clone()),
        };
        Ok(Operand { batch, heads, positions, dim })
    }

    fn shape<D: DimLike>(self, operand: Operand<D>) -> TVec<D> {
        let Operand { batch, heads, positions, dim } = operand;
        match self {
            HeadLayout::Packed => tvec!(batch, positions, heads * dim),
            HeadLayout::PositionMajor => tvec!(batch, positions, heads, dim),
            HeadLayout::HeadMajor => tvec!(batch, heads, positions, dim),
        }
    }

    fn strides(self, operand: &Operand<usize>) -> HeadStrides {
        let Operand { heads, positions, dim, .. } = *operand;
        let (head, position) = match self {
            HeadLayout::Packed | HeadLayout::PositionMajor => (dim, heads * dim),
            HeadLayout::HeadMajor => (positions * dim, dim),
        };
        HeadStrides { batch: heads * positions * dim, head, position }
    }
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Layout of the query.
    pub query: HeadLayout,
    /// Layout of the key.
    pub key: HeadLayout,
    /// Layout of the value.
    pub value: HeadLayout,
    /// Layout of the output.
    pub output: HeadLayout,
    /// Whether a mask is the fourth input.
    pub mask: bool,
    /// What a query gets whose every key is masked with minus infinity: zeros if set, NaN if not.
    pub zero_when_all_masked: bool,
}

impl Eq for Attention {}

impl Attention {
    /// The geometry of a call on operands of these shapes, and the output's shape.
    ///
    /// # Errors
    /// When the shapes do not fit each other.
    pub fn call(&self, shapes: &[&[usize]]) -> TractResult<(AttentionCall, TVec<usize>)> {
        let query = self.query.operand(shapes[0], self.heads)?;
        let key = self.key.operand(shapes[1], self.kv_heads)?;
        let value = self.value.operand(shapes[2], self.kv_heads)?;
        let fits = query.batch == key.batch
            && key.batch == value.batch
            && (query.heads, key.heads, value.heads) == (self.heads, self.kv_heads, self.kv_heads)
            && query.dim == key.dim
            && key.positions == value.positions;
        ensure!(fits, "operands of Attention do not fit each other: {shapes:?}");
        let shape = AttentionShape {
            batch: query.batch,
            heads: self.heads,
            kv_heads: self.kv_heads,
            queries: query.positions,
            keys: key.positions,
            head_dim: query.dim,
            value_dim: value.dim,
        };
        let mask = self.mask.then(|| mask_strides(shapes[3], &shape)).transpose()?;
        let output = Operand { batch: query.batch, heads: self.heads, positions: query.positions, dim: value.dim };
        let call = AttentionCall {
            shape,
            scale: self.scale,
            query: self.query.strides(&query),
            key: self.key.strides(&key),
            value: self.value.strides(&value),
            output: self.output.strides(&output),
            mask,
            zero_when_all_masked: self.zero_when_all_masked,
        };
        Ok((call, self.output.shape(output)))
    }
}

fn mask_strides(mask: &[usize], shape: &AttentionShape) -> TractResult<MaskStrides> {
    let target = [shape.batch, shape.heads, shape.queries, shape.keys];
    ensure!(mask.len() <= 4, "the mask of Attention has rank 4 at most, not {mask:?}");
    let mut strides = [0; 4];
    let mut stride = 1;
    for (axis, dim) in mask.iter().enumerate().rev() {
        let axis = axis + 4 - mask.len();
        ensure!(*dim == 1 || *dim == target[axis], "a mask of {mask:?} does not broadcast to {target:?}");
        if *dim != 1 {
            strides[axis] = stride;
        }
        stride *= dim;
    }
    let [batch, head, query, key] = strides;
    Ok(MaskStrides { batch, head, query, key })
}

impl Op for Attention {
    fn name(&self) -> StaticName {
        "Attention".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let Attention { heads, kv_heads, scale, mask, .. } = self;
        Ok(vec![format!("{heads} heads, {kv_heads} kv heads, scale {scale}{}", if *mask { ", mask" } else { "" })])
    }

    op_as_typed_op!();
}

impl EvalOp for Attention {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shapes: TVec<&[usize]> = inputs.iter().map(|input| input.shape()).collect();
        let (call, shape) = self.call(&shapes)?;
        let [query, key, value] = [f32_slice(&inputs[0])?, f32_slice(&inputs[1])?, f32_slice(&inputs[2])?];
        let mask = self.mask.then(|| f32_slice(&inputs[3])).transpose()?;
        let output = f32_tensor(&shape, |out| {
            attention(&call, query, key, value, mask, out);
            Ok(())
        })?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for Attention {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs.len() == 3 + self.mask as usize, "Attention takes {} inputs", 3 + self.mask as usize);
        ensure!(inputs.iter().all(|input| input.datum_type == f32::datum_type()), "Attention takes float32");
        let query = self.query.operand(&inputs[0].shape.to_tvec(), self.heads)?;
        self.key.operand(&inputs[1].shape.to_tvec(), self.kv_heads)?;
        let value = self.value.operand(&inputs[2].shape.to_tvec(), self.kv_heads)?;
        let output =
            Operand { batch: query.batch, heads: self.heads.to_dim(), positions: query.positions, dim: value.dim };
        Ok(tvec!(f32::fact(self.output.shape(output))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, evaluate, tensor};
    use super::*;

    #[test]
    fn layouts_and_masks() {
        struct Case {
            what: &'static str,
            layout: HeadLayout,
            value: &'static [f32],
            mask: Option<(&'static [usize], &'static [f32])>,
            expected: Option<&'static [f32]>,
        }
        const INF: f32 = f32::INFINITY;
        // Two heads of one dimension, one query, two keys; equal scores, so that the answer is the mean of what is left.
        let cases = [
            Case {
                what: "packed, [key][head]",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: None,
                expected: Some(&[2., 20.]),
            },
            Case {
                what: "head major, [head][key]",
                layout: HeadLayout::HeadMajor,
                value: &[1., 10., 3., 30.],
                mask: None,
                expected: Some(&[5.5, 16.5]),
            },
            Case {
                what: "mask on the second key",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: Some((&[1, 1, 1, 2], &[0., -INF])),
                expected: Some(&[1., 10.]),
            },
            Case {
                what: "mask by head",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: Some((&[2, 1, 2], &[0., -INF, -INF, 0.])),
                expected: Some(&[1., 30.]),
            },
            Case {
                what: "all masked",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: Some((&[1, 2], &[-INF, -INF])),
                expected: Some(&[0., 0.]),
            },
            Case {
                what: "mask of a wrong shape",
                layout: HeadLayout::Packed,
                value: &[1., 10., 3., 30.],
                mask: Some((&[1, 3], &[0.; 3])),
                expected: None,
            },
        ];
        for case in cases {
            let operator = Attention {
                heads: 2,
                kv_heads: 2,
                scale: 1.0,
                query: case.layout,
                key: case.layout,
                value: case.layout,
                output: HeadLayout::Packed,
                mask: case.mask.is_some(),
                zero_when_all_masked: true,
            };
            let packed = case.layout == HeadLayout::Packed;
            let shape = |positions| if packed { vec![1, positions, 2] } else { vec![1, 2, positions, 1] };
            let mut inputs =
                vec![tensor(&shape(1), &[0., 0.]), tensor(&shape(2), &[1., 2., 3., 4.]), tensor(&shape(2), case.value)];
            inputs.extend(case.mask.map(|(shape, values)| tensor(shape, values)));
            match (evaluate(&operator, &inputs), case.expected) {
                (Ok(output), Some(expected)) => assert_close(case.what, &output, &[1, 1, 2], expected),
                (result, expected) => assert_eq!(result.is_ok(), expected.is_some(), "{}", case.what),
            }
        }
    }
}
