// Models with recorded cases, run by an engine: the package in a page, or another one in Node.js.

import { compare, topOnes } from './compare.js';
import { floatsOf, parseSafetensors } from './safetensors.js';

/**
 * @typedef {typeof import('../../../pkg/dist/index.js')} Library
 * @typedef {import('./safetensors.js').StoredTensor} StoredTensor
 * @typedef {import('./compare.js').Tensor} Tensor
 * @typedef {import('./compare.js').Tolerance} Tolerance
 * @typedef {{ tolerance: Tolerance, masked: boolean }} Case `masked`: only positions whose attention mask is 1 are defined
 * @typedef {object} Model
 * @property {string} name
 * @property {string} file address of the ONNX file
 * @property {readonly { path: string, data: string }[]} externalData files beside the model, with their addresses
 * @property {string} folder address of the folder with its cases
 * @property {readonly Case[]} cases
 * @property {Greedy} [greedy] a recorded greedy run
 * @property {boolean} decodes whether its output `logits` is over a vocabulary, one row a position
 *
 * @typedef {object} Greedy
 * @property {string} file
 * @property {readonly number[]} pastDims of an empty cache
 * @property {readonly string[]} cache the outputs that are the cache
 * @property {Tolerance} tolerance of the logits, the same on every device: GroupQueryAttention stays on the CPU
 * @property {number} tie how far the recorded token's logit may be below that of the most likely one
 *
 * @typedef {{ attentionOnCpu: number, attentionOnGpu: number, dispatches: number }} Counters
 * @typedef {object} Session
 * @property {readonly string[]} inputNames
 * @property {(feeds: Record<string, Tensor>) => Promise<Record<string, Tensor>>} run
 * @property {() => Counters} [counters]
 * @property {() => Promise<void>} release
 *
 * @typedef {object} Engine
 * @property {string} origin of the addresses
 * @property {number} toleranceFactor
 * @property {boolean} takesBfloat16
 * @property {(model: Model) => Promise<Session>} open
 *
 * @typedef {'right' | 'refused' | 'wrong' | 'failed'} Outcome `refused`: a typed error that says what is not supported
 * @typedef {object} Result
 * @property {string} name
 * @property {Outcome} outcome
 * @property {string} reason where it is not right
 * @property {number} maxAbsError
 * @property {number} cosine
 * @property {{ same: number, all: number }} topOnes
 * @property {Counters} [counters] of the runs
 */

/** Time for loading one model and for each run, in ms: more than any takes by far. */
const LIMIT = 60_000;

/** Models under way at a time. */
const LANES = 2;

/** What a GPU may be off more than the CPU. */
const WEBGPU_FACTOR = 10;

/** Why a case cannot be run: its tensors cannot be expressed in JavaScript. */
export const NO_BFLOAT16 = 'JavaScript has no bfloat16';

/**
 * The package in this page.
 *
 * @param {Library} library
 * @param {'wasm' | 'webgpu'} device
 * @param {boolean} worker whether each model has a worker of its own
 * @returns {Engine}
 */
export function packageEngine({ InferenceSession }, device, worker) {
  return {
    origin: location.origin,
    toleranceFactor: device === 'webgpu' ? WEBGPU_FACTOR : 1,
    takesBfloat16: false,
    async open({ file, externalData, greedy }) {
      const pinned = greedy?.cache.map((output) => /** @type {const} */ ([output, 'cpu-pinned'])) ?? [];
      const session = await InferenceSession.create(file, {
        executionProviders: [device],
        worker,
        externalData,
        preferredOutputLocation: Object.fromEntries(pinned),
        signal: AbortSignal.timeout(LIMIT),
      });
      return {
        inputNames: session.inputNames,
        run: (feeds) => session.run(/** @type {any} */ (feeds), { signal: AbortSignal.timeout(LIMIT) }),
        counters: () => session.counters(),
        release: () => session.release(),
      };
    },
  };
}

/**
 * Loads each model and runs its cases, two models at a time.
 *
 * @param {readonly Model[]} models
 * @param {Engine} engine
 * @returns {Promise<Result[]>}
 */
export function runModels(models, engine) {
  return inLanes(models, (model) => runModel(model, engine));
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
 * @param {Model} model
 * @param {Engine} engine
 * @returns {Promise<Result>}
 */
async function runModel(model, engine) {
  /** @type {Result} */
  const result = { name: model.name, outcome: 'right', reason: '', maxAbsError: 0, cosine: 1, topOnes: { same: 0, all: 0 } };
  const cases = await Promise.all(model.cases.map((_, number) => readCase(model, number, engine)));
  const holdsBfloat16 = cases.some(({ feeds, expected }) => [...feeds.values(), ...expected.values()].some(({ type }) => type === 'bfloat16'));
  if (holdsBfloat16 && !engine.takesBfloat16) return { ...result, outcome: 'refused', reason: NO_BFLOAT16 };
  /** @type {Session | undefined} */
  let session;
  try {
    session = await engine.open(model);
    const before = session.counters?.();
    for (const [number, { feeds, expected }] of cases.entries()) {
      const outputs = await session.run(Object.fromEntries(feeds));
      judge(result, model, number, { feeds, expected, outputs, toleranceFactor: engine.toleranceFactor });
    }
    if (model.greedy !== undefined) await decode(result, model.greedy, session, engine);
    const after = session.counters?.();
    return before === undefined || after === undefined ? result : { ...result, counters: difference(after, before) };
  } catch (error) {
    return { ...result, ...failureOutcome(error) };
  } finally {
    await session?.release();
  }
}

/**
 * What the runs did: a GPU is tried out when a model is loaded.
 *
 * @param {Counters} after
 * @param {Counters} before
 * @returns {Counters}
 */
function difference(after, before) {
  return {
    attentionOnCpu: after.attentionOnCpu - before.attentionOnCpu,
    attentionOnGpu: after.attentionOnGpu - before.attentionOnGpu,
    dispatches: after.dispatches - before.dispatches,
  };
}

/**
 * Decodes under the recorded tokens: the prompt at once, then a token at a time with the cache of the step before, which the package keeps.
 *
 * @param {Result} result
 * @param {Greedy} greedy
 * @param {Session} session
 * @param {Engine} engine
 */
async function decode(result, { file, pastDims, cache, tolerance, tie }, session, { origin }) {
  const recorded = await readTensors(new URL(file, origin));
  const tensor = (/** @type {string} */ name) => /** @type {StoredTensor} */ (recorded.get(name));
  const steps = Array.from(/** @type {BigInt64Array} */ (tensor('greedy_ids').data));
  let ids = Array.from(/** @type {BigInt64Array} */ (tensor('prompt_ids').data));
  /** @type {Record<string, Tensor>} */
  let past = Object.fromEntries(
    session.inputNames.filter((name) => name.startsWith('past')).map((name) => [name, { type: 'float32', dims: pastDims, data: new Float32Array(0) }]),
  );
  let [length, same] = [0, 0];
  for (const [step, right] of steps.entries()) {
    length += ids.length;
    const outputs = await session.run({
      ...past,
      input_ids: { type: 'int64', dims: [1, ids.length], data: BigInt64Array.from(ids) },
      attention_mask: { type: 'int64', dims: [1, length], data: new BigInt64Array(length).fill(1n) },
    });
    const logits = lastRow(/** @type {Tensor} */ (outputs['logits']));
    const top = Math.max(...logits);
    if (BigInt(logits.indexOf(top)) === right) same += 1;
    const behind = top - (logits[Number(right)] ?? NaN);
    if (!(behind <= tie)) disagree(result, `step ${step}: the recorded token's logit is ${behind} below that of the most likely one (allowed ${tie})`);
    const name = step === 0 ? 'logits_first' : step === steps.length - 1 ? 'logits_last' : undefined;
    if (name !== undefined) {
      const actual = { type: 'float32', dims: [logits.length], data: logits };
      note(result, `step ${step}, \`logits\``, compare(actual, tensor(name), tolerance));
    }
    for (const tensor of Object.values(past)) tensor.dispose?.();
    past = Object.fromEntries(cache.map((output) => [output.replace('present', 'past_key_values'), /** @type {Tensor} */ (outputs[output])]));
    ids = [right];
  }
  result.topOnes = { same: result.topOnes.same + same, all: result.topOnes.all + steps.length };
}

/**
 * The last row of `[1, seq, vocabulary]`.
 *
 * @param {Tensor} logits
 */
function lastRow(logits) {
  const values = floatsOf(logits) ?? [];
  const width = logits.dims.at(-1) ?? 1;
  return Float32Array.from({ length: width }, (_, at) => values[values.length - width + at] ?? NaN);
}

/**
 * Adds what a case answered to the result.
 *
 * @param {Result} result
 * @param {Model} model
 * @param {number} number
 * @param {{ feeds: Map<string, StoredTensor>, expected: Map<string, StoredTensor>, outputs: Record<string, Tensor>, toleranceFactor: number }} run
 */
function judge(result, model, number, { feeds, expected, outputs, toleranceFactor }) {
  const { tolerance, masked } = /** @type {Case} */ (model.cases[number]);
  for (const [name, right] of expected) {
    const isDefined = masked ? definedElements(name, right, /** @type {StoredTensor} */ (feeds.get('attention_mask'))) : undefined;
    const actual = outputs[name] ?? { type: 'missing', dims: [], data: [] };
    note(result, `case ${number}, \`${name}\``, compare(actual, right, scaled(tolerance, toleranceFactor), isDefined));
    if (model.decodes && name === 'logits' && actual.type !== 'missing') {
      const { same, all } = topOnes(actual, right, isDefined);
      result.topOnes = { same: result.topOnes.same + same, all: result.topOnes.all + all };
    }
  }
}

/**
 * Adds a comparison to the result; the first disagreement is its reason.
 *
 * @param {Result} result
 * @param {string} place
 * @param {import('./compare.js').Comparison} comparison
 */
function note(result, place, { disagreement, maxAbsError, cosine }) {
  result.maxAbsError = Math.max(result.maxAbsError, maxAbsError);
  result.cosine = Math.min(result.cosine, cosine);
  if (disagreement !== undefined) disagree(result, `${place}: ${disagreement}`);
}

/**
 * @param {Result} result
 * @param {string} reason
 */
function disagree(result, reason) {
  if (result.outcome !== 'right') return;
  result.outcome = 'wrong';
  result.reason = reason;
}

/**
 * @param {Tolerance} tolerance
 * @param {number} factor
 */
function scaled({ atol, rtol }, factor) {
  return { atol: atol * factor, rtol: rtol * factor };
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
 * @param {Engine} engine
 */
async function readCase({ folder }, number, { origin }) {
  const read = (/** @type {string} */ end) => readTensors(new URL(`${folder}/case${number}.${end}.safetensors`, origin));
  return { feeds: await read('in'), expected: await read('out') };
}

/** @param {URL} address */
async function readTensors(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return parseSafetensors(await response.arrayBuffer());
}

/**
 * @param {unknown} error
 * @returns {{ outcome: Outcome, reason: string }}
 */
function failureOutcome(error) {
  const { code = 'no code', message } = /** @type {{ code?: string, message: string }} */ (error);
  return code === 'UnsupportedOp' ? { outcome: 'refused', reason: message } : { outcome: 'failed', reason: `${code}: ${message}` };
}
