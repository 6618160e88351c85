//! The geometry of an attention call, shared by the CPU kernels and the GPU.

/// Sizes of one attention call. Query heads are grouped over key/value heads: query head `h` reads key/value head
/// `h / (heads / kv_heads)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttentionShape {
    /// Independent sequences.
    pub batch: usize,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Query positions.
    pub queries: usize,
    /// Key and value positions.
    pub keys: usize,
    /// Elements of a query or key vector.
    pub head_dim: usize,
    /// Elements of a value vector.
    pub value_dim: usize,
}

/// Where element `[batch, head, position, 0]` of an operand lies: `start + batch * b + head * h + position * s`, in elements.
/// The innermost axis is contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeadStrides {
    /// Elements before the first one.
    pub start: usize,
    /// Elements from one sequence to the next.
    pub batch: usize,
    /// Elements from one head to the next.
    pub head: usize,
    /// Elements from one position to the next.
    pub position: usize,
}

/// Where element `[batch, head, query, key]` of an additive mask lies. A stride of 0 broadcasts that axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaskStrides {
    /// Elements from one sequence to the next.
    pub batch: usize,
    /// Elements from one head to the next.
    pub head: usize,
    /// Elements from one query to the next.
    pub query: usize,
    /// Elements from one key to the next.
    pub key: usize,
}

/// The keys that a query sees, by their distance from its own position. `None` sets no bound on that side; causality is a
/// right bound of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// Keys before the query's own position.
    pub left: Option<usize>,
    /// Keys after it.
    pub right: Option<usize>,
}

/// Where a sequence's queries stand among its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// Position of the first query; the others follow it. May be negative.
    pub first_position: i64,
    /// Keys that there are; those behind them are no one's.
    pub keys: usize,
    /// Whether queries behind the last key, which are padding, stand where it does.
    pub padded: bool,
}

impl Sequence {
    /// The keys that a query sees.
    pub fn visible(&self, query: usize, window: Window) -> std::ops::Range<usize> {
        let distance = |keys: usize| i64::try_from(keys).unwrap_or(i64::MAX);
        let position = self.first_position.saturating_add(distance(query));
        let position = if self.padded { position.min(distance(self.keys) - 1) } else { position };
        let end = window.right.map_or(i64::MAX, |keys| position.saturating_add(distance(keys)).saturating_add(1));
        let end = end.clamp(0, distance(self.keys));
        let start = window.left.map_or(0, |keys| position.saturating_sub(distance(keys)));
        start.clamp(0, end) as usize..end as usize
    }
}

/// What an attention call reads.
#[derive(Debug, Clone, Copy)]
pub struct AttentionOperands<'a> {
    /// As the call's `query` says.
    pub query: &'a [f32],
    /// As the call's `key` says.
    pub key: &'a [f32],
    /// As the call's `value` says.
    pub value: &'a [f32],
    /// As the call's `mask` says.
    pub mask: Option<&'a [f32]>,
    /// One for each sequence of the batch. Without them queries start at position 0 and all keys are there.
    pub sequences: Option<&'a [Sequence]>,
    /// One for each query head: a score that belongs to no key and takes its part of the softmax.
    pub sinks: Option<&'a [f32]>,
}

impl<'a> AttentionOperands<'a> {
    /// Without mask, sequences and sinks.
    pub fn new(query: &'a [f32], key: &'a [f32], value: &'a [f32]) -> AttentionOperands<'a> {
        AttentionOperands { query, key, value, mask: None, sequences: None, sinks: None }
    }
}

/// How far the scores of a call are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum ScoreStage {
    /// `scale · Q·Kᵀ`.
    Scaled,
    /// Then capped.
    Capped,
    /// Then with the mask added, and minus infinity for keys that the query does not see.
    Masked,
    /// Then through the softmax: the probabilities.
    Probabilities,
}

/// One attention call: `softmax(cap(scale · Q·Kᵀ) + mask) · V` for every sequence and head, where
/// `cap(x) = softcap · tanh(x / softcap)`, and the softmax is over the keys that a query sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionCall {
    /// Sizes.
    pub shape: AttentionShape,
    /// Factor on the scores, before anything else.
    pub scale: f32,
    /// Bound on the scaled scores' size, before the mask is added; 0 for none.
    pub softcap: f32,
    /// Which keys a query sees.
    pub window: Window,
    /// Whether the operands say where each sequence's queries stand.
    pub sequences: bool,
    /// Whether each head has a sink.
    pub sinks: bool,
    /// Layout of the queries, `[batch, heads, queries, head_dim]`.
    pub query: HeadStrides,
    /// Layout of the keys, `[batch, kv_heads, keys, head_dim]`.
    pub key: HeadStrides,
    /// Layout of the values, `[batch, kv_heads, keys, value_dim]`.
    pub value: HeadStrides,
    /// Layout of the result, `[batch, heads, queries, value_dim]`.
    pub output: HeadStrides,
    /// Layout of the additive mask, `[batch, heads, queries, keys]`, where there is one.
    pub mask: Option<MaskStrides>,
    /// What a query gets whose every key is masked with minus infinity: zeros if set, NaN (as ONNX's Softmax) if not.
    pub zero_when_all_masked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_query_sees() {
        let causal = Window { left: None, right: Some(0) };
        let local = Window { left: Some(1), right: Some(0) };
        // Where the first query stands, keys, whether queries behind them are padding, window, and what queries 0 to 3 see.
        let cases = [
            (0, 4, false, causal, [0..1, 0..2, 0..3, 0..4]),
            (2, 5, false, local, [1..3, 2..4, 3..5, 4..5]),
            (-2, 4, false, causal, [0..0, 0..0, 0..1, 0..2]),
            (0, 2, false, local, [0..1, 0..2, 1..2, 2..2]),
            // As ONNX Runtime 1.32 computes the padding of a prompt.
            (0, 2, true, local, [0..1, 0..2, 0..2, 0..2]),
            (0, 0, true, local, [0..0, 0..0, 0..0, 0..0]),
        ];
        for (first_position, keys, padded, window, expected) in cases {
            let sequence = Sequence { first_position, keys, padded };
            let got: [_; 4] = std::array::from_fn(|query| sequence.visible(query, window));
            assert_eq!(got, expected, "{sequence:?} {window:?}");
        }
    }
}
