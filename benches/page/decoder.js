// Times language models with a cache.

import { DECODERS, GGUF_PEER, PEER } from '../cases.mjs';
import { importEngine, THREADS } from './engines.js';
import { openWllama, timeWllama } from './wllama.js';

/**
 * Times engines in turns, each on the same tokens: a prompt at once, then a token at a time with the cache that the step before gave.
 * The first round warms up and is not counted; in it the engines' logits are compared.
 *
 * wllama chooses its own tokens, which makes no difference to its time.
 *
 * @param plan - `promptLength`, `steps`, `rounds`
 * @returns by engine: `prefillMs` and `decodeMs` (of all steps), one of each a round; `cosine`, the smallest of a row of logits with the peer's,
 *   but for wllama, which shows none
 */
export async function timeDecoder(engineNames, modelName, { promptLength, steps, rounds }) {
  const generators = new Map();
  const model = DECODERS[modelName];
  const tokens = Array.from({ length: promptLength + steps }, (_, place) => BigInt(1 + ((place * 7919) % (model.vocabSize - 1))));
  for (const name of engineNames) {
    if (name === GGUF_PEER) {
      const wllama = await openWllama({ path: model.gguf, threads: THREADS, context: 2 * tokens.length });
      generators.set(name, () => timeWllama(wllama, promptLength, steps));
    } else {
      const decoder = await open(name, model);
      generators.set(name, () => generate(decoder, tokens, promptLength));
    }
  }
  const measured = Object.fromEntries(engineNames.map((name) => [name, { prefillMs: [], decodeMs: [] }]));
  const logits = {};
  for (const name of engineNames) logits[name] = (await generators.get(name)()).logits;
  for (const name of engineNames) {
    if (logits[name] !== undefined) measured[name].cosine = smallestCosine(logits[PEER], logits[name]);
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

async function open(engineName, { path, pastDims }) {
  const { Tensor, open: openModel } = await importEngine(engineName);
  const session = await openModel(new URL(`/models/${path}`, location.href).href, { hold: true });
  return { Tensor, session, pastDims };
}

/** Times of the prompt and of all that follows, and the last row of logits of each run. */
async function generate({ Tensor, session, pastDims }, tokens, promptLength) {
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
    const all = await outputs.logits.getData(true);
    logits.push(all.slice(-outputs.logits.dims.at(-1)));
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
  const dot = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);
  return Math.min(...expected.map((row, index) => dot(row, actual[index]) / Math.sqrt(dot(row, row) * dot(actual[index], actual[index]))));
}
