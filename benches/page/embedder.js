// Times pipelines from texts to vectors, tokens and pooling included.

import { EMBEDDERS, PIPELINE_PEER } from '../cases.mjs';
import { TEXTS } from '../texts.mjs';
import { cosine } from './cosine.js';
import { openPipeline, THREADS } from './engines.js';
import { openTransformers } from './transformers.js';
import { timeInTurns } from './turns.js';

const CALL_OPTIONS = { pooling: 'mean', normalize: true };

/** Pipelines by the name of their engine. */
const opened = new Map();

/** Loads one model into several engines. */
export async function openEmbedders(engineNames, modelName) {
  const model = EMBEDDERS[modelName];
  for (const name of engineNames) {
    const embed = await (name === PIPELINE_PEER ? openTransformers({ ...model, threads: THREADS }) : openPipeline(name, model));
    opened.set(name, embed);
  }
}

/** How far each engine's vectors are from the peer's: of the text where they differ most, 1 less the cosine; null where one is not finite. */
export async function embeddingDifferences(textsName) {
  const expected = await embed(PIPELINE_PEER, textsName);
  const found = {};
  for (const name of opened.keys()) {
    if (name === PIPELINE_PEER) continue;
    const actual = await embed(name, textsName);
    checkShape(expected, actual);
    const rows = rowsOf(actual);
    const difference = Math.max(...rowsOf(expected).map((row, index) => 1 - cosine(row, rows[index])));
    found[name] = Number.isFinite(difference) ? difference : null;
  }
  return found;
}

/** Times one call of each engine, as {@link timeInTurns} does. */
export function timeEmbedding(textsName, plan) {
  return timeInTurns(new Map([...opened.keys()].map((name) => [name, () => embed(name, textsName)])), plan);
}

function embed(engineName, textsName) {
  return opened.get(engineName)(TEXTS[textsName], CALL_OPTIONS);
}

/** One vector a text. */
function rowsOf({ data, dims: [count, width] }) {
  return Array.from({ length: count }, (_, row) => data.slice(row * width, (row + 1) * width));
}

/** @throws where there are not as many vectors, or they are not as long */
function checkShape(expected, actual) {
  if (String(actual.dims) !== String(expected.dims)) throw new Error(`vectors are [${actual.dims}] instead of [${expected.dims}]`);
}
