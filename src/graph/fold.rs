//! What can be left out of a graph whatever it computes: nodes of constants, nodes that hand their input on, and nodes that
//! compute what another one does.

use crate::ops::{DequantizeLinear, QuantizeLinear};
use tract_core::internal::*;
use tract_core::ops::array::{MultiBroadcastTo, Slice};
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cast::Cast;
use tract_core::ops::dummy::Dummy;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::identity::Identity;
use tract_core::ops::konst::Const;
use tract_core::ops::logic::Iff;
use tract_core::ops::source::TypedSource;
use tract_core::optim::CONST_FOLD_MEM_BUDGET;

/// Replaces a node of constants by its value, unless that takes more memory than its operands and than the budget; where
/// its size is known beforehand, it is not computed.
/// A node that cannot be evaluated now is left alone: it may never be reached, or its value may depend on a run's sizes.
pub fn constant(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    if node.op_is::<Const>() || node.op_is::<Dummy>() || node.op_is::<TypedSource>() {
        return Ok(None);
    }
    let Some(operands) = constants(model, node)? else { return Ok(None) };
    let budget = bytes(operands.iter()).max(CONST_FOLD_MEM_BUDGET);
    let sizes = node.outputs.iter().filter_map(|output| output.fact.mem_size().to_usize().ok());
    if sizes.map(|size| size as u64).sum::<u64>() > budget {
        return Ok(None);
    }
    let Ok(Some(values)) = node.op.eval_out_of_plan(operands) else { return Ok(None) };
    if bytes(values.iter()) > budget {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    for (slot, value) in values.into_iter().enumerate() {
        let outlet = OutletId::new(node.id, slot);
        let exotic = model.outlet_fact(outlet)?.exotic_fact.clone();
        let name = if slot == 0 { node.name.clone() } else { format!("{}.{slot}", node.name) };
        let constant = Const::new_with_opt_exotic_fact(value.into_arc_tensor(), exotic)?;
        let constant = patch.wire_node(name, constant, &[])?[0];
        patch.shunt_outside(model, outlet, constant)?;
    }
    Ok(Some(patch))
}

/// The node's operands if all are constants, and folding them copies no big weight that others read too.
fn constants(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TVec<TValue>>> {
    let mut operands = tvec!();
    for outlet in &node.inputs {
        let fact = model.outlet_fact(*outlet)?;
        let Some(constant) = &fact.konst else { return Ok(None) };
        let readers = model.node(outlet.node).outputs[outlet.slot].successors.len();
        let small = fact.datum_type.is_number()
            && fact.mem_size().to_usize().is_ok_and(|bytes| bytes as u64 <= CONST_FOLD_MEM_BUDGET);
        if readers != 1 && !small && !node.op_is::<Slice>() {
            return Ok(None);
        }
        operands.push(constant.clone().into_tvalue());
    }
    Ok(Some(operands))
}

fn bytes<'a>(tensors: impl Iterator<Item = &'a TValue>) -> u64 {
    tensors.map(|tensor| (tensor.datum_type().size_of() * tensor.volume()) as u64).sum()
}

/// Leaves out a node whose output is its input: casts to the type that it has, broadcasts to the shape that it has.
pub fn without_effect(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let candidate = node.op_is::<Identity>() || node.op_is::<Cast>() || node.op_is::<MultiBroadcastTo>();
    if !candidate || node.inputs.len() != 1 {
        return Ok(None);
    }
    let (input, output) = (node.inputs[0], OutletId::new(node.id, 0));
    let (before, after) = (model.outlet_fact(input)?, model.outlet_fact(output)?);
    let same = before.datum_type == after.datum_type && before.shape == after.shape;
    // Two outputs of a model stay two nodes, so that each keeps its name.
    if !same || (model.outputs.contains(&input) && model.outputs.contains(&output)) {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let input = patch.tap_model(model, input)?;
    patch.shunt_outside(model, output, input)?;
    Ok(Some(patch))
}

/// Readers of an operand among which a twin is looked for.
const READERS: usize = 64;

/// Leaves out a node that applies the same operator to the same operands as another one.
pub fn twin(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let output = OutletId::new(node.id, 0);
    let Some(operand) = node.inputs.first() else { return Ok(None) };
    if !is_function(node) || node.outputs.len() != 1 || model.outputs.contains(&output) {
        return Ok(None);
    }
    let readers = &model.node(operand.node).outputs[operand.slot].successors;
    let is_twin = |other: &&TypedNode| other.id != node.id && other.inputs == node.inputs && *other.op == *node.op;
    let twin = readers.iter().take(READERS).map(|reader| model.node(reader.node)).find(is_twin);
    let Some(twin) = twin else { return Ok(None) };
    let mut patch = TypedModelPatch::default();
    let twin = patch.tap_model(model, OutletId::new(twin.id, 0))?;
    patch.shunt_outside(model, output, twin)?;
    Ok(Some(patch))
}

/// Whether the node's operator gives the same for the same operands, which not every operator does.
fn is_function(node: &TypedNode) -> bool {
    node.op_is::<TypedBinOp>()
        || node.op_is::<ElementWiseOp>()
        || node.op_is::<Iff>()
        || node.op_is::<Cast>()
        || node.op_is::<AxisOp>()
        || node.op_is::<MultiBroadcastTo>()
        || node.op_is::<Slice>()
        || node.op_is::<QuantizeLinear>()
        || node.op_is::<DequantizeLinear>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::rewriter::sweep;
    use tract_core::ops::cast::cast;
    use tract_core::ops::math::{add, neg};

    #[test]
    fn constants_and_nodes_without_effect() {
        type Build = fn(&mut TypedModel, OutletId) -> TractResult<OutletId>;
        struct Case {
            what: &'static str,
            build: Build,
            /// Nodes that are left, inputs and constants among them.
            left: usize,
        }
        fn wire(
            model: &mut TypedModel,
            operator: impl Into<Box<dyn TypedOp>>,
            inputs: &[OutletId],
        ) -> TractResult<OutletId> {
            let name = format!("n{}", model.nodes().len());
            Ok(model.wire_node(name, operator, inputs)?[0])
        }
        let cases = [
            Case {
                what: "a cast to the same type",
                build: |model, x| wire(model, cast(f32::datum_type()), &[x]),
                left: 1,
            },
            Case {
                what: "a cast to another type",
                build: |model, x| wire(model, cast(i64::datum_type()), &[x]),
                left: 2,
            },
            Case {
                what: "a broadcast to the same shape",
                build: |model, x| {
                    let shape = model.outlet_fact(x)?.shape.clone();
                    wire(model, MultiBroadcastTo { shape }, &[x])
                },
                left: 1,
            },
            Case {
                what: "a broadcast to a wider shape",
                build: |model, x| wire(model, MultiBroadcastTo { shape: [3, 20].into_iter().collect() }, &[x]),
                left: 2,
            },
            Case {
                what: "a negated constant added",
                build: |model, x| {
                    let constant = model.add_const("constant", Tensor::zero::<f32>(&[1, 20])?)?;
                    let negated = wire(model, neg(), &[constant])?;
                    wire(model, add(), &[x, negated])
                },
                left: 3,
            },
            Case {
                what: "a constant that grows too large",
                build: |model, x| {
                    let constant = model.add_const("constant", Tensor::zero::<f32>(&[1, 20])?)?;
                    let shape = [1 << 20, 20].into_iter().collect();
                    let grown = wire(model, MultiBroadcastTo { shape }, &[constant])?;
                    wire(model, add(), &[x, grown])
                },
                left: 4,
            },
            Case {
                what: "the same sum twice",
                build: |model, x| {
                    let negated = wire(model, neg(), &[x])?;
                    let sums = [wire(model, add(), &[x, negated])?, wire(model, add(), &[x, negated])?];
                    wire(model, add(), &sums)
                },
                left: 4,
            },
            Case {
                what: "two sums",
                build: |model, x| {
                    let negated = wire(model, neg(), &[x])?;
                    let sums = [wire(model, add(), &[x, negated])?, wire(model, add(), &[negated, x])?];
                    wire(model, add(), &sums)
                },
                left: 5,
            },
        ];
        for case in cases {
            let mut model = TypedModel::default();
            let x = model.add_source("x", f32::fact([1, 20])).unwrap();
            let output = (case.build)(&mut model, x).unwrap();
            model.select_output_outlets(&[output]).unwrap();
            let rules = |model: &TypedModel, node: &TypedNode| {
                Ok(constant(model, node)?.or(without_effect(model, node)?).or(twin(model, node)?))
            };
            let (_, model) = sweep(model, rules).unwrap();
            assert_eq!(model.nodes().len(), case.left, "{}", case.what);
        }
    }
}
