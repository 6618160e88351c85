// What is measured: the models, the shapes, and the engines that run them. Read by Node.js and by the page.

/**
 * A difference above this between an engine's output and the peer's makes their times incomparable: the largest absolute one, or, where
 * activations are rounded, which one rounding apart changes visibly, 1 less the cosine.
 */
export function toleranceOf(modelName) {
  return MODELS[modelName].rounds ? 1e-2 : 1e-3;
}

/** As {@link toleranceOf}, for vectors of texts: 1 less the cosine, whatever the model. */
export function embeddingToleranceOf(modelName) {
  return MODELS[modelName].rounds ? toleranceOf(modelName) : 1e-4;
}

/** The peer that every ratio is taken against but where a suite has its own. */
export const PEER = 'onnxruntime-web';

/** Peers of the suite `decoder` alone: on its own format of the same weights, and the first one on the format that it is fastest with. */
export const GGUF_PEER = 'wllama';
export const INT8_PEER = `${PEER} int8`;

/** The peer of the suite `pipeline`, which has a build of the first one inside. */
export const PIPELINE_PEER = 'transformers.js';

/**
 * Engines by name: the build of ours (`variant`) and whether it runs in a worker. The peer computes in the page's thread
 * (`wasm.proxy` is false), so ours is compared in the page's thread; in a worker is how users run it by default.
 */
export const ENGINES = {
  relaxed: { variant: 'relaxed', worker: false, device: 'wasm' },
  simd: { variant: 'simd', worker: false, device: 'wasm' },
  'relaxed-worker': { variant: 'relaxed', worker: true, device: 'wasm' },
  'relaxed-threads': { variant: 'relaxed-threads', worker: true, device: 'wasm' },
  'simd-threads': { variant: 'simd-threads', worker: true, device: 'wasm' },
  webgpu: { variant: 'relaxed', worker: false, device: 'webgpu' },
  [PEER]: { device: 'wasm' },
};

/** The engines of the suites that time, in the order of the tables; on several threads, ours on one is there to be compared. */
export function timedEngines(threads) {
  return threads > 1 ? [PEER, 'relaxed-threads', 'simd-threads', 'relaxed-worker'] : [PEER, 'relaxed', 'simd', 'relaxed-worker'];
}

/** Whether an engine computes in the page's own thread. */
export function computesInPage(name) {
  return !ENGINES[name].worker;
}

/** Query, key, value and output, then the two products of the feed-forward part. */
const BERT = { count: 6, width: 384, weights: 6 * (4 * 384 * 384 + 2 * 384 * 1536) };

/** SmolLM2-135M: products of the attention, with three times as many heads of queries as of keys, of the feed-forward part, and the head. */
const LLAMA_WEIGHTS = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536) + 576 * 49152;

/**
 * Models by name, `path` below models/. Token ids are drawn from `firstId` up to, not including, `vocabSize`. Where the model quantises
 * activations as it runs, it `rounds`. `layers` says how many there are, how wide, and what they multiply each token by.
 */
export const MODELS = {
  'all-MiniLM-L6-v2': { path: 'all-MiniLM-L6-v2/onnx/model_quantized.onnx', firstId: 999, vocabSize: 30522, layers: BERT },
  'all-MiniLM-L6-v2-f32': { path: 'all-MiniLM-L6-v2/onnx/model.onnx', firstId: 999, vocabSize: 30522, layers: BERT },
  'all-MiniLM-L6-v2-int8': { path: 'all-MiniLM-L6-v2/onnx/model_int8.onnx', firstId: 999, vocabSize: 30522, rounds: true, layers: BERT },
  rampart: { path: 'rampart/onnx/model_q4.onnx', firstId: 999, vocabSize: 19730, layers: BERT },
};

/** Models of the suite `pipeline`, which pipelines know by the folder below models/ and the type of the weights. */
export const EMBEDDERS = {
  'all-MiniLM-L6-v2': { folder: 'all-MiniLM-L6-v2', dtype: 'q8' },
  'all-MiniLM-L6-v2-f32': { folder: 'all-MiniLM-L6-v2', dtype: 'fp32' },
  'all-MiniLM-L6-v2-int8': { folder: 'all-MiniLM-L6-v2', dtype: 'int8' },
};

/**
 * Models of the suite `decoder` alone: `pastDims` of an empty cache, `vocabSize` tokens, and the same weights for wllama and, with products
 * of int8, for the peer. A step reads `weightBytes`, 20 bytes for a block of 32 weights, and the cache.
 */
export const DECODERS = {
  'SmolLM2-135M-Instruct-q4': {
    path: 'SmolLM2-135M-Instruct/onnx/model_q4.onnx',
    gguf: 'SmolLM2-135M-Instruct/model.Q4_1.gguf',
    int8: 'SmolLM2-135M-Instruct/onnx/model_int8.onnx',
    pastDims: [1, 3, 0, 64],
    vocabSize: 49152,
    layers: { weights: LLAMA_WEIGHTS },
    cache: Array.from({ length: 30 }, (_, layer) => [`present.${layer}.key`, `present.${layer}.value`]).flat(),
    weightBytes: (LLAMA_WEIGHTS * 20) / 32,
  },
};

/** Shapes of the suite `encoder`, as batch × sequence. */
export const ENCODER_SHAPES = ['1x8', '1x32', '1x128', '8x128'];

/** Shapes of the suite `long`. */
export const LONG_SHAPES = ['1x512'];

/** Shapes of the suite `webgpu`: a software adapter takes seconds for larger ones. */
export const WEBGPU_SHAPES = ['1x8', '1x32'];

/** The shape of the first run of the suite `create`. */
export const FIRST_RUN_SHAPE = '1x32';

/** The shape whose time is divided among functions by the suite `profile`. */
export const PROFILE_SHAPE = '1x128';

/** `[batch, sequence]` of a shape such as `8x128`. */
export function dimensionsOf(shape) {
  return shape.split('x').map(Number);
}
