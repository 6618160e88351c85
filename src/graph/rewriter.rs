//! Applies patches to a graph. tract's own `ModelPatch::apply` walks the whole graph for every patch, to look for twins, to
//! check edges and to keep names apart; here the work grows with the patch, so that long graphs load in linear time.

use std::collections::{HashMap, HashSet};
use tract_core::internal::*;
use tract_core::ops::dummy::Dummy;

/// Readers among which one is looked for at once; of more than these, many are left out together.
const FEW_READERS: usize = 64;

/// A graph under rewriting.
pub struct Rewriter {
    model: TypedModel,
    /// Names of its nodes, once something has changed.
    names: Option<HashSet<String>>,
    /// How many of an outlet's many readers are emptied nodes.
    emptied_readers: HashMap<OutletId, usize>,
}

impl Rewriter {
    /// Takes a graph in.
    pub fn new(model: TypedModel) -> Rewriter {
        Rewriter { model, names: None, emptied_readers: HashMap::new() }
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
        let names = || self.model.nodes().iter().map(|node| node.name.clone()).collect();
        let mut names = self.names.take().unwrap_or_else(names);
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
        self.drop_unread(shunts.keys().map(|outlet| outlet.node).collect(), &mut names);
        for (id, _) in added {
            self.name(id, &mut names);
        }
        self.names = Some(names);
        Ok(())
    }

    fn shunt(&mut self, old: OutletId, new: OutletId) -> TractResult<()> {
        let readers = std::mem::take(&mut self.model.node_mut(old.node).outputs[old.slot].successors);
        self.emptied_readers.remove(&old);
        for reader in readers {
            // A node that was emptied reads nothing any more.
            if self.model.node(reader.node).inputs.get(reader.slot) == Some(&old) {
                self.model.add_edge(new, reader)?;
            }
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
    fn drop_unread(&mut self, mut nodes: Vec<usize>, names: &mut HashSet<String>) {
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
            names.remove(&name);
            for input in inputs {
                self.drop_reader(input, id);
                nodes.push(input.node);
            }
        }
    }

    fn drop_reader(&mut self, outlet: OutletId, id: usize) {
        let readers = &mut self.model.node_mut(outlet.node).outputs[outlet.slot].successors;
        if readers.len() <= FEW_READERS {
            readers.retain(|reader| reader.node != id);
            return;
        }
        let emptied = self.emptied_readers.entry(outlet).or_default();
        *emptied += 1;
        if *emptied * 2 > readers.len() {
            self.emptied_readers.remove(&outlet);
            let readers = std::mem::take(readers);
            let reads = |reader: &InletId| self.model.node(reader.node).inputs.get(reader.slot) == Some(&outlet);
            let readers = readers.into_iter().filter(reads).collect();
            self.model.node_mut(outlet.node).outputs[outlet.slot].successors = readers;
        }
    }

    /// Gives a new node a name of its own.
    fn name(&mut self, id: usize, names: &mut HashSet<String>) {
        let wanted = &self.model.node(id).name;
        let mut name = wanted.clone();
        let mut number = 0;
        while names.contains(&name) {
            number += 1;
            name = format!("{wanted}.{number}");
        }
        names.insert(name.clone());
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
    Ok((applied, if applied == 0 { rewriter.model } else { rewriter.finish()? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_core::ops::math::{neg, square};

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

    fn chain(length: usize, operator: fn() -> tract_core::ops::element_wise::ElementWiseOp) -> TypedModel {
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
