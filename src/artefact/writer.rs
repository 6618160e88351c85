//! Writes descriptions, and gathers the parts.

use super::header::hash;
use super::operators;
use super::reader::MOST_INLINE;
use crate::error::{Error, Result};
use crate::kernels::packed::Packed;
use crate::ops::Shared;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tract_core::prelude::{OutletId, Symbol, TypedModel};

/// See the module's documentation.
#[derive(Default)]
pub struct Writer<'a> {
    bytes: Vec<u8>,
    parts: Vec<&'a [u8]>,
    /// Numbers of what nodes share, by address.
    shared: HashMap<usize, usize>,
    /// Numbers of the symbols of the graph that is being written.
    symbols: HashMap<Symbol, usize>,
}

impl<'a> Writer<'a> {
    /// Description and parts.
    pub fn finish(self) -> (Vec<u8>, Vec<&'a [u8]>) {
        (self.bytes, self.parts)
    }

    /// Writes plain data.
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(value, bytes).map_err(|error| unwritable(&error))?;
        Ok(())
    }

    /// Writes data of types that describe themselves.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|error| unwritable(&error))?;
        self.value(&text)
    }

    /// Writes a graph: its symbols, its nodes in an order in which each comes after those that it reads, its inputs, its
    /// outputs.
    pub fn graph(&mut self, graph: &'a TypedModel) -> Result<()> {
        self.symbols_of(graph)?;
        let order = order(graph)?;
        let numbers: HashMap<usize, usize> = order.iter().enumerate().map(|(number, node)| (*node, number)).collect();
        let outlet = |outlet: &OutletId| (numbers[&outlet.node], outlet.slot);
        self.value(&order.len())?;
        for node in &order {
            let node = graph.node(*node);
            self.value(&node.name)?;
            self.value(&node.inputs.iter().map(outlet).collect::<Vec<_>>())?;
            operators::write(node, self).map_err(|error| error.node(&*node.name))?;
            self.value(&node.outputs.len())?;
            for output in &node.outputs {
                self.datum_type(output.fact.datum_type)?;
                self.expressions(output.fact.shape.iter())?;
            }
        }
        self.value(&graph.inputs.iter().map(outlet).collect::<Vec<_>>())?;
        self.value(&graph.outputs.iter().map(outlet).collect::<Vec<_>>())
    }

    /// Writes what a graph's symbols are called.
    pub fn symbols_of(&mut self, graph: &TypedModel) -> Result<()> {
        let symbols = graph.symbols.all_symbols();
        self.value(&symbols.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        self.symbols = symbols.into_iter().enumerate().map(|(number, symbol)| (symbol, number)).collect();
        Ok(())
    }

    /// The number of a symbol of the graph.
    pub fn symbol(&self, symbol: &Symbol) -> Result<usize> {
        let number = self.symbols.get(symbol).copied();
        number.ok_or_else(|| Error::internal(format!("the symbol {symbol} is not one of its graph")))
    }

    /// Writes weights that nodes share.
    pub fn shared<T: Packed + Send + Sync + 'static>(&mut self, shared: &'a Shared<T>) -> Result<()> {
        self.once(shared.address(), |writer| writer.packed(&**shared))
    }

    /// Writes weights that there may be.
    pub fn optional<T: Packed + Send + Sync + 'static>(&mut self, shared: Option<&'a Shared<T>>) -> Result<()> {
        self.value(&shared.is_some())?;
        shared.map_or(Ok(()), |shared| self.shared(shared))
    }

    /// Writes what lies at an address, or that it has been written.
    pub fn once(&mut self, address: usize, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let known = self.shared.get(&address).copied();
        self.value(&known)?;
        if known.is_none() {
            write(self)?;
            self.shared.insert(address, self.shared.len());
        }
        Ok(())
    }

    /// Writes weights.
    pub fn packed<T: Packed>(&mut self, weights: &'a T) -> Result<()> {
        self.value(&weights.form())?;
        let blocks = weights.shared_blocks();
        self.value(&blocks.is_some())?;
        if let Some(blocks) = blocks {
            self.once(Arc::as_ptr(blocks) as usize, |writer| writer.packed(&**blocks))?;
        }
        weights.parts().into_iter().try_for_each(|part| self.part(part))
    }

    /// Writes bytes, long ones beside the description.
    pub fn part(&mut self, part: &'a [u8]) -> Result<()> {
        self.value(&part.len())?;
        if part.len() <= MOST_INLINE {
            self.bytes.extend_from_slice(part);
            return Ok(());
        }
        self.parts.push(part);
        self.value(&hash(part))
    }
}

/// The inputs, then what the outputs need, each node after those that it reads.
fn order(graph: &TypedModel) -> Result<Vec<usize>> {
    let inputs = graph.inputs.iter().map(|input| input.node);
    let needed = graph.eval_order().map_err(|error| unwritable(&error))?;
    let mut order = Vec::new();
    let mut known = HashSet::new();
    for node in inputs.chain(needed) {
        if known.insert(node) {
            order.push(node);
        }
    }
    Ok(order)
}

fn unwritable(error: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("the model cannot be described: {error}"))
}
