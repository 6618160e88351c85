// softmax(scale · Q·Kᵀ + mask) · V in one pass over the keys (Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022,
// arXiv:2205.14135). One workgroup computes LANES * ROWS queries of one head. An invocation holds ROWS queries and their
// running sums in registers and walks over the keys, KEY_BLOCK at a time; with SPLITS > 1 the keys are dealt out to SPLITS
// invocations per query, whose sums are joined at the end.
//
// WGSL lets implementations assume that no float is infinite or NaN. So the mask is read and the result written as bits, and
// minus infinity in the mask takes a key out by a flag, not by arithmetic.

struct Parameters {
    queries: u32,
    keys: u32,
    heads_per_kv_head: u32,
    scale: f32,
    // Bits of the result for a query whose every key the mask takes out.
    all_masked: u32,
    query_batch: u32,
    query_head: u32,
    query_position: u32,
    key_batch: u32,
    key_head: u32,
    key_position: u32,
    value_batch: u32,
    value_head: u32,
    value_position: u32,
    output_batch: u32,
    output_head: u32,
    output_position: u32,
    mask_batch: u32,
    mask_head: u32,
    mask_query: u32,
    mask_key: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
//: if VECTORS
@group(1) @binding(0) var<storage, read> queries: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read> keys: array<vec4<f32>>;
@group(1) @binding(2) var<storage, read> values: array<vec4<f32>>;
//: else
@group(1) @binding(0) var<storage, read> queries: array<f32>;
@group(1) @binding(1) var<storage, read> keys: array<f32>;
@group(1) @binding(2) var<storage, read> values: array<f32>;
//: end
//: if MASKED
@group(1) @binding(3) var<storage, read> mask: array<u32>;
//: end
//: if VECTORS
@group(1) @binding(3 + MASKED) var<storage, read_write> output: array<vec4<u32>>;
//: else
@group(1) @binding(3 + MASKED) var<storage, read_write> output: array<u32>;
//: end

const LOWEST: f32 = -3.40282346638528859812e+38;
const MINUS_INFINITY: u32 = 0xff800000u;
const EXPONENT: u32 = 0x7f800000u;
const NOT_A_NUMBER: u32 = 0x7fc00000u;

// Where position 0 of the operand's head lies; strides and places count vec4s if VECTORS, else floats.
fn head_start(batch: u32, head: u32, batch_stride: u32, head_stride: u32) -> u32 {
    return batch * batch_stride + head * head_stride;
}

// The i-th four elements of the vector at a place. Elements past the end of a vector are zero.
//: if VECTORS
fn query_vector(at: u32, i: u32) -> vec4<f32> {
    return queries[at + i];
}
fn key_vector(at: u32, i: u32) -> vec4<f32> {
    return keys[at + i];
}
fn value_vector(at: u32, i: u32) -> vec4<f32> {
    return values[at + i];
}
fn write_output(at: u32, i: u32, bits: vec4<u32>) {
    output[at + i] = bits;
}
//: else
fn inside(i: u32, elements: u32) -> vec4<bool> {
    return vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(elements);
}
fn query_vector(at: u32, i: u32) -> vec4<f32> {
    let e = at + 4u * i;
    let four = vec4<f32>(queries[e], queries[e + 1u], queries[e + 2u], queries[e + 3u]);
    return select(vec4<f32>(0.0), four, inside(i, HEAD_DIM));
}
fn key_vector(at: u32, i: u32) -> vec4<f32> {
    let e = at + 4u * i;
    let four = vec4<f32>(keys[e], keys[e + 1u], keys[e + 2u], keys[e + 3u]);
    return select(vec4<f32>(0.0), four, inside(i, HEAD_DIM));
}
fn value_vector(at: u32, i: u32) -> vec4<f32> {
    let e = at + 4u * i;
    let four = vec4<f32>(values[e], values[e + 1u], values[e + 2u], values[e + 3u]);
    return select(vec4<f32>(0.0), four, inside(i, VALUE_DIM));
}
fn write_output(at: u32, i: u32, bits: vec4<u32>) {
    let present = inside(i, VALUE_DIM);
    for (var element = 0u; element < 4u; element++) {
        if (present[element]) {
            output[at + 4u * i + element] = bits[element];
        }
    }
}
//: end

// exp of a difference that is not positive, exactly 0 where float32 would be denormal or 0.
fn weight(difference: f32) -> f32 {
    return select(0.0, exp(max(difference, -87.0)), difference > -87.0);
}

// Whether the mask's value makes the row's softmax undefined: NaN or plus infinity.
fn is_undefined(bits: u32) -> bool {
    return (bits & EXPONENT) == EXPONENT && bits != MINUS_INFINITY;
}

//: if JOINED
const INVOCATIONS: u32 = LANES * SPLITS;
var<workgroup> shared_peak: array<f32, INVOCATIONS>;
// Negative where the row is undefined.
var<workgroup> shared_total: array<f32, INVOCATIONS>;
var<workgroup> shared_sum: array<vec4<f32>, INVOCATIONS * VALUE_VECTORS>;
//: end

@compute @workgroup_size(LANES * SPLITS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let lane = invocation % LANES;
    let split = invocation / LANES;
    let head = workgroup.y;
    let batch = workgroup.z;
    let kv_head = head / parameters.heads_per_kv_head;
    let query_start = head_start(batch, head, parameters.query_batch, parameters.query_head);
    let key_start = head_start(batch, kv_head, parameters.key_batch, parameters.key_head);
    let value_start = head_start(batch, kv_head, parameters.value_batch, parameters.value_head);
    let output_start = head_start(batch, head, parameters.output_batch, parameters.output_head);
    let mask_start = head_start(batch, head, parameters.mask_batch, parameters.mask_head);
    //: for row in ROWS
    let position{row} = workgroup.x * (LANES * ROWS) + {row}u * LANES + lane;
    // Invocations past the last query compute it again and write nothing.
    let query{row} = min(position{row}, parameters.queries - 1u);
    let query_at{row} = query_start + query{row} * parameters.query_position;
    let mask_at{row} = mask_start + query{row} * parameters.mask_query;
    //: for i in HEAD_VECTORS
    let query{row}_{i} = query_vector(query_at{row}, {i}u) * parameters.scale;
    //: end
    var peak{row} = LOWEST;
    var total{row} = 0.0;
    var undefined{row} = false;
    //: for i in VALUE_VECTORS
    var sum{row}_{i} = vec4<f32>(0.0);
    //: end
    //: end

    let blocks = (parameters.keys + KEY_BLOCK - 1u) / KEY_BLOCK;
    let rounds = (blocks + SPLITS - 1u) / SPLITS;
    for (var round = 0u; round < rounds; round++) {
        let first_key = (round * SPLITS + split) * KEY_BLOCK;
        //: for key in KEY_BLOCK
        let exists{key} = first_key + {key}u < parameters.keys;
        let index{key} = min(first_key + {key}u, parameters.keys - 1u);
        let key_at{key} = key_start + index{key} * parameters.key_position;
        let value_at{key} = value_start + index{key} * parameters.value_position;
        //: for row in ROWS
        var products{row}_{key} = vec4<f32>(0.0);
        //: end
        //: end
        //: for i in HEAD_VECTORS
        {
            //: for key in KEY_BLOCK
            let key{key} = key_vector(key_at{key}, {i}u);
            //: for row in ROWS
            products{row}_{key} += query{row}_{i} * key{key};
            //: end
            //: end
        }
        //: end

        //: if MASK_SHARED_BY_QUERIES
        //: for key in KEY_BLOCK
        let mask{key} = mask[mask_start + index{key} * parameters.mask_key];
        //: end
        //: end
        //: for row in ROWS
        var block_peak{row} = peak{row};
        //: for key in KEY_BLOCK
        //: if MASKED
        //: if MASK_SHARED_BY_QUERIES
        let mask{row}_{key} = mask{key};
        //: else
        let mask{row}_{key} = mask[mask_at{row} + index{key} * parameters.mask_key];
        //: end
        let taken{row}_{key} = exists{key} && mask{row}_{key} != MINUS_INFINITY;
        undefined{row} = undefined{row} || is_undefined(mask{row}_{key});
        let added{row}_{key} = bitcast<f32>(select(0u, mask{row}_{key}, taken{row}_{key}));
        //: else
        let taken{row}_{key} = exists{key};
        let added{row}_{key} = 0.0;
        //: end
        let score{row}_{key} = max(dot(products{row}_{key}, vec4<f32>(1.0)) + added{row}_{key}, LOWEST);
        block_peak{row} = max(block_peak{row}, select(LOWEST, score{row}_{key}, taken{row}_{key}));
        //: end
        let decay{row} = weight(peak{row} - block_peak{row});
        peak{row} = block_peak{row};
        total{row} *= decay{row};
        //: for key in KEY_BLOCK
        let weight{row}_{key} = select(0.0, weight(score{row}_{key} - peak{row}), taken{row}_{key});
        total{row} += weight{row}_{key};
        //: end
        //: end

        //: for i in VALUE_VECTORS
        {
            //: for key in KEY_BLOCK
            let value{key} = value_vector(value_at{key}, {i}u);
            //: end
            //: for row in ROWS
            sum{row}_{i} = sum{row}_{i} * decay{row}
                //: for key in KEY_BLOCK
                + weight{row}_{key} * value{key}
                //: end
                ;
            //: end
        }
        //: end
    }

    //: for row in ROWS
    {
        let output_at = output_start + query{row} * parameters.output_position;
        //: if JOINED
        shared_peak[invocation] = peak{row};
        shared_total[invocation] = select(total{row}, -1.0, undefined{row});
        workgroupBarrier();
        var joined_peak = LOWEST;
        for (var other = lane; other < INVOCATIONS; other += LANES) {
            joined_peak = max(joined_peak, shared_peak[other]);
        }
        var undefined = false;
        var total = 0.0;
        for (var other = lane; other < INVOCATIONS; other += LANES) {
            undefined = undefined || shared_total[other] < 0.0;
            total += shared_total[other] * weight(shared_peak[other] - joined_peak);
        }
        let decay = weight(peak{row} - joined_peak);
        //: for i in VALUE_VECTORS
        shared_sum[{i}u * INVOCATIONS + invocation] = sum{row}_{i} * decay;
        //: end
        workgroupBarrier();
        //: else
        let undefined = undefined{row};
        let total = total{row};
        //: end
        let reciprocal = 1.0 / select(1.0, total, total > 0.0);
        let replaced = undefined || total == 0.0;
        let replacement = vec4<u32>(select(parameters.all_masked, NOT_A_NUMBER, undefined));
        if (position{row} < parameters.queries) {
            //: if JOINED
            for (var i = split; i < VALUE_VECTORS; i += SPLITS) {
                var sum = vec4<f32>(0.0);
                for (var other = lane; other < INVOCATIONS; other += LANES) {
                    sum += shared_sum[i * INVOCATIONS + other];
                }
                write_output(output_at, i, select(bitcast<vec4<u32>>(sum * reciprocal), replacement, replaced));
            }
            //: else
            //: for i in VALUE_VECTORS
            write_output(output_at, {i}u, select(bitcast<vec4<u32>>(sum{row}_{i} * reciprocal), replacement, replaced));
            //: end
            //: end
        }
        //: if JOINED
        workgroupBarrier();
        //: end
    }
    //: end
}
