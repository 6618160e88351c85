// Models with recorded cases, run in a page through the package.

import { compare, topOnes } from './compare.js';
import { parseSafetensors } from './safetensors.js';

/**
 * @typedef {typeof import('../../../pkg/dist/index.js')} Library
 * @typedef {import('./safetensors.js').StoredTensor} StoredTensor
 * @typedef {{ tolerance: import('./compare.js').Tolerance, masked: boolean }} Case `masked`: only positions whose attention mask is 1 are defined
 * @typedef {object} Model
 * @property {string} name
 * @property {string} folder address of the folder with `model.onnx` and its cases
 * @property {readonly string[]} externalData names of files beside the model
 * @property {readonly Case[]} cases
 * @property {boolean} decodes whether its output `logits` is over a vocabulary, one row a position
 *
 * @typedef {'right' | 'refused' | 'wrong' | 'failed'} Outcome `refused`: a typed error that says what is not supported
 * @typedef {{ same: number, all: number }} TopOnes
 * @typedef {object} Result
 * @property {string} name
 * @property {Outcome} outcome
 * @property {string} reason where it is not right
 * @property {number} maxAbsError
 * @property {number} cosine
 * @property {TopOnes} topOnes
 * @property {{ attentionOnCpu: number, attentionOnGpu: number, dispatches: number } | undefined} counters
 */

/** Time for one model, in ms: more than any takes by far. */
const LIMIT = 60_000;

/** Models under way at a time: each has a worker. */
const LANES = 2;

/**
 * Loads each model and runs its cases, two models at a time.
 *
 * @param {Library} library
 * @param {readonly Model[]} models
 * @param {{ device: 'wasm' | 'webgpu', toleranceFactor: number }} options
 * @returns {Promise<Result[]>}
 */
export function runModels(library, models, options) {
  return inLanes(models, (model) => runModel(library, model, options));
}

/**
 * @template Item, Answer
 * @param {readonly Item[]} items
 * @param {(item: Item) => Promise<Answer>} work
 * @returns {Promise<Answer[]>} in the order of the items
 */
export async function inLanes(items, work) {
  /** @type {Answer[]} */
  const answers = [];
  const entries = items.entries();
  const lane = async () => {
    for (const [at, item] of entries) answers[at] = await work(item);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return answers;
}

/**
 * @param {Library} library
 * @param {Model} model
 * @param {{ device: 'wasm' | 'webgpu', toleranceFactor: number }} options
 * @returns {Promise<Result>}
 */
async function runModel({ InferenceSession }, model, { device, toleranceFactor }) {
  /** @type {Result} */
  const result = { name: model.name, outcome: 'right', reason: '', maxAbsError: 0, cosine: 1, topOnes: { same: 0, all: 0 }, counters: undefined };
  const cases = await Promise.all(model.cases.map((_, number) => fetchCase(model, number)));
  if (cases.some(({ feeds, expected }) => [...feeds.values(), ...expected.values()].some(({ type }) => type === 'bfloat16'))) {
    return { ...result, outcome: 'refused', reason: 'JavaScript has no bfloat16' };
  }
  const signal = AbortSignal.timeout(LIMIT);
  /** @type {import('../../../pkg/dist/index.js').InferenceSession | undefined} */
  let session;
  try {
    const externalData = model.externalData.map((path) => ({ path, data: `${model.folder}/${path}` }));
    session = await InferenceSession.create(`${model.folder}/model.onnx`, { executionProviders: [device], externalData, signal });
    for (const [number, { feeds, expected }] of cases.entries()) {
      const outputs = await session.run(/** @type {any} */ (Object.fromEntries(feeds)), { signal });
      judge(result, model, number, { feeds, expected, outputs, toleranceFactor });
    }
    return { ...result, counters: session.counters() };
  } catch (error) {
    return { ...result, ...failureOutcome(error) };
  } finally {
    await session?.release();
  }
}

/**
 * Adds what a case answered to the result.
 *
 * @param {Result} result
 * @param {Model} model
 * @param {number} number
 * @param {{ feeds: Map<string, StoredTensor>, expected: Map<string, StoredTensor>, outputs: Record<string, import('./compare.js').Tensor>, toleranceFactor: number }} run
 */
export function judge(result, model, number, { feeds, expected, outputs, toleranceFactor }) {
  const { tolerance, masked } = /** @type {Case} */ (model.cases[number]);
  const allowed = { atol: tolerance.atol * toleranceFactor, rtol: tolerance.rtol * toleranceFactor };
  for (const [name, right] of expected) {
    const isDefined = masked ? definedElements(name, right, /** @type {StoredTensor} */ (feeds.get('attention_mask'))) : undefined;
    const actual = outputs[name] ?? { type: 'missing', dims: [], data: [] };
    const { disagreement, maxAbsError, cosine } = compare(actual, right, allowed, isDefined);
    result.maxAbsError = Math.max(result.maxAbsError, maxAbsError);
    result.cosine = Math.min(result.cosine, cosine);
    if (disagreement !== undefined && result.outcome === 'right') {
      result.outcome = 'wrong';
      result.reason = `case ${number}, \`${name}\`: ${disagreement}`;
    }
    if (model.decodes && name === 'logits' && actual.type !== 'missing') {
      const { same, all } = topOnes(actual, right, isDefined);
      result.topOnes = { same: result.topOnes.same + same, all: result.topOnes.all + all };
    }
  }
}

/**
 * Which elements of `[batch, seq, ..]`, or of a cache `[batch, heads, seq, ..]`, belong to positions whose mask is 1.
 *
 * @param {string} name
 * @param {StoredTensor} tensor
 * @param {StoredTensor} mask `[batch, total]`
 */
function definedElements(name, { dims }, mask) {
  const axis = name.startsWith('present') ? 2 : 1;
  const volume = (/** @type {number[]} */ sizes) => sizes.reduce((product, size) => product * size, 1);
  const [length, inner, outer] = [dims[axis] ?? 1, volume(dims.slice(axis + 1)), volume(dims.slice(1, axis))];
  const total = mask.dims[1] ?? 1;
  return (/** @type {number} */ at) => {
    const position = (Math.floor(at / inner) % length) + total - length;
    const row = Math.floor(at / (inner * length * outer));
    return Number(mask.data[row * total + position]) === 1;
  };
}

/**
 * @param {Model} model
 * @param {number} number
 */
async function fetchCase({ folder }, number) {
  const read = async (/** @type {string} */ end) => {
    const response = await fetch(`${folder}/case${number}.${end}.safetensors`);
    if (!response.ok) throw new Error(`${response.url}: ${response.status}`);
    return parseSafetensors(await response.arrayBuffer());
  };
  return { feeds: await read('in'), expected: await read('out') };
}

/**
 * @param {unknown} error
 * @returns {{ outcome: Outcome, reason: string }}
 */
function failureOutcome(error) {
  const { code = 'no code', message } = /** @type {{ code?: string, message: string }} */ (error);
  return code === 'UnsupportedOp' ? { outcome: 'refused', reason: message } : { outcome: 'failed', reason: `${code}: ${message}` };
}
