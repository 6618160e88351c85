//! Operators wired one after the other: what an ONNX operator that is a composition is made of.

use crate::ops::KnownSizes;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cast::cast;
use tract_core::ops::change_axes::wire_with_rank_broadcast;

/// Wires the parts of one ONNX node, under names that begin with the node's.
pub struct Composer<'a> {
    prefix: &'a str,
    model: &'a mut TypedModel,
}

impl<'a> Composer<'a> {
    /// Wires into a model under names that begin with `prefix`.
    pub fn new(prefix: &'a str, model: &'a mut TypedModel) -> Composer<'a> {
        Composer { prefix, model }
    }

    /// The model that is wired into.
    pub fn model(&mut self) -> &mut TypedModel {
        self.model
    }

    /// What is known of an outlet.
    pub fn fact(&self, outlet: OutletId) -> TractResult<&TypedFact> {
        self.model.outlet_fact(outlet)
    }

    /// An outlet's shape.
    pub fn shape(&self, outlet: OutletId) -> TractResult<TVec<TDim>> {
        Ok(self.fact(outlet)?.shape.to_tvec())
    }

    /// Wires an operator of one output.
    pub fn wire(&mut self, operator: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        let operator = operator.into();
        let name = self.name(&operator.name());
        Ok(self.model.wire_node(name, operator, inputs)?[0])
    }

    /// Wires a binary operator, whose operands broadcast.
    pub fn binary(&mut self, operator: TypedBinOp, left: OutletId, right: OutletId) -> TractResult<OutletId> {
        let name = self.name(&operator.name());
        Ok(wire_with_rank_broadcast(name, self.model, operator, &[left, right])?[0])
    }

    /// Wires a binary operator with a number on the right.
    pub fn binary_with(&mut self, operator: TypedBinOp, left: OutletId, right: f32) -> TractResult<OutletId> {
        let datum_type = self.fact(left)?.datum_type;
        let right = self.constant(tensor0(right).cast_to_dt(datum_type)?.into_owned())?;
        self.binary(operator, left, right)
    }

    /// Wires a conversion, unless the outlet is of that type.
    pub fn cast(&mut self, outlet: OutletId, datum_type: DatumType) -> TractResult<OutletId> {
        if self.fact(outlet)?.datum_type == datum_type {
            return Ok(outlet);
        }
        self.wire(cast(datum_type), &[outlet])
    }

    /// Wires a change of the axes from `first` on, which have these sizes.
    pub fn reshape(&mut self, outlet: OutletId, first: usize, sizes: &[TDim], into: &[TDim]) -> TractResult<OutletId> {
        self.wire(AxisOp::Reshape(first, sizes.into(), into.into()), &[outlet])
    }

    /// The outlet with these sizes of axes, which is checked when the graph runs.
    pub fn known_sizes(&mut self, outlet: OutletId, sizes: TVec<(usize, TDim)>) -> TractResult<OutletId> {
        if sizes.is_empty() { Ok(outlet) } else { self.wire(KnownSizes { sizes }, &[outlet]) }
    }

    /// Adds axes of size 1 at the end until the outlet has that rank.
    pub fn trailing_axes(&mut self, mut outlet: OutletId, rank: usize) -> TractResult<OutletId> {
        for axis in self.fact(outlet)?.rank()..rank {
            outlet = self.wire(AxisOp::Add(axis), &[outlet])?;
        }
        Ok(outlet)
    }

    /// Adds a constant.
    pub fn constant(&mut self, tensor: Tensor) -> TractResult<OutletId> {
        let name = self.name("constant");
        self.model.add_const(name, tensor)
    }

    /// A name for a part of the node.
    pub fn name(&self, part: &str) -> String {
        self.model.unique_name(format!("{}.{part}", self.prefix)).into_owned()
    }
}
