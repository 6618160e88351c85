//! Builds a `TypedModel` in time that grows with its nodes. tract's own `wire_node` and `add_const` walk the whole model to
//! keep names apart and to find equal constants; here each ONNX node is wired in a fragment that holds nothing but its
//! inputs, and what it became is moved over.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use tract_core::internal::*;
use tract_core::ops::dummy::Dummy;
use tract_core::ops::konst::Const;

/// Characters of a node's name: what comes after tells nobody more.
const LONGEST_NAME: usize = 256;
/// Bytes of a constant that its fingerprint is made of.
const FINGERPRINT: usize = 1024;
/// Constants of one fingerprint that a new one is compared with.
const COMPARED: usize = 8;

/// A model under construction.
pub struct Builder {
    model: TypedModel,
    names: HashSet<String>,
    /// Number that the next name gets that would else be taken.
    next_number: usize,
    /// Constants by their fingerprints.
    constants: HashMap<u64, Vec<OutletId>>,
}

impl Builder {
    /// Nothing, in which these symbols stand for sizes.
    pub fn new(symbols: SymbolScope) -> Builder {
        let model = TypedModel { symbols, ..TypedModel::default() };
        Builder { model, names: HashSet::new(), next_number: 1, constants: HashMap::new() }
    }

    /// What has been built.
    pub fn model(&self) -> &TypedModel {
        &self.model
    }

    /// What has been built, with these inputs and outputs.
    pub fn finish(self, inputs: Vec<OutletId>, outputs: &[OutletId]) -> TypedModel {
        TypedModel { inputs, outputs: outputs.to_vec(), ..self.model }
    }

    /// Adds an input.
    pub fn add_source(&mut self, name: &str, fact: TypedFact) -> TractResult<OutletId> {
        let name = self.unique(name);
        self.model.add_source(name, fact)
    }

    /// Adds a constant, unless there is an equal one.
    pub fn add_const(&mut self, name: &str, tensor: Arc<Tensor>) -> TractResult<OutletId> {
        let fact = TypedFact::try_from(tensor.clone())?;
        let constant = Const::new_with_opt_exotic_fact(tensor, fact.exotic_fact.clone())?;
        self.add_constant(name, constant, fact)
    }

    fn add_constant(&mut self, name: &str, constant: Const, fact: TypedFact) -> TractResult<OutletId> {
        let fingerprint = fingerprint(constant.val());
        let known = self.constants.get(&fingerprint).map_or(&[][..], |known| known);
        let same = |outlet: &&OutletId| self.model.node(outlet.node).op_as::<Const>() == Some(&constant);
        if let Some(known) = known.iter().take(COMPARED).find(same) {
            return Ok(*known);
        }
        let name = self.unique(name);
        let outlet = OutletId::new(self.model.add_node(name, constant, tvec!(fact))?, 0);
        self.constants.entry(fingerprint).or_default().push(outlet);
        Ok(outlet)
    }

    /// Gives up a constant that no node reads; says whether it did.
    pub fn give_up(&mut self, outlet: OutletId) -> bool {
        let node = &mut self.model.nodes[outlet.node];
        let unread = node.op_is::<Const>() && node.outputs.iter().all(|output| output.successors.is_empty());
        if unread {
            node.op = Box::new(Dummy);
            node.outputs.clear();
        }
        unread
    }

    /// Wires on `inputs` what `wire` wires on their counterparts in a fragment; nothing is wired where it fails.
    ///
    /// # Errors
    /// What `wire` gives.
    pub fn wire<E: From<TractError>>(
        &mut self,
        inputs: &[OutletId],
        wire: impl FnOnce(&mut TypedModel, &[OutletId]) -> Result<TVec<OutletId>, E>,
    ) -> Result<TVec<OutletId>, E> {
        let mut fragment = TypedModel { symbols: self.model.symbols.clone(), ..TypedModel::default() };
        let taps = inputs.iter().enumerate().map(|(position, input)| {
            let fact = self.model.outlet_fact(*input)?.clone();
            fragment.add_source(format!("input {position}"), fact)
        });
        let taps = taps.collect::<TractResult<TVec<_>>>()?;
        let outlets = wire(&mut fragment, &taps)?;
        let mapping = taps.into_iter().zip(inputs.iter().copied()).collect();
        Ok(self.take_over(fragment, mapping, &outlets)?)
    }

    /// Wires one operator.
    ///
    /// # Errors
    /// What the operator gives.
    pub fn wire_one(
        &mut self,
        name: &str,
        operator: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        self.wire(inputs, |fragment, inputs| fragment.wire_node(name, operator, inputs))
    }

    /// Moves a fragment's nodes over; gives the counterparts of `outlets`.
    fn take_over(
        &mut self,
        fragment: TypedModel,
        mut mapping: HashMap<OutletId, OutletId>,
        outlets: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        for node in fragment.nodes {
            let first = OutletId::new(node.id, 0);
            if mapping.contains_key(&first) {
                continue;
            }
            let facts: TVec<TypedFact> = node.outputs.into_iter().map(|output| output.fact).collect();
            if let (Some(constant), [fact]) = (node.op.downcast_ref::<Const>(), &*facts) {
                mapping.insert(first, self.add_constant(&node.name, constant.clone(), fact.clone())?);
                continue;
            }
            let (name, slots) = (self.unique(&node.name), facts.len());
            let id = self.model.add_node(name, node.op, facts)?;
            for (slot, input) in node.inputs.iter().enumerate() {
                let outlet = mapping.get(input).context("a node reads nothing")?;
                self.model.add_edge(*outlet, InletId::new(id, slot))?;
            }
            mapping.extend((0..slots).map(|slot| (OutletId::new(node.id, slot), OutletId::new(id, slot))));
        }
        outlets.iter().map(|outlet| mapping.get(outlet).copied().context("nothing was wired")).collect()
    }

    /// A name for a node that no other has.
    fn unique(&mut self, name: &str) -> String {
        let name = shortened(name);
        let mut unique = name.to_string();
        while !self.names.insert(unique.clone()) {
            self.next_number += 1;
            unique = format!("{name}#{}", self.next_number);
        }
        unique
    }
}

/// As much of a name as a node gets.
pub fn shortened(name: &str) -> &str {
    name.char_indices().nth(LONGEST_NAME).map_or(name, |(end, _)| &name[..end])
}

/// Equal for equal tensors, and seldom equal for others.
fn fingerprint(tensor: &Arc<Tensor>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let plain = tensor.datum_type().is_number() || tensor.datum_type() == bool::datum_type();
    match tensor.as_plain_ram().filter(|_| plain).map(|plain| plain.as_bytes()) {
        Some(bytes) if bytes.len() > FINGERPRINT => {
            (tensor.datum_type(), tensor.shape()).hash(&mut hasher);
            bytes.iter().step_by((bytes.len() / FINGERPRINT) | 1).for_each(|byte| byte.hash(&mut hasher));
        }
        _ => tensor.hash(&mut hasher),
    }
    hasher.finish()
}

/// A symbol that stands for nothing yet. tract's own `new_with_prefix` tries one number after the other.
pub fn fresh_symbol(symbols: &SymbolScope, prefix: &str) -> Symbol {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    symbols.sym(&format!("{prefix} {}", NUMBER.fetch_add(1, Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_core::ops::math::{add, neg};

    #[test]
    fn constants_and_names() {
        let mut builder = Builder::new(SymbolScope::default());
        let x = builder.add_source("x", f32::fact([2])).unwrap();
        let large = |last: f32| {
            let mut elements = vec![0.5f32; 100_000];
            elements[99_999] = last;
            tensor1(&elements).into_arc_tensor()
        };
        let cases: [(&str, Arc<Tensor>, &str); 7] = [
            ("a", tensor1(&[1f32, 2.0]).into_arc_tensor(), "a"),
            ("b", tensor1(&[1f32, 2.0]).into_arc_tensor(), "a"),
            ("c", tensor1(&[1i32, 2]).into_arc_tensor(), "c"),
            ("c", tensor1(&[1f32, 3.0]).into_arc_tensor(), "c#2"),
            ("large", large(0.5), "large"),
            ("same", large(0.5), "large"),
            ("other", large(0.25), "other"),
        ];
        for (name, tensor, expected) in cases {
            let outlet = builder.add_const(name, tensor).unwrap();
            assert_eq!(builder.model().node(outlet.node).name, expected);
        }
        // Nodes of one name, each of several nodes with the same constant.
        let mut wire = x;
        for _ in 0..2 {
            let summed = builder.wire(&[wire], |fragment, inputs| {
                let one = fragment.add_const("one", tensor1(&[7f32, 7.0]))?;
                let negated = fragment.wire_node("negated", neg(), inputs)?[0];
                fragment.wire_node("node", add(), &[negated, one])
            });
            wire = summed.map_err(|error: TractError| error).unwrap()[0];
        }
        let failed: TractResult<TVec<OutletId>> = builder.wire(&[wire], |fragment, inputs| {
            fragment.wire_node("lost", neg(), inputs)?;
            bail!("no")
        });
        assert!(failed.is_err());
        let model = builder.finish(vec![x], &[wire]).into_compact().unwrap();
        assert_eq!(model.nodes().len(), 6, "{model}");
        assert_eq!(model.nodes().iter().map(|node| &node.name).collect::<HashSet<_>>().len(), 6);
    }

    #[test]
    fn long_names_are_cut() {
        let mut builder = Builder::new(SymbolScope::default());
        for _ in 0..2 {
            builder.add_source(&"é".repeat(1000), f32::fact([2])).unwrap();
        }
        let lengths: Vec<usize> = builder.model().nodes().iter().map(|node| node.name.chars().count()).collect();
        assert_eq!(lengths, [256, 258]);
    }
}
