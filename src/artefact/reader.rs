//! Reads descriptions, and the parts as they are named.

use super::header::{self, aligned, damaged, hasher};
use super::operators;
use crate::error::{Error, Result};
use crate::graph::checks::check_wired;
use crate::kernels::packed::{Packed, Parts};
use crate::onnx::ReadAt;
use crate::ops::Shared;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::collections::HashSet;
use std::hash::Hasher as _;
use std::sync::Arc;
use tract_core::internal::{InletId, TVec, TractError, TypedOp};
use tract_core::ops::konst::Const;
use tract_core::prelude::{OutletId, Symbol, TypedFact, TypedModel};

/// Parts of no more bytes stand in the description.
pub const MOST_INLINE: usize = 256;
/// Bytes that are read and hashed at a time, while they are in the cache.
const PIECE: usize = 1 << 20;

/// See the module's documentation.
pub struct Reader<'a> {
    source: &'a dyn ReadAt,
    description: &'a [u8],
    /// What has been read that nodes share.
    shared: Vec<Box<dyn Any>>,
    /// The symbols of the graph that is being read.
    symbols: Vec<Symbol>,
    /// The part that has been announced and not read.
    next: Option<Part>,
    /// Where the parts that have been announced end.
    end: u64,
}

/// A part to be read.
struct Part {
    len: usize,
    /// Offset and hash, where it lies beside the description.
    place: Option<(u64, u64)>,
}

impl<'a> Reader<'a> {
    /// Reads a file's description.
    pub fn new(source: &'a dyn ReadAt, description: &'a [u8]) -> Reader<'a> {
        let end = (header::LEN + description.len()) as u64;
        Reader { source, description, shared: Vec::new(), symbols: Vec::new(), next: None, end }
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<()> {
        if self.description.is_empty() && self.next.is_none() && self.end == self.source.len() {
            return Ok(());
        }
        Err(malformed("there is more than the model needs"))
    }

    /// Reads plain data.
    pub fn value<T: Deserialize<'a>>(&mut self) -> Result<T> {
        let (value, rest) =
            postcard::take_from_bytes(self.description).map_err(|error| malformed(&error.to_string()))?;
        self.description = rest;
        Ok(value)
    }

    /// Reads data of types that describe themselves.
    pub fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        serde_json::from_str(self.value()?).map_err(|error| malformed(&error.to_string()))
    }

    /// Reads a graph.
    pub fn graph(&mut self) -> Result<TypedModel> {
        let mut graph = TypedModel::default();
        self.symbols_of(&mut graph)?;
        let mut names = HashSet::new();
        for _ in 0..self.value::<usize>()? {
            let name: &str = self.value()?;
            if !names.insert(name) {
                return Err(malformed("two nodes have one name").node(name));
            }
            self.node(&mut graph, name).map_err(|error| error.node(name))?;
        }
        graph.inputs = self.outlets(&graph)?;
        graph.outputs = self.outlets(&graph)?;
        Ok(graph)
    }

    /// Reads what a graph's symbols are called.
    pub fn symbols_of(&mut self, graph: &mut TypedModel) -> Result<()> {
        self.symbols = self.value::<Vec<&str>>()?.into_iter().map(|name| graph.symbols.sym(name)).collect();
        Ok(())
    }

    fn node(&mut self, graph: &mut TypedModel, name: &str) -> Result<()> {
        let inputs = self.outlets(graph)?;
        let operator = operators::read(self)?;
        let stored = self.facts()?;
        let facts = facts_of(&*operator, graph, &inputs, stored).map_err(|error| unfit(&error))?;
        let node = graph.add_node(name, operator, facts).map_err(|error| unfit(&error))?;
        for (slot, input) in inputs.into_iter().enumerate() {
            graph.add_edge(input, InletId::new(node, slot)).map_err(|error| unfit(&error))?;
        }
        let outlets: Vec<OutletId> =
            (0..graph.node(node).outputs.len()).map(|slot| OutletId::new(node, slot)).collect();
        check_wired(graph, &outlets)
    }

    /// Outlets of nodes that there are.
    fn outlets(&mut self, graph: &TypedModel) -> Result<Vec<OutletId>> {
        let outlets: Vec<(usize, usize)> = self.value()?;
        let outlet = |(node, slot): (usize, usize)| {
            let outlet = OutletId::new(node, slot);
            let there = graph.nodes().get(node).is_some_and(|node| slot < node.outputs.len());
            if there { Ok(outlet) } else { Err(malformed("a node reads one that is not there")) }
        };
        outlets.into_iter().map(outlet).collect()
    }

    fn facts(&mut self) -> Result<Vec<TypedFact>> {
        let mut facts = Vec::new();
        for _ in 0..self.value::<usize>()? {
            let datum_type = self.datum_type()?;
            facts.push(TypedFact::dt_shape(datum_type, self.expressions()?));
        }
        Ok(facts)
    }

    /// The symbol of that number.
    pub fn symbol(&self, number: usize) -> Result<Symbol> {
        self.symbols.get(number).cloned().ok_or_else(|| malformed("a size is that of no symbol"))
    }

    /// Reads weights that nodes share.
    pub fn shared<T: Packed + Send + Sync + 'static>(&mut self) -> Result<Shared<T>> {
        self.once(|reader| reader.packed().map(Shared::new))
    }

    /// Reads weights that there may be.
    pub fn optional<T: Packed + Send + Sync + 'static>(&mut self) -> Result<Option<Shared<T>>> {
        if self.value()? { self.shared().map(Some) } else { Ok(None) }
    }

    /// Reads what is shared, or takes what has been read.
    pub fn once<T: Clone + 'static>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if let Some(number) = self.value::<Option<usize>>()? {
            let known = self.shared.get(number).and_then(|shared| shared.downcast_ref::<T>());
            return known.cloned().ok_or_else(|| malformed("other weights are shared"));
        }
        let read = read(self)?;
        self.shared.push(Box::new(read.clone()));
        Ok(read)
    }

    /// Reads weights.
    pub fn packed<T: Packed>(&mut self) -> Result<T> {
        let form = self.value()?;
        let blocks = self.value::<bool>()?.then(|| self.once(|reader| reader.packed().map(Arc::new)));
        T::from_parts(form, blocks.transpose()?, self)
    }

    /// What is announced next.
    fn announced(&mut self) -> Result<Part> {
        let len: usize = self.value()?;
        if len <= MOST_INLINE {
            let there = len <= self.description.len();
            return if there { Ok(Part { len, place: None }) } else { Err(malformed("a part ends early")) };
        }
        let hash: u64 = self.value()?;
        let place = aligned(self.end).and_then(|start| Some((start, start.checked_add(len as u64)?)));
        let (start, end) =
            place.filter(|(_, end)| *end <= self.source.len()).ok_or_else(|| malformed("a part ends early"))?;
        self.end = end;
        Ok(Part { len, place: Some((start, hash)) })
    }
}

impl Parts for Reader<'_> {
    fn next_len(&mut self) -> Result<usize> {
        let next = match self.next.take() {
            Some(next) => next,
            None => self.announced()?,
        };
        let len = next.len;
        self.next = Some(next);
        Ok(len)
    }

    fn read_next(&mut self, bytes: &mut [u8]) -> Result<()> {
        let next = self.next.take().filter(|next| next.len == bytes.len());
        let next = next.ok_or_else(|| Error::internal("a part is read that was not announced"))?;
        let Some((start, hash)) = next.place else {
            let (part, rest) = self.description.split_at(bytes.len());
            bytes.copy_from_slice(part);
            self.description = rest;
            return Ok(());
        };
        let (mut offset, mut hasher) = (start, hasher());
        for piece in bytes.chunks_mut(PIECE) {
            self.source.read_at(offset, piece)?;
            hasher.write(piece);
            offset += piece.len() as u64;
        }
        if hasher.finish() == hash { Ok(()) } else { Err(damaged("weights are not those that were saved".into())) }
    }
}

/// The facts of a node's outputs: those that were saved, which must not contradict what the operator says.
fn facts_of(
    operator: &dyn TypedOp,
    graph: &TypedModel,
    inputs: &[OutletId],
    stored: Vec<TypedFact>,
) -> Result<TVec<TypedFact>, TractError> {
    let facts = inputs.iter().map(|input| graph.outlet_fact(*input)).collect::<Result<Vec<_>, _>>()?;
    let computed = operator.output_facts(&facts)?;
    let fits = |(stored, computed): (&TypedFact, &TypedFact)| {
        stored.datum_type == computed.datum_type
            && stored.rank() == computed.rank()
            && stored.shape.iter().zip(computed.shape.iter()).all(|(stored, computed)| stored.compatible_with(computed))
    };
    if stored.len() != computed.len() || !stored.iter().zip(&computed).all(fits) {
        return Err(TractError::msg(format!("{} does not give {stored:?}", operator.name())));
    }
    Ok(if operator.is::<Const>() { computed } else { stored.into() })
}

fn unfit(error: &TractError) -> Error {
    malformed(&error.root_cause().to_string())
}

/// The error of an artefact that nobody can have saved.
pub fn malformed(what: &str) -> Error {
    Error::invalid_model(format!("the artefact is not well formed: {what}"))
        .remedy("load the model itself, and save it again")
}
