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

/// Where element `[batch, head, position, 0]` of an operand lies: `batch * b + head * h + position * s`, in elements.
/// The innermost axis is contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeadStrides {
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

/// One attention call: `softmax(scale · Q·Kᵀ + mask) · V` for every sequence and head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionCall {
    /// Sizes.
    pub shape: AttentionShape,
    /// Factor on the scores, before the mask is added.
    pub scale: f32,
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
