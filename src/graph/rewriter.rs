//! Applies patches to a graph. tract's own `ModelPatch::apply` walks the whole graph for every patch, to look for twins, to
//! check edges and to keep names apart; here the work grows with the patch, so that long graphs load in linear time.

use std::collections::HashSet;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::dummy::Dummy;

/// A graph under rewriting.
pub struct Rewriter {
    model: TypedModel,
    names: HashSet<String>,
}

impl Rewriter {
    /// Takes a graph in.
    pub fn new(model: TypedModel) -> Rewriter {
        let names = model.nodes().iter().map(|node| node.name.clone()).collect();
        Rewriter { model, names }
    }

    /// The graph as it is now; nodes that nothing reads any more are `Dummy`.
    pub fn model(&self) -> &TypedModel {
        &self.model
    }

    /// The graph without what nothing reads.
    ///
    /// # Errors
    /// When the graph is not consistent.
    pub fn finish(self) -> TractResult<TypedModel> {
        self.model.into_compact()
    }

    /// Adds the nodes of a patch, moves readers and outputs over to them, and empties nodes that nothing reads any more.
    ///
    /// # Errors
    /// When the patch does not fit the graph.
    pub fn apply(&mut self, patch: TypedModelPatch) -> TractResult<()> {
        let TypedModelPatch { model: patch, taps: mut mapping, shunts, obliterate, inputs, .. } = patch;
        ensure!(inputs.is_empty(), "a patch may not replace the model's inputs");
        let mut added = Vec::new();
        for node in patch.nodes {
            if mapping.contains_key(&OutletId::new(node.id, 0)) {
                continue;
            }
            let facts = node.outputs.into_iter().map(|output| output.fact).collect::<TVec<_>>();
            let slots = facts.len();
            let id = self.model.add_node(node.name, node.op, facts)?;
            mapping.extend((0..slots).map(|slot| (OutletId::new(node.id, slot), OutletId::new(id, slot))));
            added.push((id, node.inputs));
        }
        for (old, new) in &shunts {
            self.shunt(*old, *mapping.get(new).context("a shunt leads nowhere")?)?;
        }
        for (id, inputs) in &added {
            for (slot, input) in inputs.iter().enumerate() {
                let outlet = *mapping.get(input).context("a node of the patch reads nothing")?;
                self.model.add_edge(outlet, InletId::new(*id, slot))?;
            }
        }
        for id in &obliterate {
            self.model.node_mut(*id).op = Box::new(Dummy);
        }
        self.drop_unread(shunts.keys().map(|outlet| outlet.node).collect());
        for (id, _) in added {
            self.name(id);
        }
        Ok(())
    }

    fn shunt(&mut self, old: OutletId, new: OutletId) -> TractResult<()> {
        let readers = std::mem::take(&mut self.model.node_mut(old.node).outputs[old.slot].successors);
        for reader in readers {
            self.model.add_edge(new, reader)?;
        }
        for output in self.model.outputs.iter_mut().filter(|output| **output == old) {
            *output = new;
        }
        if let Some(label) = self.model.outlet_labels.remove(&old) {
            self.model.set_outlet_label(new, label)?;
        }
        Ok(())
    }

    /// Empties those of the nodes, and of the nodes that they read, whose results nothing reads.
    fn drop_unread(&mut self, mut nodes: Vec<usize>) {
        while let Some(id) = nodes.pop() {
            let bound = |outlet: &OutletId| outlet.node == id;
            let read = self.model.node(id).outputs.iter().any(|output| !output.successors.is_empty());
            if read || self.model.outputs.iter().any(bound) || self.model.inputs.iter().any(bound) {
                continue;
            }
            let node = self.model.node_mut(id);
            let inputs = std::mem::take(&mut node.inputs);
            let name = std::mem::replace(&mut node.name, format!("unread {id}"));
            node.op = Box::new(Dummy);
            node.outputs.clear();
            self.names.remove(&name);
            for input in inputs {
                self.model.node_mut(input.node).outputs[input.slot].successors.retain(|reader| reader.node != id);
                nodes.push(input.node);
            }
        }
    }

    /// Gives a new node a name of its own.
    fn name(&mut self, id: usize) {
        let wanted = &self.model.node(id).name;
        let mut name = wanted.clone();
        let mut number = 0;
        while self.names.contains(&name) {
            number += 1;
            name = format!("{wanted}.{number}");
        }
        self.names.insert(name.clone());
        self.model.node_mut(id).name = name;
    }
}

/// Goes once through the nodes in evaluation order, applies what patches `rule` makes, and drops what nothing reads any more.
/// Returns how many patches there were.
///
/// # Errors
/// What `rule` gives, and when the graph is not consistent.
pub fn sweep(
    model: TypedModel,
    mut rule: impl FnMut(&TypedModel, &TypedNode) -> TractResult<Option<TypedModelPatch>>,
) -> TractResult<(usize, TypedModel)> {
    let symbols = model.symbols.clone();
    let _proofs = symbols.proof_cache_session();
    let order = model.eval_order()?;
    let mut rewriter = Rewriter::new(model);
    let mut applied = 0;
    for id in order {
        let model = rewriter.model();
        if let Some(patch) = rule(model, model.node(id))? {
            rewriter.apply(patch)?;
            applied += 1;
        }
    }
    Ok((applied, rewriter.finish()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::tract_hir::tract_core::ops::math::{neg, square};

    /// Two negations in a row are none.
    fn cancelled(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        let negation = |node: &TypedNode| node.op.name() == "Neg";
        let Some(before) = node.inputs.first().map(|input| model.node(input.node)) else { return Ok(None) };
        if !negation(node) || !negation(before) {
            return Ok(None);
        }
        let mut patch = TypedModelPatch::default();
        let outlet = patch.tap_model(model, before.inputs[0])?;
        patch.shunt_outside(model, OutletId::new(node.id, 0), outlet)?;
        Ok(Some(patch))
    }

    /// A square is a node of its own kind, under the same name.
    fn renewed(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        if node.op.name() != "Square" {
            return Ok(None);
        }
        TypedModelPatch::replace_single_op(model, node, &node.inputs, neg()).map(Some)
    }

    fn chain(
        length: usize,
        operator: fn() -> tract_onnx::tract_hir::tract_core::ops::element_wise::ElementWiseOp,
    ) -> TypedModel {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([2])).unwrap();
        let wired =
            (0..length).fold(x, |x, number| model.wire_node(format!("n{number}"), operator(), &[x]).unwrap()[0]);
        model.select_output_outlets(&[wired]).unwrap();
        model
    }

    #[test]
    fn chains() {
        let (applied, model) = sweep(chain(1001, neg), cancelled).unwrap();
        assert_eq!((applied, model.nodes().len()), (500, 2));
        assert_eq!(model.outputs, [OutletId::new(1, 0)]);
        model.check_consistency().unwrap();
    }

    #[test]
    fn names_are_kept() {
        let (applied, model) = sweep(chain(3, square), renewed).unwrap();
        let names: Vec<&str> = model.nodes().iter().map(|node| &*node.name).collect();
        assert_eq!((applied, names), (3, vec!["x", "n0", "n1", "n2"]));
    }

    #[test]
    fn an_output_that_is_an_input() {
        let (applied, model) = sweep(chain(2, neg), cancelled).unwrap();
        assert_eq!((applied, &*model.outputs), (1, &*model.inputs));
    }
}
