// The browser's side of the suites: `window.bench`. Whatever goes in or out is JSON.

import { memoryBytes } from './memories.js';
import { DECODERS, MODELS, PEER } from '../cases.mjs';
import { repeatDecoder, timeDecoder } from './decoder.js';
import { embeddingDifferences, openEmbedders, timeEmbedding } from './embedder.js';
import { importEngine } from './engines.js';
import { cosine } from './cosine.js';
import { encoderFeeds } from './inputs.js';
import { limits } from './limits.js';
import { timeInTurns, warmUp } from './turns.js';

/** Sessions by the name of their engine, each with a function that makes the inputs of a shape. */
const opened = new Map();

/** Loads one model into several engines. */
async function open(engineNames, modelName) {
  const model = MODELS[modelName];
  for (const name of engineNames) {
    const { Tensor, open: openModel } = await importEngine(name);
    const session = await openModel(urlOf(model));
    opened.set(name, { session, feedsOf: (shape) => encoderFeeds(Tensor, model, shape) });
  }
}

/** Difference of each engine's outputs from the peer's, as `toleranceOf` says; null where one is not finite. */
async function differences(modelName, shape) {
  const differenceOf = MODELS[modelName].rounds ? lackOfCosine : largestDifference;
  const expected = await runOnce(PEER, shape);
  const found = {};
  for (const name of opened.keys()) {
    if (name === PEER) continue;
    const actual = await runOnce(name, shape);
    checkLayout(expected, actual);
    found[name] = Math.max(...Object.entries(expected).map(([output, { data }]) => differenceOf(data, actual[output].data)));
    if (!Number.isFinite(found[name])) found[name] = null;
  }
  return found;
}

/** Times one run of each engine at a shape, as {@link timeInTurns} does. */
function time(shape, plan) {
  const runs = new Map();
  for (const [name, { session, feedsOf }] of opened) {
    const feeds = feedsOf(shape);
    runs.set(name, () => session.run(feeds));
  }
  return timeInTurns(runs, plan);
}

/** Keeps what one of our engines saves of a model in the origin's private file system, for the page's next visit. */
async function saveArtefact(engineName, modelName) {
  const { open: openModel } = await importEngine(engineName);
  const session = await openModel(urlOf(MODELS[modelName]));
  const stream = await (await artefactFile({ create: true })).createWritable();
  await stream.write(await session.save());
  await stream.close();
}

async function artefactFile(options) {
  return (await navigator.storage.getDirectory()).getFileHandle('artefact', options);
}

/**
 * From nothing to the first answer, in a page that has not seen the engine.
 *
 * @param saved - whether the model comes from what {@link saveArtefact} kept
 * @returns ms of importing the JavaScript and loading the model, and of the first run; bytes of WebAssembly memory after it
 */
async function create(engineName, modelName, shape, saved) {
  const model = MODELS[modelName];
  const start = performance.now();
  const { Tensor, open: openModel } = await importEngine(engineName);
  const session = await openModel(urlOf(model), saved ? { artefact: await (await artefactFile()).getFile() } : {});
  const created = performance.now();
  await session.run(encoderFeeds(Tensor, model, shape));
  return { createMs: created - start, firstRunMs: performance.now() - created, heapBytes: memoryBytes() };
}

/**
 * What loading a model takes, in a page that has not seen the engine.
 *
 * @returns bytes that WebAssembly memory grew by since a model of a few bytes was loaded, and bytes of the model's file
 */
async function loadingMemory(engineName, modelName) {
  const url = urlOf(MODELS[modelName] ?? DECODERS[modelName]);
  const { open: openModel } = await importEngine(engineName);
  await openModel(new URL('/tests/browser/fixtures/lookup.onnx', location.href).href);
  const before = memoryBytes();
  await openModel(url);
  const { headers } = await fetch(url, { method: 'HEAD' });
  return { loadingBytes: memoryBytes() - before, fileBytes: Number(headers.get('content-length')) };
}

/** Runs one engine for a while. */
async function repeat(engineName, shape, durationMs) {
  const { session, feedsOf } = opened.get(engineName);
  const feeds = feedsOf(shape);
  await warmUp(() => session.run(feeds), durationMs);
}

/** What one run of our engine adds to its counters. */
async function countersOfRun(engineName, shape) {
  const { session } = opened.get(engineName);
  const before = session.counters();
  await runOnce(engineName, shape);
  const after = session.counters();
  return Object.fromEntries(Object.keys(after).map((counter) => [counter, after[counter] - before[counter]]));
}

function runOnce(engineName, shape) {
  const { session, feedsOf } = opened.get(engineName);
  return session.run(feedsOf(shape));
}

/** @throws where the outputs differ in name, type or shape */
function checkLayout(expected, actual) {
  const layout = (outputs) => JSON.stringify(Object.entries(outputs).map(([name, { type, dims }]) => [name, type, dims]));
  if (layout(expected) !== layout(actual)) throw new Error(`outputs are ${layout(actual)} instead of ${layout(expected)}`);
}

/** The largest absolute difference of two arrays' elements; NaN where one is. */
function largestDifference(expected, actual) {
  return expected.reduce((largest, value, index) => Math.max(largest, Math.abs(value - actual[index])), 0);
}

function lackOfCosine(expected, actual) {
  return 1 - cosine(expected, actual);
}

function urlOf({ path }) {
  return new URL(`/models/${path}`, location.href).href;
}

window.bench = {
  open,
  differences,
  time,
  saveArtefact,
  create,
  loadingMemory,
  repeat,
  countersOfRun,
  timeDecoder,
  repeatDecoder,
  openEmbedders,
  embeddingDifferences,
  timeEmbedding,
  limits,
};
