// Times language models with a cache.

import { DECODERS, ENGINES, GGUF_PEER, INT8_PEER, PEER } from '../cases.mjs';
import { cosine } from './cosine.js';
import { importEngine, THREADS } from './engines.js';
import { openWllama, timeWllama } from './wllama.js';

/**
 * Times engines in turns, each on the same tokens: a prompt at once, then a token at a time with the cache that the step before gave.
 * The first round warms up and is not counted; in it the engines' logits are compared.
 *
 * wllama chooses its own tokens, which makes no difference to its time. The logits of the peer with products of int8 are of other weights.
 *
 * @param plan - `promptLength`, `steps`, `rounds`
 * @returns by engine: `prefillMs` and `decodeMs` (of all steps), one of each a round; `cosine`, the smallest of a row of logits with the peer's,
 *   of our engines
 */
export async function timeDecoder(engineNames, modelName, { promptLength, steps, rounds }) {
  const generators = new Map();
  const model = DECODERS[modelName];
  const tokens = tokensOf(model, promptLength + steps);
  for (const name of engineNames) {
    if (name === GGUF_PEER) {
      const wllama = await openWllama({ path: model.gguf, threads: THREADS, context: 2 * tokens.length });
      generators.set(name, () => timeWllama(wllama, promptLength, steps));
    } else {
      const decoder = await (name === INT8_PEER ? open(PEER, { ...model, path: model.int8 }) : open(name, model));
      generators.set(name, (options) => generate(decoder, tokens, promptLength, options));
    }
  }
  const measured = Object.fromEntries(engineNames.map((name) => [name, { prefillMs: [], decodeMs: [] }]));
  const logits = {};
  for (const name of engineNames) logits[name] = (await generators.get(name)({ keepsLogits: true })).logits;
  for (const name of engineNames) {
    if (PEER in logits && name in ENGINES && name !== PEER) measured[name].cosine = smallestCosine(logits[PEER], logits[name]);
  }
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < engineNames.length; turn += 1) {
      const name = engineNames[(round + turn) % engineNames.length];
      const { prefillMs, decodeMs } = await generators.get(name)();
      measured[name].prefillMs.push(prefillMs);
      measured[name].decodeMs.push(decodeMs);
    }
  }
  return measured;
}

/** Decoders that {@link repeatDecoder} opened, by engine and model. */
const opened = new Map();

/** Runs one engine for a while. */
export async function repeatDecoder(engineName, modelName, { promptLength, steps }, durationMs) {
  const model = DECODERS[modelName];
  const key = `${engineName} ${modelName}`;
  if (!opened.has(key)) opened.set(key, await open(engineName, model));
  const tokens = tokensOf(model, promptLength + steps);
  const start = performance.now();
  do {
    await generate(opened.get(key), tokens, promptLength);
  } while (performance.now() - start < durationMs);
}

function tokensOf({ vocabSize }, length) {
  return Array.from({ length }, (_, place) => BigInt(1 + ((place * 7919) % (vocabSize - 1))));
}

async function open(engineName, { path, pastDims, cache }) {
  const { Tensor, open: openModel } = await importEngine(engineName);
  const session = await openModel(new URL(`/models/${path}`, location.href).href, { held: cache });
  return { Tensor, session, pastDims };
}

/** Times of the prompt and of all that follows; with `keepsLogits` also the last row of logits of each run. */
async function generate({ Tensor, session, pastDims }, tokens, promptLength, { keepsLogits } = {}) {
  const isPast = (name) => name.startsWith('past');
  let past = Object.fromEntries(session.inputNames.filter(isPast).map((name) => [name, new Tensor('float32', new Float32Array(0), pastDims)]));
  const logits = [];
  const step = async (start, end) => {
    const ids = tokens.slice(start, end);
    const outputs = await session.run({
      input_ids: new Tensor('int64', BigInt64Array.from(ids), [1, ids.length]),
      attention_mask: new Tensor('int64', new BigInt64Array(end).fill(1n), [1, end]),
      ...past,
    });
    const last = (await outputs.logits.getData(true)).subarray(-outputs.logits.dims.at(-1));
    if (keepsLogits) logits.push(last.slice());
    for (const tensor of Object.values(past)) tensor.dispose();
    past = Object.fromEntries(Object.keys(past).map((name) => [name, outputs[name.replace('past_key_values', 'present')]]));
  };
  const start = performance.now();
  await step(0, promptLength);
  const prompted = performance.now();
  for (let place = promptLength; place < tokens.length; place += 1) await step(place, place + 1);
  const end = performance.now();
  for (const tensor of Object.values(past)) tensor.dispose();
  return { prefillMs: prompted - start, decodeMs: end - prompted, logits };
}

/** The smallest cosine of an answer with the one expected; NaN, which no bound lets pass, where one is not finite. */
function smallestCosine(expected, actual) {
  return Math.min(...expected.map((row, index) => cosine(row, actual[index])));
}
