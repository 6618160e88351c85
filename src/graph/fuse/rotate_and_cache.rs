//! What stands before the attention of a decoder's layer: the rotations of queries and keys, and the caches of keys and values.

use super::Match;
use super::pattern::{producer, read_once};
use crate::ops::{AppendToCache, Attention, HeadLayout, RotaryEmbedding, RotateAndCache};
use tract_core::internal::*;

/// Looks for an attention on rotated queries, and on caches that nothing else in the graph reads. Whatever depends on these then
/// depends on the attention, so that none of their inputs does, and they can be computed all at once.
pub fn look(model: &TypedModel, node: &TypedNode) -> TractResult<Match> {
    if !node.op_is::<Attention>() {
        return Ok(Match::None);
    }
    let [query, key, value] = [0, 1, 2].map(|operand| producer(model, node.inputs[operand]));
    let Some((keys, values)) = caches(node, key, value) else { return Ok(Match::None) };
    let rotated = producer(model, key.inputs[0]);
    let (Some(rotary), Some(key_rotary)) = (query.op_as::<RotaryEmbedding>(), rotated.op_as()) else {
        return Ok(Match::None);
    };
    let read_there = read_once(model, node.inputs[0]) && read_once(model, key.inputs[0]);
    if !read_there
        || !are_alike(model, [query, rotated], [rotary, key_rotary])?
        || !are_heads(model, rotated, key_rotary, keys)?
    {
        return Ok(Match::None);
    }
    let keys = AppendToCache { columns: key_rotary.columns, ..keys.clone() };
    let operator = RotateAndCache { query: rotary.clone(), keys, values: values.clone() };
    let (past, lengths) = value.inputs[1..].split_at(values.past as usize);
    let mut inputs = vec![query.inputs[0], rotated.inputs[0], value.inputs[0]];
    inputs.extend(&query.inputs[1..]);
    inputs.extend(&key.inputs[1..1 + past.len()]);
    inputs.extend(past.iter().chain(lengths));
    let mut patch = TypedModelPatch::default();
    let taps = patch.taps(model, &inputs)?;
    let outlets = patch.wire_node(&*query.name, operator, &taps)?;
    for (replaced, outlet) in [query, key, value].into_iter().zip(outlets) {
        patch.shunt_outside(model, OutletId::new(replaced.id, 0), outlet)?;
    }
    Ok(Match::Found(Box::new(patch)))
}

/// The caches of keys and values, if they are of the same kind and only the attention reads them.
fn caches<'a>(
    attention: &TypedNode,
    key: &'a TypedNode,
    value: &'a TypedNode,
) -> Option<(&'a AppendToCache, &'a AppendToCache)> {
    let (keys, values) = (key.op_as::<AppendToCache>()?, value.op_as::<AppendToCache>()?);
    let behind = 1 + keys.past as usize;
    let alike =
        (keys.past, &keys.buffer) == (values.past, &values.buffer) && key.inputs[behind..] == value.inputs[behind..];
    let readers = [key, value].into_iter().flat_map(|cache| &cache.outputs[0].successors);
    let alone = key.id != value.id && readers.into_iter().all(|reader| reader.node == attention.id);
    (alike && alone).then_some((keys, values))
}

/// Whether two nodes rotate as many tokens in the same way.
fn are_alike(model: &TypedModel, nodes: [&TypedNode; 2], rotaries: [&RotaryEmbedding; 2]) -> TractResult<bool> {
    let ([query, key], [one, other]) = (nodes, rotaries);
    let tokens = |node: &TypedNode, rotary: &RotaryEmbedding| -> TractResult<[TDim; 2]> {
        let shape = &model.outlet_fact(OutletId::new(node.id, 0))?.shape;
        Ok([shape[0].clone(), shape[rotary.layout.position_axis()].clone()])
    };
    let same_way = (one.interleaved, one.positions) == (other.interleaved, other.positions);
    Ok(same_way && query.inputs[1..] == key.inputs[1..] && tokens(query, one)? == tokens(key, other)?)
}

/// Whether each vector that is rotated is a head of the cache.
fn are_heads(
    model: &TypedModel,
    rotated: &TypedNode,
    rotary: &RotaryEmbedding,
    keys: &AppendToCache,
) -> TractResult<bool> {
    if rotary.layout != keys.layout || keys.columns.is_some() {
        return Ok(false);
    }
    let width = &model.outlet_fact(OutletId::new(rotated.id, 0))?.shape[2];
    let pairs = model.outlet_fact(rotated.inputs[1])?.shape.last();
    let as_many = match rotary.heads {
        Some(heads) => heads == keys.heads,
        None => pairs.is_some_and(|pairs| pairs.clone() * (2 * keys.heads) == *width),
    };
    Ok(rotary.layout != HeadLayout::Packed || as_many)
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Expected, Sketch};
    use super::*;
    use crate::ops::{Buffer, Positions};
    use tract_core::ops::array::TypedConcat;
    use tract_core::ops::math;

    /// The outlets of a layer: two sequences of three tokens, of four elements a head, behind two earlier ones.
    struct Layer {
        sketch: Sketch,
        heads: Option<usize>,
        buffer: Option<Buffer>,
        past: bool,
        interleaved: [bool; 2],
        layout: HeadLayout,
        /// Cosines, sines and positions of queries, and of keys.
        tables: [Vec<OutletId>; 2],
        /// Of keys, and of values.
        lengths: [Vec<OutletId>; 2],
        key_tokens: usize,
    }

    impl Layer {
        fn new() -> Layer {
            let mut layer = Layer {
                sketch: Sketch::new(),
                heads: Some(1),
                buffer: None,
                past: true,
                interleaved: [false; 2],
                layout: HeadLayout::Packed,
                tables: [vec![], vec![]],
                lengths: [vec![], vec![]],
                key_tokens: 3,
            };
            layer.rotate_pairs(2);
            layer
        }

        /// Makes the tables of that many pairs.
        fn rotate_pairs(&mut self, pairs: usize) {
            let caches = [(); 2].map(|()| self.sketch.input(&[8, pairs]));
            let tables = vec![caches[0], caches[1], self.sketch.typed_input(i64::datum_type(), &[2])];
            self.tables = [tables.clone(), tables];
        }

        fn operand(&mut self, tokens: usize, heads: usize) -> OutletId {
            match self.layout {
                HeadLayout::Packed => self.sketch.input(&[2, tokens, 4 * heads]),
                HeadLayout::PositionMajor => self.sketch.input(&[2, tokens, heads, 4]),
                HeadLayout::HeadMajor => self.sketch.input(&[2, heads, tokens, 4]),
            }
        }

        fn rotated(&mut self, x: OutletId, which: usize, heads: Option<usize>) -> OutletId {
            let (layout, interleaved) = (self.layout, self.interleaved[which]);
            let operator =
                RotaryEmbedding { heads, layout, columns: None, interleaved, positions: Positions::Following };
            let inputs = [&[x], &*self.tables[which]].concat();
            self.sketch.wire(operator, &inputs)
        }

        fn cached(&mut self, new: OutletId, which: usize) -> OutletId {
            let (layout, past, buffer) = (self.layout, self.past, self.buffer.clone());
            let past_rows = past.then(|| self.sketch.input(&[2, 1, 2, 4]));
            let inputs: Vec<OutletId> = [new].into_iter().chain(past_rows).chain(self.lengths[which].clone()).collect();
            self.sketch.wire(AppendToCache { heads: 1, layout, columns: None, past, buffer }, &inputs)
        }

        /// The rotated queries, the rotated keys, and the caches of keys and values.
        fn parts(&mut self) -> [OutletId; 4] {
            let [query, key, value] =
                [(3, 2), (self.key_tokens, 1), (self.key_tokens, 1)].map(|(tokens, heads)| self.operand(tokens, heads));
            let query = self.rotated(query, 0, Some(2));
            let rotated = self.rotated(key, 1, self.heads);
            [query, rotated, self.cached(rotated, 0), self.cached(value, 1)]
        }

        fn attention(&mut self, query: OutletId, key: OutletId, value: OutletId) -> OutletId {
            let layout = HeadLayout::HeadMajor;
            let operator = Attention { key: layout, value: layout, ..Attention::new(2, 1, Some(0.5), self.layout) };
            self.sketch.wire(operator, &[query, key, value])
        }
    }

    #[test]
    fn layers() {
        use Expected::{Fused, Not};
        let lengths = |layer: &mut Layer, lengths: [i64; 2]| {
            layer.buffer = Some(Buffer { length: 5.to_dim(), minted: false });
            vec![layer.sketch.constant(tensor1(&lengths)), layer.sketch.constant(tensor0(5i64))]
        };
        type Change = fn(&mut Layer);
        let cases: [(&str, Change, Expected); 10] = [
            ("packed", |_| (), Fused),
            ("heads in front", |layer| layer.layout = HeadLayout::HeadMajor, Fused),
            ("heads that the caches tell", |layer| layer.heads = None, Fused),
            ("no past", |layer| layer.past = false, Fused),
            ("neighbours", |layer| layer.interleaved = [true; 2], Fused),
            ("queries in another way", |layer| layer.interleaved = [true, false], Not("")),
            ("other angles", |layer| layer.tables[1][0] = layer.sketch.input(&[8, 2]), Not("")),
            ("two vectors in a head", |layer| (layer.heads, _) = (Some(2), layer.rotate_pairs(1)), Not("")),
            ("as the caches tell", |layer| (layer.heads, _) = (None, layer.rotate_pairs(1)), Not("")),
            ("more keys than queries", |layer| layer.key_tokens = 4, Not("")),
        ];
        for (what, change, expected) in cases {
            let mut layer = Layer::new();
            change(&mut layer);
            let [query, _, key, value] = layer.parts();
            let attended = layer.attention(query, key, value);
            layer.sketch.check(what, &[attended, key, value], "rotation and cache", expected);
        }
        for (what, same, expected) in [("a buffer", true, Fused), ("lengths of the values alone", false, Not(""))] {
            let mut layer = Layer::new();
            let of_keys = lengths(&mut layer, [5, 4]);
            let of_values = if same { of_keys.clone() } else { lengths(&mut layer, [4, 5]) };
            layer.lengths = [of_keys, of_values];
            let [query, _, key, value] = layer.parts();
            let attended = layer.attention(query, key, value);
            layer.sketch.check(what, &[key, attended, value], "rotation and cache", expected);
        }
    }

    #[test]
    fn what_else_reads_them() {
        use Expected::{Fused, Not};
        type Other = fn(&mut Layer, [OutletId; 4], OutletId) -> OutletId;
        let cases: [(&str, Other, Expected); 5] = [
            ("nothing", |_, _, attended| attended, Fused),
            ("the queries are an output", |_, [query, ..], _| query, Not("")),
            ("the rotated keys are an output", |_, [_, rotated, ..], _| rotated, Not("")),
            ("the keys are read", |layer, [_, _, key, _], _| layer.sketch.wire(math::neg(), &[key]), Not("")),
            ("the values are read", |layer, [_, _, _, value], _| layer.sketch.wire(math::neg(), &[value]), Not("")),
        ];
        for (what, other, expected) in cases {
            let mut layer = Layer::new();
            let parts = layer.parts();
            let attended = layer.attention(parts[0], parts[2], parts[3]);
            let other = other(&mut layer, parts, attended);
            layer.sketch.check(what, &[attended, other], "rotation and cache", expected);
        }
    }

    #[test]
    fn one_cache_of_both() {
        let mut layer = Layer::new();
        let [query, _, key, _] = layer.parts();
        let attended = layer.attention(query, key, key);
        layer.sketch.check("keys as values", &[attended], "rotation and cache", Expected::Not(""));
    }

    #[test]
    fn a_cache_written_out() {
        let mut layer = Layer::new();
        layer.layout = HeadLayout::HeadMajor;
        let new = [2, 1, 1].map(|heads| layer.operand(3, heads));
        let [query, key] = [0, 1].map(|which| layer.rotated(new[which], which, None));
        let [key, value] = [key, new[2]].map(|new| {
            let past = layer.sketch.input(&[2, 1, 0, 4]);
            layer.sketch.wire(TypedConcat { axis: 2 }, &[past, new])
        });
        let attended = layer.attention(query, key, value);
        layer.sketch.check("concatenations", &[value, attended, key], "rotation and cache", Expected::Fused);
    }
}
