//! ONNX's reductions (1 to 28): `ReduceL1`, `ReduceL2`, `ReduceLogSum`, `ReduceLogSumExp`, `ReduceMax`, `ReduceMean`, `ReduceMin`,
//! `ReduceProd`, `ReduceSum`, `ReduceSumSquare`, of floats and of integers up to int64 and uint32; `ReduceMax` and `ReduceMin` of bool.
//!
//! Inputs: `data`; `axes` constant (an attribute below opset 18, for `ReduceSum` below 13). Attributes: `keepdims`,
//! `noop_with_empty_axes`.

use super::{Composer, Wiring, arguments, input, int, only_attributes, unsupported};
use crate::onnx::pb::NodeProto;
use crate::ops::Reducer;
use tract_core::internal::*;
use tract_core::ops::cast::cast;
use tract_core::ops::math::{abs, div, ln, sqrt, square};
use tract_core::ops::nn;

/// What all reductions have in common.
#[derive(Debug, Clone)]
struct Reduction {
    axes: Vec<i64>,
    axes_input: Option<usize>,
    keep: bool,
    none_means_none: bool,
}

impl Reduction {
    fn parse(node: &NodeProto, axes_are_input: bool) -> TractResult<Reduction> {
        let attributes = if axes_are_input { "noop_with_empty_axes" } else { "axes" };
        only_attributes(node, &["keepdims", attributes])?;
        Ok(Reduction {
            axes: arguments::ints(node, "axes").unwrap_or_default(),
            axes_input: input(node, 1).filter(|_| axes_are_input),
            keep: int(node, "keepdims", 1) != 0,
            none_means_none: int(node, "noop_with_empty_axes", 0) != 0,
        })
    }

    fn wire(
        &self,
        reducer: Reducer,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let mut x = inputs[0];
        if model.outlet_fact(x)?.datum_type.is_tdim() {
            x = model.wire_node(format!("{prefix}.sizes"), cast(i64::datum_type()), &[x])?[0];
        }
        let fact = model.outlet_fact(x)?;
        let (rank, datum_type) = (fact.rank(), fact.datum_type);
        if datum_type == DatumType::U64 {
            return Err(unsupported("a reduction of uint64 is not supported"));
        }
        let given = match self.axes_input {
            Some(axes) => arguments::constant_ints(model, inputs[axes], "axes")?,
            None => self.axes.clone(),
        };
        let mut axes = given.iter().map(|axis| arguments::axis(*axis, rank)).collect::<TractResult<Vec<_>>>()?;
        if axes.is_empty() && !self.none_means_none {
            axes = (0..rank).collect();
        }
        axes.sort_unstable();
        axes.dedup();
        let is_mean = datum_type.is_float() && reducer == Reducer::Mean;
        if is_mean && axes.iter().any(|axis| fact.shape[*axis] == 0.to_dim()) {
            return Err(unsupported("the mean of an empty set is not supported"));
        }
        let composer = &mut Composer::new(prefix, model);
        let mut outlet = match datum_type.is_float() {
            true => of_floats(composer, reducer, x, &axes)?,
            false => composer.wire(crate::ops::Reduce { reducer, axes: axes.clone() }, &[x])?,
        };
        if !self.keep {
            for axis in axes.iter().rev() {
                outlet = composer.wire(AxisOp::Rm(*axis), &[outlet])?;
            }
        }
        Ok(tvec!(outlet))
    }
}

/// Wires a reduction of floats over these axes, which stay with size 1.
pub fn of_floats(composer: &mut Composer, reducer: Reducer, x: OutletId, axes: &[usize]) -> TractResult<OutletId> {
    let by = |reducer| nn::Reduce::new(axes.into(), reducer);
    let sum = |composer: &mut Composer, x| composer.wire(by(nn::Reducer::Sum), &[x]);
    match reducer {
        Reducer::L1 => {
            let sizes = composer.wire(abs(), &[x])?;
            sum(composer, sizes)
        }
        Reducer::L2 => {
            let sum = of_floats(composer, Reducer::SumSquare, x, axes)?;
            composer.wire(sqrt(), &[sum])
        }
        Reducer::LogSum => {
            let sum = sum(composer, x)?;
            composer.wire(ln(), &[sum])
        }
        Reducer::Mean => {
            let TypedFact { datum_type, shape, .. } = composer.fact(x)?.clone();
            let sum = sum(composer, x)?;
            let count: TDim = axes.iter().map(|axis| &shape[*axis]).product();
            let count = composer.constant(tensor0(count).broadcast_into_rank(shape.rank())?)?;
            let count = composer.wire(cast(datum_type), &[count])?;
            composer.wire(div(), &[sum, count])
        }
        Reducer::Prod => composer.wire(by(nn::Reducer::Prod), &[x]),
        Reducer::Sum => sum(composer, x),
        Reducer::SumSquare => {
            let squares = composer.wire(square(), &[x])?;
            sum(composer, squares)
        }
        Reducer::LogSumExp | Reducer::Max | Reducer::Min => {
            composer.wire(crate::ops::Reduce { reducer, axes: axes.to_vec() }, &[x])
        }
    }
}

macro_rules! reductions {
    ($($type:ident, $operator:literal, $axes_are_input_from:literal;)*) => {$(
        #[doc = concat!("`", $operator, "`.")]
        #[derive(Debug, Clone)]
        pub struct $type(Reduction);

        impl Wiring for $type {
            const OPERATOR: &'static str = $operator;

            fn parse(node: &NodeProto, opset: i64) -> TractResult<Self> {
                Reduction::parse(node, opset >= $axes_are_input_from).map($type)
            }

            fn wire(
                &self,
                prefix: &str,
                model: &mut TypedModel,
                inputs: &[OutletId],
            ) -> TractResult<TVec<OutletId>> {
                self.0.wire(Reducer::$type, prefix, model, inputs)
            }
        }
    )*};
}

reductions! {
    L1, "ReduceL1", 18;
    L2, "ReduceL2", 18;
    LogSum, "ReduceLogSum", 18;
    LogSumExp, "ReduceLogSumExp", 18;
    Max, "ReduceMax", 18;
    Mean, "ReduceMean", 18;
    Min, "ReduceMin", 18;
    Prod, "ReduceProd", 18;
    Sum, "ReduceSum", 13;
    SumSquare, "ReduceSumSquare", 18;
}
