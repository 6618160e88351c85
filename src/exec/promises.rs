//! What the facts of a plan's nodes promise, each expression computed once a run. All lies side by side: between two nodes, what the
//! processor had at hand gives way to weights.

use crate::graph::checks::Promise;
use std::collections::HashMap;
use std::ops::Range;
use tract_core::internal::{SymbolValues, TDim};
use tract_core::prelude::{DatumType, TypedModel};

/// See the module's documentation.
pub struct Promises {
    /// Of each node, where its outputs are in `outputs`.
    nodes: Vec<Range<usize>>,
    outputs: Vec<Output>,
    /// Of all axes of all outputs; [`UNKNOWN`] where symbols are not bound.
    sizes: Vec<i64>,
    /// What symbols say of sizes, and where these are.
    expressions: Vec<(TDim, Vec<usize>)>,
}

struct Output {
    datum_type: DatumType,
    /// Where the sizes of its axes are in [`Promises::sizes`].
    sizes: Range<usize>,
}

/// No size.
const UNKNOWN: i64 = i64::MIN;

impl Promises {
    /// What the nodes of a graph promise.
    pub fn new(graph: &TypedModel) -> Promises {
        let mut promises = Promises { nodes: vec![], outputs: vec![], sizes: vec![], expressions: vec![] };
        let mut places = HashMap::new();
        for node in graph.nodes() {
            let first = promises.outputs.len();
            for output in &node.outputs {
                let start = promises.sizes.len();
                output.fact.shape.iter().for_each(|dim| promises.add(dim, &mut places));
                let sizes = start..promises.sizes.len();
                promises.outputs.push(Output { datum_type: output.fact.datum_type, sizes });
            }
            promises.nodes.push(first..promises.outputs.len());
        }
        promises
    }

    /// Adds a size; `places` are those of the expressions.
    fn add(&mut self, dim: &TDim, places: &mut HashMap<TDim, usize>) {
        if let TDim::Val(size) = dim {
            self.sizes.push(*size);
            return;
        }
        let place = *places.entry(dim.clone()).or_insert_with(|| {
            self.expressions.push((dim.clone(), vec![]));
            self.expressions.len() - 1
        });
        self.expressions[place].1.push(self.sizes.len());
        self.sizes.push(UNKNOWN);
    }

    /// Computes all sizes that these symbols tell.
    pub fn resolve(&mut self, symbols: &SymbolValues) {
        for (expression, places) in &self.expressions {
            let size = expression.eval_to_i64(symbols).unwrap_or(UNKNOWN);
            places.iter().for_each(|place| self.sizes[*place] = size);
        }
    }

    /// What a node promises of its outputs.
    pub fn of(&self, node: usize) -> impl Iterator<Item = Promise<'_>> {
        self.outputs[self.nodes[node].clone()].iter().map(|Output { datum_type, sizes }| {
            let sizes = Some(&self.sizes[sizes.clone()]).filter(|sizes| !sizes.contains(&UNKNOWN));
            Promise { datum_type: *datum_type, sizes }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_core::internal::DatumType::{F32, U8};
    use tract_core::ops::dummy::Dummy;
    use tract_core::prelude::{DatumTypeExt, tvec};

    #[test]
    fn sizes_follow_the_symbols_of_a_run() {
        let mut graph = TypedModel::default();
        let (batch, length) = (graph.symbols.sym("batch"), graph.symbols.sym("length"));
        let shape = tvec!(TDim::from(batch.clone()), TDim::from(length.clone()) + 1, 3.into());
        let source = graph.add_source("x", F32.fact(shape)).unwrap();
        let mut promises = Promises::new(&graph);
        for (sizes, expected) in
            [([Some(2), Some(4)], Some([2, 5, 3])), ([Some(1), Some(0)], Some([1, 1, 3])), ([Some(1), None], None)]
        {
            let mut symbols = SymbolValues::default();
            for (symbol, size) in [&batch, &length].into_iter().zip(sizes) {
                size.into_iter().for_each(|size| symbols.set(symbol, size));
            }
            promises.resolve(&symbols);
            let of = promises.of(source.node).next().unwrap();
            assert_eq!(of.datum_type, F32);
            assert_eq!(of.sizes, expected.as_ref().map(|sizes| &sizes[..]), "{sizes:?}");
        }
    }

    #[test]
    fn each_output_has_its_own_sizes() {
        let mut graph = TypedModel::default();
        let length = TDim::from(graph.symbols.sym("length"));
        graph.add_source("x", F32.fact([7])).unwrap();
        let outputs = tvec!(F32.fact(tvec!(length, 2.into())), U8.fact([3]), F32.scalar_fact(), U8.fact([5, 6]));
        let node = graph.add_node("several", Dummy::new(), outputs).unwrap();
        let mut promises = Promises::new(&graph);
        promises.resolve(&SymbolValues::default());
        let found: Vec<_> = promises.of(node).map(|promise| (promise.datum_type, promise.sizes)).collect();
        let expected = [(F32, None), (U8, Some(&[3][..])), (F32, Some(&[])), (U8, Some(&[5, 6]))];
        assert_eq!(found, expected);
    }
}
