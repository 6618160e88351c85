//! The sizes that the facts of a plan's nodes promise, each expression computed once a run.

use crate::graph::checks::Sizes;
use std::collections::HashMap;
use tract_core::internal::{SymbolValues, TDim};
use tract_core::prelude::{TVec, TypedModel};

/// See the module's documentation.
pub struct Promises {
    /// Of each output of each node the sizes of its axes.
    nodes: Vec<TVec<TVec<Size>>>,
    expressions: Vec<TDim>,
    /// The values of `expressions` in this run, as far as they are known.
    values: Vec<Option<i64>>,
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
        let mut expressions = vec![];
        let mut size = |dim: &TDim| match dim {
            TDim::Val(value) => Size::Known(*value),
            expression => Size::Expression(*places.entry(expression.clone()).or_insert_with(|| {
                expressions.push(expression.clone());
                expressions.len() - 1
            })),
        };
        let mut nodes = vec![];
        for node in graph.nodes() {
            nodes.push(node.outputs.iter().map(|output| output.fact.shape.iter().map(&mut size).collect()).collect());
        }
        let values = vec![None; expressions.len()];
        Promises { nodes, expressions, values }
    }

    /// Begins a run, whose symbols have other values.
    pub fn forget(&mut self) {
        self.values.fill(None);
    }

    /// The sizes of a node's outputs.
    pub fn of(&mut self, node: usize, symbols: &SymbolValues) -> TVec<Sizes> {
        let Promises { nodes, expressions, values } = self;
        let mut value = |size: &Size| match *size {
            Size::Known(value) => Some(value),
            Size::Expression(place) => {
                if values[place].is_none() {
                    values[place] = expressions[place].eval_to_i64(symbols).ok();
                }
                values[place]
            }
        };
        nodes[node].iter().map(|sizes| sizes.iter().map(&mut value).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_core::internal::DatumType::F32;
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
            assert_eq!(of[0].as_deref(), expected.as_ref().map(|sizes| &sizes[..]), "{sizes:?}");
        }
    }
}
