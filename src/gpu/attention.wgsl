// softmax(scale · Q·Kᵀ + mask) · V in one pass over the keys (Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022,
// arXiv:2205.14135). A workgroup is GROUPS × COLUMNS invocations on one head. The invocations of a group share four queries,
// the rows; at a time the workgroup takes a tile of 4 * COLUMNS keys. Each invocation first scores four of the keys for its
// rows; then, the tile's weights being known to its group, it adds the tile's values to its columns of the output, each
// column four elements wide. A vec4 or the columns of a matrix run over the rows where nothing else is said.
//
// WGSL lets implementations assume that no float is infinite or NaN. So the mask is read and the result written as bits, and
// minus infinity in the mask takes a key out by a flag, not by arithmetic.

struct Parameters {
    queries: u32,
    keys: u32,
    heads_per_kv_head: u32,
    head_dim: u32,
    value_dim: u32,
    scale: f32,
    // Bits of the result for a query whose every key the mask takes out.
    all_masked: u32,
    query_start: u32,
    query_batch: u32,
    query_head: u32,
    query_position: u32,
    key_start: u32,
    key_batch: u32,
    key_head: u32,
    key_position: u32,
    value_start: u32,
    value_batch: u32,
    value_head: u32,
    value_position: u32,
    output_start: u32,
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

// How far behind the operand's start position 0 of the head lies; starts, strides and places count vec4s if VECTORS, else
// floats.
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
    return select(vec4<f32>(0.0), four, inside(i, parameters.head_dim));
}
fn key_vector(at: u32, i: u32) -> vec4<f32> {
    let e = at + 4u * i;
    let four = vec4<f32>(keys[e], keys[e + 1u], keys[e + 2u], keys[e + 3u]);
    return select(vec4<f32>(0.0), four, inside(i, parameters.head_dim));
}
fn value_vector(at: u32, i: u32) -> vec4<f32> {
    let e = at + 4u * i;
    let four = vec4<f32>(values[e], values[e + 1u], values[e + 2u], values[e + 3u]);
    return select(vec4<f32>(0.0), four, inside(i, parameters.value_dim));
}
fn write_output(at: u32, i: u32, bits: vec4<u32>) {
    let present = inside(i, parameters.value_dim);
    for (var element = 0u; element < 4u; element++) {
        if (present[element]) {
            output[at + 4u * i + element] = bits[element];
        }
    }
}
//: end

// exp of differences that are not positive, exactly 0 where float32 would be denormal or 0.
fn weight(difference: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), exp(max(difference, vec4<f32>(-87.0))), difference > vec4<f32>(-87.0));
}

// Whether a score or mask with these bits makes its row's softmax undefined: NaN or plus infinity.
fn is_undefined(bits: vec4<u32>) -> vec4<bool> {
    return ((bits & vec4<u32>(EXPONENT)) == vec4<u32>(EXPONENT)) & (bits != vec4<u32>(MINUS_INFINITY));
}

// The same vector for each row, times the row's factor.
fn outer(vector: vec4<f32>, factors: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(vector * factors.x, vector * factors.y, vector * factors.z, vector * factors.w);
}

fn scale_rows(rows: mat4x4<f32>, factors: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(rows[0] * factors.x, rows[1] * factors.y, rows[2] * factors.z, rows[3] * factors.w);
}

// Of each invocation: the highest score of its four keys; in the end its part of the sum of weights, negative if undefined.
var<workgroup> shared_rows: array<vec4<f32>, GROUPS * COLUMNS>;
// The weights of a tile, group by group for each key.
var<workgroup> shared_weights: array<vec4<f32>, TILE * GROUPS>;

@compute @workgroup_size(GROUPS * COLUMNS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    let group = invocation / COLUMNS;
    let column = invocation % COLUMNS;
    let head = workgroup.y;
    let batch = workgroup.z;
    let kv_head = head / parameters.heads_per_kv_head;
    let query_start = parameters.query_start + head_start(batch, head, parameters.query_batch, parameters.query_head);
    let key_start = parameters.key_start + head_start(batch, kv_head, parameters.key_batch, parameters.key_head);
    let value_start = parameters.value_start + head_start(batch, kv_head, parameters.value_batch, parameters.value_head);
    let output_start = parameters.output_start + head_start(batch, head, parameters.output_batch, parameters.output_head);
    let head_vectors = (parameters.head_dim + 3u) / 4u;
    let value_vectors = (parameters.value_dim + 3u) / 4u;

    let positions = vec4<u32>((workgroup.x * GROUPS + group) * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    // Rows past the last query repeat it and are not written.
    let rows = min(positions, vec4<u32>(parameters.queries - 1u));
    let query_at = query_start + rows * parameters.query_position;
    //: if MASKED
    let mask_at = head_start(batch, head, parameters.mask_batch, parameters.mask_head) + rows * parameters.mask_query;
    //: end
    //: for chunk in CHUNKS
    let column{chunk} = column + {chunk}u * COLUMNS;
    var sum{chunk} = mat4x4<f32>();
    //: end
    var peak = vec4<f32>(LOWEST);
    var total = vec4<f32>(0.0);
    var undefined = vec4<bool>(false);

    for (var tile = 0u; tile < parameters.keys; tile += TILE) {
        //: for j in KEYS
        let key{j} = tile + {j}u * COLUMNS + column;
        let present{j} = min(key{j}, parameters.keys - 1u);
        let key_at{j} = key_start + present{j} * parameters.key_position;
        var score{j} = vec4<f32>(0.0);
        //: end
        for (var i = 0u; i < head_vectors; i++) {
            let query_rows = mat4x4<f32>(
                query_vector(query_at.x, i),
                query_vector(query_at.y, i),
                query_vector(query_at.z, i),
                query_vector(query_at.w, i),
            );
            //: for j in KEYS
            score{j} += key_vector(key_at{j}, i) * query_rows;
            //: end
        }

        var tile_peak = vec4<f32>(LOWEST);
        //: for j in KEYS
        var taken{j} = vec4<bool>(key{j} < parameters.keys);
        score{j} *= parameters.scale;
        undefined |= is_undefined(bitcast<vec4<u32>>(score{j}));
        //: if MASKED
        //: if MASK_SHARED_BY_ROWS
        let mask{j} = vec4<u32>(mask[mask_at.x + present{j} * parameters.mask_key]);
        //: else
        let mask_at{j} = mask_at + present{j} * parameters.mask_key;
        let mask{j} = vec4<u32>(mask[mask_at{j}.x], mask[mask_at{j}.y], mask[mask_at{j}.z], mask[mask_at{j}.w]);
        //: end
        taken{j} &= mask{j} != vec4<u32>(MINUS_INFINITY);
        undefined |= is_undefined(mask{j});
        score{j} += bitcast<vec4<f32>>(select(vec4<u32>(0u), mask{j}, taken{j}));
        //: end
        score{j} = max(score{j}, vec4<f32>(LOWEST));
        tile_peak = max(tile_peak, select(vec4<f32>(LOWEST), score{j}, taken{j}));
        //: end
        shared_rows[invocation] = tile_peak;
        workgroupBarrier();

        let former_peak = peak;
        for (var other = 0u; other < COLUMNS; other++) {
            peak = max(peak, shared_rows[group * COLUMNS + other]);
        }
        let decay = weight(former_peak - peak);
        total *= decay;
        //: for j in KEYS
        let weight{j} = select(vec4<f32>(0.0), weight(score{j} - peak), taken{j});
        shared_weights[({j}u * COLUMNS + column) * GROUPS + group] = weight{j};
        total += weight{j};
        //: end
        workgroupBarrier();

        //: for chunk in CHUNKS
        sum{chunk} = scale_rows(sum{chunk}, decay);
        //: end
        let tile_keys = min(TILE, parameters.keys - tile);
        for (var key = 0u; key < tile_keys; key++) {
            let weights = shared_weights[key * GROUPS + group];
            let value_at = value_start + (tile + key) * parameters.value_position;
            //: for chunk in CHUNKS
            sum{chunk} += outer(value_vector(value_at, min(column{chunk}, value_vectors - 1u)), weights);
            //: end
        }
    }

    shared_rows[invocation] = select(total, vec4<f32>(-1.0), undefined);
    workgroupBarrier();
    total = vec4<f32>(0.0);
    for (var other = 0u; other < COLUMNS; other++) {
        let part = shared_rows[group * COLUMNS + other];
        undefined |= part < vec4<f32>(0.0);
        total += part;
    }
    let masked = total == vec4<f32>(0.0);
    let reciprocal = 1.0 / select(total, vec4<f32>(1.0), masked);
    let replaced = masked | undefined;
    let replacement = select(vec4<u32>(parameters.all_masked), vec4<u32>(NOT_A_NUMBER), undefined);
    //: for chunk in CHUNKS
    let result{chunk} = scale_rows(sum{chunk}, reciprocal);
    //: for row in ROWS
    if (column{chunk} < value_vectors && positions[{row}] < parameters.queries) {
        let bits = select(bitcast<vec4<u32>>(result{chunk}[{row}]), vec4<u32>(replacement[{row}]), replaced[{row}]);
        write_output(output_start + rows[{row}] * parameters.output_position, column{chunk}, bits);
    }
    //: end
    //: end
}
