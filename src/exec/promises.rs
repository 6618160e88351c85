//! What the facts of a plan's nodes promise, each expression computed once a run. All lies side by side: between two nodes, what the
//! processor had at hand gives way to weights.

use crate::graph::checks::Promise;
use std::collections::HashMap;
use std::ops::Range;
use tract_core::internal::{SymbolValues, TDim};
use tract_core::prelude::{DatumType, TVec, TypedModel};

/// See the module's documentation.
pub struct Promises {
    /// Of each node, where its outputs are in `outputs`.
    nodes: Vec<Range<usize>>,
    outputs: Vec<Output>,
    sizes: Vec<Size>,
    expressions: Vec<TDim>,
    /// The values of `expressions` in this run, as far as they are known.
    values: Vec<Option<i64>>,
    /// The sizes of the node that was asked for last, 0 where they are not known.
    current: Vec<i64>,
}

struct Output {
    datum_type: DatumType,
    /// Where the sizes of its axes are in [`Promises::sizes`].
    sizes: Range<usize>,
}

#[derive(Clone, Copy)]
enum Size {
    Known(i64),
    /// A position in [`Promises::expressions`].
    Expression(usize),
}

impl Promises {
    /// What the nodes of a graph promise.
    pub fn new(graph: &TypedModel) -> Promises {
        let mut places: HashMap<TDim, usize> = HashMap::new();
        let (mut nodes, mut outputs, mut sizes, mut expressions) = (vec![], vec![], vec![], vec![]);
        let mut size = |dim: &TDim| match dim {
            TDim::Val(value) => Size::Known(*value),
            expression => Size::Expression(*places.entry(expression.clone()).or_insert_with(|| {
                expressions.push(expression.clone());
                expressions.len() - 1
            })),
        };
        for node in graph.nodes() {
            let first = outputs.len();
            for output in &node.outputs {
                let start = sizes.len();
                sizes.extend(output.fact.shape.iter().map(&mut size));
                outputs.push(Output { datum_type: output.fact.datum_type, sizes: start..sizes.len() });
            }
            nodes.push(first..outputs.len());
        }
        let values = vec![None; expressions.len()];
        Promises { nodes, outputs, sizes, expressions, values, current: vec![] }
    }

    /// Begins a run, whose symbols have other values.
    pub fn forget(&mut self) {
        self.values.fill(None);
    }

    /// What a node promises of its outputs.
    pub fn of(&mut self, node: usize, symbols: &SymbolValues) -> TVec<Promise<'_>> {
        let Promises { nodes, outputs, sizes, expressions, values, current } = self;
        let mut value = |size: &Size| match *size {
            Size::Known(value) => Some(value),
            Size::Expression(place) => {
                if values[place].is_none() {
                    values[place] = expressions[place].eval_to_i64(symbols).ok();
                }
                values[place]
            }
        };
        let outputs = &outputs[nodes[node].clone()];
        current.clear();
        let mut add = |size| {
            let value = value(size);
            current.push(value.unwrap_or_default());
            value.is_some()
        };
        // All of them, known or not: each has its place.
        let mut are_known =
            |output: &Output| sizes[output.sizes.clone()].iter().fold(true, |all, size| add(size) & all);
        let known: TVec<bool> = outputs.iter().map(&mut are_known).collect();
        let first = outputs.first().map_or(0, |output| output.sizes.start);
        let promise = |(Output { datum_type, sizes }, known): (&Output, bool)| Promise {
            datum_type: *datum_type,
            sizes: known.then(|| &current[sizes.start - first..sizes.end - first]),
        };
        outputs.iter().zip(known).map(promise).collect()
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
            promises.forget();
            let mut symbols = SymbolValues::default();
            for (symbol, size) in [&batch, &length].into_iter().zip(sizes) {
                size.into_iter().for_each(|size| symbols.set(symbol, size));
            }
            let of = promises.of(source.node, &symbols);
            assert_eq!(of[0].datum_type, F32);
            assert_eq!(of[0].sizes, expected.as_ref().map(|sizes| &sizes[..]), "{sizes:?}");
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
        let of = promises.of(node, &SymbolValues::default());
        let found: Vec<_> = of.iter().map(|promise| (promise.datum_type, promise.sizes)).collect();
        let expected = [(F32, None), (U8, Some(&[3][..])), (F32, Some(&[])), (U8, Some(&[5, 6]))];
        assert_eq!(found, expected);
    }
}
