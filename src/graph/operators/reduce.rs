//! ONNX's reductions (1 to 28): `ReduceL1`, `ReduceL2`, `ReduceLogSum`, `ReduceLogSumExp`, `ReduceMax`, `ReduceMean`, `ReduceMin`,
//! `ReduceProd`, `ReduceSum`, `ReduceSumSquare`, of floats and of integers up to int64 and uint32; `ReduceMax` and `ReduceMin` of bool.
//!
//! Inputs: `data`; `axes` constant (an attribute below opset 18, for `ReduceSum` below 13). Attributes: `keepdims`,
//! `noop_with_empty_axes`.

use super::{Wiring, arguments, input, int, only_attributes, unsupported};
use crate::ops::Reducer;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::cast;

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
    ) -> TractResult<Option<TVec<OutletId>>> {
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
        let own = matches!(reducer, Reducer::LogSumExp | Reducer::Max | Reducer::Min);
        if datum_type.is_float() && !own {
            if reducer == Reducer::Mean && axes.iter().any(|axis| fact.shape[*axis] == 0.to_dim()) {
                return Err(unsupported("the mean of an empty set is not supported"));
            }
            return Ok(None);
        }
        let name = if self.keep { prefix.to_string() } else { format!("{prefix}.reduced") };
        let mut outlet = model.wire_node(name, crate::ops::Reduce { reducer, axes: axes.clone() }, &[x])?[0];
        if !self.keep {
            for (position, axis) in axes.iter().rev().enumerate() {
                let last = position + 1 == axes.len();
                let name = if last { prefix.to_string() } else { format!("{prefix}.without_{axis}") };
                outlet = model.wire_node(name, AxisOp::Rm(*axis), &[outlet])?[0];
            }
        }
        Ok(Some(tvec!(outlet)))
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
            ) -> TractResult<Option<TVec<OutletId>>> {
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
