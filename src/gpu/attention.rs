//! Attention on the GPU: all heads of the whole batch in one dispatch of `attention.wgsl`.

use super::{
    buffers::BufferId,
    device::{Dispatch, Gpu},
    parameters::ParameterWords,
    pipelines::Kernel,
    template::expand,
};
use crate::{
    attention::{AttentionCall, AttentionShape, HeadStrides, MaskStrides, Window},
    error::{Error, Result},
};

/// The longest query, key or value vector.
const MAX_VECTOR: usize = 256;
/// Queries that an invocation works on, keys that it scores at a time, and elements in a column of the output.
const FOUR: usize = 4;
/// Invocations of a workgroup.
const INVOCATIONS: usize = 64;

/// The attention shader with everything that is compiled into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AttentionKernel {
    /// Whether every vector is made of whole, aligned groups of four floats.
    vectors: bool,
    mask: MaskAccess,
    /// Groups of four queries that a workgroup works on; a power of two.
    groups: usize,
    /// Columns of the output that an invocation works on.
    chunks: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum MaskAccess {
    None,
    SharedByQueries,
    PerQuery,
}

impl AttentionKernel {
    fn new(call: &AttentionCall) -> AttentionKernel {
        let shape = &call.shape;
        let operands = [call.query, call.key, call.value, call.output];
        let mut lengths = operands
            .iter()
            .flat_map(|operand| [operand.start, operand.batch, operand.head, operand.position])
            .chain([shape.head_dim, shape.value_dim]);
        let groups = if shape.queries <= FOUR { 1 } else { 8 };
        AttentionKernel {
            vectors: lengths.all(|length| length % FOUR == 0),
            mask: match call.mask {
                None => MaskAccess::None,
                Some(MaskStrides { query: 0, .. }) => MaskAccess::SharedByQueries,
                Some(_) => MaskAccess::PerQuery,
            },
            groups,
            chunks: shape.value_dim.div_ceil(FOUR).div_ceil(INVOCATIONS / groups),
        }
    }

    /// The shader's text.
    pub fn source(&self) -> Result<String> {
        let columns = INVOCATIONS / self.groups;
        let constants = [
            ("VECTORS", self.vectors.into()),
            ("MASKED", (self.mask != MaskAccess::None).into()),
            ("MASK_SHARED_BY_ROWS", (self.mask == MaskAccess::SharedByQueries).into()),
            ("GROUPS", self.groups as u32),
            ("COLUMNS", columns as u32),
            ("TILE", (FOUR * columns) as u32),
            ("ROWS", FOUR as u32),
            ("KEYS", FOUR as u32),
            ("CHUNKS", self.chunks as u32),
        ];
        expand(include_str!("attention.wgsl"), &constants)
    }

    /// The shader's uniform struct.
    fn parameters(&self, call: &AttentionCall) -> ParameterWords {
        let AttentionShape { heads, kv_heads, queries, keys, head_dim, value_dim, .. } = call.shape;
        let unit = if self.vectors { FOUR } else { 1 };
        let strides = |HeadStrides { start, batch, head, position }: HeadStrides| {
            [start, batch, head, position].map(|elements| elements / unit)
        };
        let operands = [call.query, call.key, call.value, call.output].map(strides);
        let mask = call.mask.map_or([0; 4], |mask| [mask.batch, mask.head, mask.query, mask.key]);
        let all_masked: f32 = if call.zero_when_all_masked { 0.0 } else { f32::NAN };
        let sizes = [queries, keys, heads / kv_heads, head_dim, value_dim];
        let words = (sizes.iter().map(|&size| size as u32))
            .chain([call.scale.to_bits(), all_masked.to_bits()])
            .chain(operands.as_flattened().iter().chain(&mask).map(|&stride| stride as u32));
        let mut parameters: ParameterWords = std::array::from_fn(|_| 0);
        parameters.iter_mut().zip(words).for_each(|(parameter, word)| *parameter = word);
        parameters
    }

    fn workgroups(&self, shape: &AttentionShape) -> [usize; 3] {
        [shape.queries.div_ceil(FOUR * self.groups), shape.heads, shape.batch]
    }
}

impl Gpu {
    /// Whether the device can do this call; if not, why.
    pub fn supports_attention(&self, call: &AttentionCall) -> Result<(), String> {
        let shape = &call.shape;
        let AttentionShape { batch, heads, kv_heads, queries, keys, head_dim, value_dim } = *shape;
        if [batch, heads, kv_heads, queries, keys, head_dim, value_dim].contains(&0) {
            return Err("a size is zero".into());
        }
        if heads % kv_heads != 0 {
            return Err(format!("{heads} query heads do not divide into groups over {kv_heads} key/value heads"));
        }
        if head_dim.max(value_dim) > MAX_VECTOR {
            return Err(format!("vectors of {} elements are longer than {MAX_VECTOR}", head_dim.max(value_dim)));
        }
        if !call.scale.is_finite() {
            return Err(format!("the scale {} is not finite", call.scale));
        }
        if call.softcap != 0.0 || call.window != Window::default() || call.sequences || call.sinks {
            return Err("capped scores, windows, places of sequences and sinks are the CPU's".into());
        }
        let largest = self.limits().max_storage_buffer_binding_size.min(u64::from(u32::MAX)) / 4;
        for (operand, elements) in operands(call) {
            if elements > largest {
                return Err(format!("the {operand} has {elements} elements, the GPU binds at most {largest}"));
            }
        }
        if output_overlaps(call) {
            return Err("elements of the output overlap".into());
        }
        let groups = AttentionKernel::new(call).workgroups(shape);
        let most = self.limits().max_compute_workgroups_per_dimension as usize;
        if groups.iter().any(|&groups| groups > most) {
            return Err(format!("{groups:?} workgroups are needed, the GPU allows {most} along each axis"));
        }
        Ok(())
    }

    /// Encodes one attention call. Nothing is submitted.
    ///
    /// `output` must be none of the others and be as large as the call's layout of it says; elements between the call's
    /// stay as they are. A query with NaN or plus infinity among its scores or in its mask gives NaN.
    ///
    /// # Errors
    /// `UnsupportedOp` for a call that [`supports_attention`](Gpu::supports_attention) refuses, `InternalError` for a tensor
    /// that is smaller than the call's layout of it, `DeviceLost`.
    pub fn attention(
        &mut self,
        call: &AttentionCall,
        query: BufferId,
        key: BufferId,
        value: BufferId,
        mask: Option<BufferId>,
        output: BufferId,
    ) -> Result<()> {
        self.supports_attention(call).map_err(|reason| Error::unsupported_op(reason).op("Attention"))?;
        let tensors: Vec<BufferId> = [query, key, value].into_iter().chain(mask).chain([output]).collect();
        let operands = operands(call);
        if operands.len() != tensors.len() {
            return Err(Error::internal("attention has a mask if and only if its call has").op("Attention"));
        }
        for ((operand, elements), &tensor) in operands.iter().zip(&tensors) {
            let present = self.elements(tensor)? as u64;
            if present < *elements {
                let message = format!("the {operand} has {present} elements, the call reaches {elements}");
                return Err(Error::internal(message).op("Attention"));
            }
        }
        let kernel = AttentionKernel::new(call);
        self.dispatch(&Dispatch {
            kernel: Kernel::Attention(kernel),
            parameters: &kernel.parameters(call),
            tensors: &tensors,
            workgroups: kernel.workgroups(&call.shape).map(|groups| groups as u32),
        })
    }
}

/// The operands in the order in which the shader binds them, and how many elements of each the call reaches.
fn operands(call: &AttentionCall) -> Vec<(&'static str, u64)> {
    let AttentionShape { batch, heads, kv_heads, queries, keys, head_dim, value_dim } = call.shape;
    let vectors = |strides: HeadStrides, heads: usize, positions: usize, elements: usize| {
        let axes = [(batch, strides.batch), (heads, strides.head), (positions, strides.position), (elements, 1)];
        reach(axes).saturating_add(strides.start as u64)
    };
    let mask = call.mask.map(|mask| {
        ("mask", reach([(batch, mask.batch), (heads, mask.head), (queries, mask.query), (keys, mask.key)]))
    });
    [
        ("query", vectors(call.query, heads, queries, head_dim)),
        ("key", vectors(call.key, kv_heads, keys, head_dim)),
        ("value", vectors(call.value, kv_heads, keys, value_dim)),
    ]
    .into_iter()
    .chain(mask)
    .chain([("output", vectors(call.output, heads, queries, value_dim))])
    .collect()
}

/// One more than the offset of the last element, given the length and stride of each axis.
fn reach(axes: [(usize, usize); 4]) -> u64 {
    axes.iter()
        .fold(1, |reach, &(length, stride)| (length as u64 - 1).saturating_mul(stride as u64).saturating_add(reach))
}

/// Whether two elements of the output would lie in the same place.
fn output_overlaps(call: &AttentionCall) -> bool {
    let shape = &call.shape;
    let mut axes =
        [(call.output.position, shape.queries), (call.output.head, shape.heads), (call.output.batch, shape.batch)];
    axes.sort_unstable();
    let mut reach = shape.value_dim;
    axes.iter().filter(|(_, length)| *length > 1).any(|&(stride, length)| {
        let overlaps = stride < reach;
        reach += stride * (length - 1);
        overlaps
    })
}

#[cfg(any(test, feature = "selftest"))]
pub use cases::self_test;

#[cfg(any(test, feature = "selftest"))]
mod cases {
    use super::*;

    /// Where the vectors of an operand lie.
    #[derive(Debug, Clone, Copy)]
    enum Layout {
        /// `[batch, heads, positions, elements]`.
        HeadsFirst,
        /// `[batch, positions, heads, elements]`.
        PositionsFirst,
        /// As `HeadsFirst`, each vector followed by this many elements that belong to nobody.
        Spaced(usize),
        /// As `PositionsFirst`, with so many elements that belong to others before each position's vectors and behind them.
        Columns(usize, usize),
    }

    impl Layout {
        fn strides(self, heads: usize, positions: usize, elements: usize) -> HeadStrides {
            let [start, head, position] = match self {
                Layout::HeadsFirst => [0, positions * elements, elements],
                Layout::PositionsFirst => [0, elements, heads * elements],
                Layout::Spaced(gap) => [0, positions * (elements + gap), elements + gap],
                Layout::Columns(before, behind) => [before, elements, before + heads * elements + behind],
            };
            HeadStrides { start, batch: (heads * head).max(positions * position), head, position }
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Mask {
        None,
        /// `[batch, 1, 1, keys]`: the last third of the keys has this value, the others 0.
        Padding(f32),
        /// `[1, 1, 1, keys]`: every key has this value.
        Everywhere(f32),
        /// `[1, 1, queries, keys]`: this value where the key comes after the query.
        Causal(f32),
        /// `[batch, heads, queries, keys]`: arbitrary values, and every key of each third query has this value.
        Full(f32),
    }

    impl Mask {
        fn at(self, shape: &AttentionShape, [batch, head, query, key]: [usize; 4]) -> f32 {
            match self {
                Mask::None => 0.0,
                Mask::Padding(value) if key >= shape.keys - (shape.keys + batch) / 3 => value,
                Mask::Causal(value) if key > query => value,
                Mask::Everywhere(value) => value,
                Mask::Full(value) if query % 3 == 2 => value,
                Mask::Full(_) => noise(batch + 3 * head + 5 * query + 7 * key),
                Mask::Padding(_) | Mask::Causal(_) => 0.0,
            }
        }

        fn strides(self, shape: &AttentionShape) -> Option<MaskStrides> {
            let AttentionShape { heads, queries, keys, .. } = *shape;
            let (batch, head, query) = match self {
                Mask::None => return None,
                Mask::Padding(_) => (keys, 0, 0),
                Mask::Everywhere(_) => (0, 0, 0),
                Mask::Causal(_) => (0, 0, keys),
                Mask::Full(_) => (heads * queries * keys, queries * keys, keys),
            };
            Some(MaskStrides { batch, head, query, key: 1 })
        }
    }

    #[derive(Debug)]
    struct Case {
        /// Batch, heads, kv_heads, queries, keys, head_dim, value_dim.
        shape: [usize; 7],
        layout: Layout,
        mask: Mask,
        zero_when_all_masked: bool,
        /// Which of query, key and value has a NaN among its elements.
        spoiled: Option<usize>,
    }

    const fn case(shape: [usize; 7], layout: Layout, mask: Mask) -> Case {
        Case { shape, layout, mask, zero_when_all_masked: false, spoiled: None }
    }

    const fn zero_when_all_masked(case: Case) -> Case {
        Case { zero_when_all_masked: true, ..case }
    }

    const fn spoiled(operand: usize, case: Case) -> Case {
        Case { spoiled: Some(operand), ..case }
    }

    const MINUS_INFINITY: f32 = f32::NEG_INFINITY;
    use Layout::{Columns, HeadsFirst, PositionsFirst, Spaced};

    const CASES: &[Case] = &[
        case([1, 1, 1, 1, 1, 16, 16], HeadsFirst, Mask::None),
        case([1, 12, 12, 7, 7, 32, 32], PositionsFirst, Mask::Padding(f32::MIN)),
        case([2, 12, 12, 33, 33, 32, 32], PositionsFirst, Mask::Padding(-10000.0)),
        case([2, 12, 12, 7, 33, 64, 64], HeadsFirst, Mask::Padding(MINUS_INFINITY)),
        case([1, 2, 2, 128, 128, 64, 64], PositionsFirst, Mask::None),
        case([1, 2, 1, 131, 131, 32, 32], PositionsFirst, Mask::Padding(f32::MIN)),
        case([3, 4, 2, 1, 131, 64, 64], HeadsFirst, Mask::Padding(MINUS_INFINITY)),
        case([1, 12, 4, 1, 128, 80, 80], HeadsFirst, Mask::None),
        case([1, 12, 4, 33, 7, 80, 80], PositionsFirst, Mask::Full(f32::MIN)),
        case([2, 4, 1, 33, 33, 32, 32], HeadsFirst, Mask::Causal(MINUS_INFINITY)),
        case([1, 4, 4, 131, 33, 16, 16], HeadsFirst, Mask::Causal(f32::MIN)),
        case([1, 2, 2, 7, 128, 16, 32], Spaced(4), Mask::Full(MINUS_INFINITY)),
        case([2, 2, 2, 7, 33, 16, 16], Spaced(1), Mask::Padding(MINUS_INFINITY)),
        case([1, 2, 1, 33, 7, 18, 10], PositionsFirst, Mask::Full(f32::MIN)),
        case([2, 12, 12, 33, 33, 32, 32], Columns(384, 384), Mask::Padding(f32::MIN)),
        case([1, 4, 2, 7, 33, 64, 32], Columns(4, 8), Mask::Causal(MINUS_INFINITY)),
        case([2, 2, 2, 7, 33, 16, 16], Columns(2, 2), Mask::Padding(MINUS_INFINITY)),
        case([1, 2, 1, 33, 7, 18, 10], Columns(3, 5), Mask::Full(f32::MIN)),
        case([1, 2, 2, 1, 7, 16, 16], Columns(0, 4), Mask::None),
        case([1, 1, 1, 7, 7, 5, 3], HeadsFirst, Mask::None),
        case([1, 1, 1, 7, 33, 128, 128], HeadsFirst, Mask::None),
        case([1, 1, 1, 7, 33, 256, 256], HeadsFirst, Mask::Causal(MINUS_INFINITY)),
        case([2, 1, 1, 7, 33, 32, 32], HeadsFirst, Mask::Everywhere(f32::MIN)),
        case([2, 1, 1, 7, 33, 32, 32], HeadsFirst, Mask::Everywhere(MINUS_INFINITY)),
        case([1, 1, 1, 7, 7, 32, 32], HeadsFirst, Mask::Everywhere(f32::NAN)),
        case([1, 1, 1, 7, 7, 32, 32], HeadsFirst, Mask::Everywhere(f32::INFINITY)),
        case([1, 1, 1, 33, 33, 32, 32], HeadsFirst, Mask::Full(f32::NAN)),
        zero_when_all_masked(case([2, 1, 1, 7, 33, 32, 32], HeadsFirst, Mask::Everywhere(MINUS_INFINITY))),
        zero_when_all_masked(case([1, 2, 2, 33, 7, 32, 32], PositionsFirst, Mask::Full(MINUS_INFINITY))),
        zero_when_all_masked(case([1, 1, 1, 7, 33, 32, 32], HeadsFirst, Mask::Everywhere(f32::MIN))),
        spoiled(0, case([1, 1, 1, 7, 7, 32, 32], HeadsFirst, Mask::None)),
        spoiled(1, case([1, 2, 1, 33, 33, 32, 32], HeadsFirst, Mask::Causal(f32::MIN))),
        spoiled(2, case([1, 1, 1, 7, 33, 32, 32], HeadsFirst, Mask::Padding(MINUS_INFINITY))),
    ];

    impl Case {
        fn call(&self) -> AttentionCall {
            let [batch, heads, kv_heads, queries, keys, head_dim, value_dim] = self.shape;
            let shape = AttentionShape { batch, heads, kv_heads, queries, keys, head_dim, value_dim };
            AttentionCall {
                shape,
                scale: 2.0 / (head_dim as f32).sqrt(),
                softcap: 0.0,
                window: Window::default(),
                sequences: false,
                sinks: false,
                query: self.layout.strides(heads, queries, head_dim),
                key: self.layout.strides(kv_heads, keys, head_dim),
                value: self.layout.strides(kv_heads, keys, value_dim),
                output: self.layout.strides(heads, queries, value_dim),
                mask: self.mask.strides(&shape),
                zero_when_all_masked: self.zero_when_all_masked,
            }
        }
    }

    /// A value between -1 and 1 that depends on the index in no simple way.
    fn noise(index: usize) -> f32 {
        let bits = (index as u32 ^ 0x9e37_79b9).wrapping_mul(0x85eb_ca6b);
        let bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
        ((bits ^ (bits >> 16)) >> 8) as f32 / f32::from(1_u16 << 15) / 256.0 - 1.0
    }

    struct Inputs {
        query: Vec<f32>,
        key: Vec<f32>,
        value: Vec<f32>,
        mask: Vec<f32>,
    }

    /// What stands in the output before the call.
    const UNTOUCHED: f32 = 77.0;

    fn inputs(case: &Case) -> Inputs {
        let call = case.call();
        let shape = &call.shape;
        let sizes = operands(&call);
        let noise =
            |operand: usize, salt: usize| (0..sizes[operand].1 as usize).map(|i| noise(i + salt)).collect::<Vec<_>>();
        let mut mask = Vec::new();
        if let Some(strides) = call.mask {
            mask = vec![0.0; sizes[3].1 as usize];
            for place @ [batch, head, query, key] in places([shape.batch, shape.heads, shape.queries, shape.keys]) {
                let index = batch * strides.batch + head * strides.head + query * strides.query + key * strides.key;
                mask[index] = case.mask.at(shape, place);
            }
        }
        let mut vectors = [noise(0, 1000), noise(1, 2_000_000), noise(2, 5_000_000)];
        if let Some(operand) = case.spoiled {
            vectors[operand][7] = f32::NAN;
        }
        let [query, key, value] = vectors;
        Inputs { query, key, value, mask }
    }

    fn places([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
        (0..a * b * c * d).map(move |i| [i / d / c / b, i / d / c % b, i / d % c, i % d])
    }

    /// The definition, in float64 but for the sum of score and mask, whose rounding to float32 is what makes a mask of the
    /// lowest float32 uniform.
    fn reference(call: &AttentionCall, inputs: &Inputs) -> Vec<f64> {
        let shape = &call.shape;
        let start = |strides: HeadStrides, [batch, head, position]: [usize; 3]| {
            strides.start + batch * strides.batch + head * strides.head + position * strides.position
        };
        let mut output = vec![f64::from(UNTOUCHED); operands(call).last().unwrap().1 as usize];
        for [batch, head, query, _] in places([shape.batch, shape.heads, shape.queries, 1]) {
            let kv_head = head / (shape.heads / shape.kv_heads);
            let scores: Vec<f64> = (0..shape.keys)
                .map(|key| {
                    let q = &inputs.query[start(call.query, [batch, head, query])..][..shape.head_dim];
                    let k = &inputs.key[start(call.key, [batch, kv_head, key])..][..shape.head_dim];
                    let dot: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                    let mask = call.mask.map_or(0.0, |mask| {
                        inputs.mask[batch * mask.batch + head * mask.head + query * mask.query + key * mask.key]
                    });
                    f64::from((f64::from(call.scale) * dot) as f32 + mask)
                })
                .collect();
            let all_masked = scores.iter().all(|score| *score == f64::NEG_INFINITY);
            let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - peak).exp()).collect();
            let total: f64 = weights.iter().sum();
            for element in 0..shape.value_dim {
                let sum: f64 = (0..shape.keys)
                    .map(|key| {
                        let place = start(call.value, [batch, kv_head, key]) + element;
                        weights[key] / total * f64::from(inputs.value[place])
                    })
                    .sum();
                let zero = all_masked && call.zero_when_all_masked;
                output[start(call.output, [batch, head, query]) + element] = if zero { 0.0 } else { sum };
            }
        }
        output
    }

    /// Runs every case of the table on the device and says what came out wrong. An empty
    /// list means that the device computes attention as it should.
    pub async fn self_test(gpu: &mut Gpu) -> Vec<String> {
        let mut failures = Vec::new();
        for case in CASES {
            if let Err(reason) = run(gpu, case).await {
                failures.push(format!("{case:?}: {reason}"));
            }
        }
        failures
    }

    async fn run(gpu: &mut Gpu, case: &Case) -> Result<(), String> {
        let call = case.call();
        let inputs = inputs(case);
        let expected = reference(&call, &inputs);
        let untouched = vec![UNTOUCHED; expected.len()];
        let mut contents = vec![&inputs.query, &inputs.key, &inputs.value, &inputs.mask, &untouched];
        contents.retain(|data| !data.is_empty());
        let got = async {
            let tensors = contents.into_iter().map(|data| gpu.upload(data)).collect::<Result<Vec<_>>>()?;
            let [query, key, value] = [tensors[0], tensors[1], tensors[2]];
            let output = *tensors.last().unwrap();
            gpu.attention(&call, query, key, value, call.mask.map(|_| tensors[3]), output)?;
            let got = gpu.read(output).await;
            tensors.into_iter().for_each(|tensor| gpu.release(tensor));
            got
        };
        let got = got.await.map_err(|error| error.to_string())?;
        let agree = |got: f64, expected: f64| (got - expected).abs() <= 1e-5 || got.is_nan() && expected.is_nan();
        match got.iter().zip(&expected).position(|(got, expected)| !agree(f64::from(*got), *expected)) {
            None => Ok(()),
            Some(index) => Err(format!("element {index} is {}, expected {}", got[index], expected[index])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::device::tests::test_gpu;

    #[test]
    fn every_case_agrees_with_the_definition() {
        let Some(mut gpu) = test_gpu() else { return };
        let failures = pollster::block_on(self_test(&mut gpu));
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    fn call() -> AttentionCall {
        let strides = HeadStrides { start: 0, batch: 64, head: 32, position: 8 };
        AttentionCall {
            shape: AttentionShape { batch: 2, heads: 2, kv_heads: 2, queries: 4, keys: 4, head_dim: 8, value_dim: 8 },
            scale: 1.0,
            softcap: 0.0,
            window: Window::default(),
            sequences: false,
            sinks: false,
            query: strides,
            key: strides,
            value: strides,
            output: strides,
            mask: None,
            zero_when_all_masked: false,
        }
    }

    #[test]
    fn calls_that_the_device_cannot_do_are_refused() {
        struct Case {
            change: fn(&mut AttentionCall),
            reason: Option<&'static str>,
        }
        let cases = [
            Case { change: |_| (), reason: None },
            Case { change: |call| call.shape.keys = 0, reason: Some("a size is zero") },
            Case { change: |call| call.shape.kv_heads = 3, reason: Some("do not divide into groups") },
            Case { change: |call| call.shape.head_dim = 257, reason: Some("longer than 256") },
            Case { change: |call| call.shape.value_dim = 257, reason: Some("longer than 256") },
            Case { change: |call| call.scale = f32::NAN, reason: Some("is not finite") },
            Case { change: |call| call.softcap = 5.0, reason: Some("the CPU's") },
            Case { change: |call| call.window.right = Some(0), reason: Some("the CPU's") },
            Case { change: |call| call.sequences = true, reason: Some("the CPU's") },
            Case { change: |call| call.sinks = true, reason: Some("the CPU's") },
            Case { change: |call| call.output.position = 7, reason: Some("overlap") },
            Case { change: |call| call.output.batch = 0, reason: Some("overlap") },
            Case { change: |call| call.key.batch = usize::MAX, reason: Some("the key has") },
            Case { change: |call| call.value.start = usize::MAX, reason: Some("the value has") },
            Case {
                change: |call| {
                    call.mask = Some(MaskStrides { batch: 1 << 40, head: 0, query: 0, key: 1 });
                },
                reason: Some("the mask has"),
            },
            Case {
                change: |call| {
                    call.shape.batch = 70_000;
                    call.shape.heads = 1;
                    call.shape.kv_heads = 1;
                },
                reason: Some("workgroups are needed"),
            },
        ];
        let Some(gpu) = test_gpu() else { return };
        for case in cases {
            let mut call = call();
            (case.change)(&mut call);
            match (gpu.supports_attention(&call), case.reason) {
                (Ok(()), None) => {}
                (Err(got), Some(reason)) => assert!(got.contains(reason), "{got}"),
                (got, reason) => panic!("got {got:?}, expected {reason:?}"),
            }
        }
    }

    #[test]
    fn tensors_that_do_not_fit_the_call_are_refused() {
        let Some(mut gpu) = test_gpu() else { return };
        let [whole, output, short] = [128, 128, 127].map(|elements| gpu.allocate(elements).unwrap());
        struct Case {
            tensors: [BufferId; 4],
            mask: Option<BufferId>,
            reason: &'static str,
        }
        let cases = [
            Case { tensors: [short, whole, whole, output], mask: None, reason: "the query has 127 elements" },
            Case { tensors: [whole, short, whole, output], mask: None, reason: "the key has 127 elements" },
            Case { tensors: [whole, whole, short, output], mask: None, reason: "the value has 127 elements" },
            Case { tensors: [whole, whole, whole, short], mask: None, reason: "the output has 127 elements" },
            Case { tensors: [whole, whole, whole, output], mask: Some(whole), reason: "if and only if" },
            Case {
                tensors: [whole, whole, whole, whole],
                mask: None,
                reason: "cannot write to a tensor that it reads",
            },
        ];
        for case in cases {
            let [query, key, value, output] = case.tensors;
            let error = gpu.attention(&call(), query, key, value, case.mask, output).unwrap_err();
            assert!(error.message.contains(case.reason), "{error}");
        }
        assert_eq!(gpu.counters().dispatches, 0);
    }
}
