// Our engine and the peer behind one small interface.

import { ENGINES, PEER } from '../cases.mjs';

/** Threads of the peer, and of our builds that have more than one. */
export const THREADS = Number(new URL(location.href).searchParams.get('threads'));

/** The second and third byte of the relaxed instructions that our package looks for before it chooses a build. */
const RELAXED_INSTRUCTIONS = [
  [0x85, 0x02],
  [0x93, 0x02],
];

/**
 * Imports an engine's JavaScript.
 *
 * @returns `Tensor`, and `open(url, { held, artefact })`, which loads a model and gives its `session`; outputs of the names `held` stay
 *   where they can be fed again fastest; with an `artefact` our engine loads that instead of the model
 */
export function importEngine(name) {
  return name === PEER ? importPeer() : importOurs(ENGINES[name]);
}

async function importPeer() {
  const { env, InferenceSession, Tensor } = await import('../node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs');
  env.wasm.numThreads = THREADS;
  env.wasm.proxy = false;
  return { Tensor, open: (url) => InferenceSession.create(url, { executionProviders: ['wasm'], graphOptimizationLevel: 'all' }) };
}

async function importOurs({ variant, worker, device }) {
  const { InferenceSession, Tensor } = await import('../../pkg/dist/index.js');
  const open = async (url, { held = [], artefact } = {}) => {
    const preferredOutputLocation = Object.fromEntries(held.map((name) => [name, 'cpu-pinned']));
    const options = { executionProviders: [device], numThreads: threadsOf(variant), worker, preferredOutputLocation, artefact };
    const session = await withBuild(variant, () => InferenceSession.create(url, options));
    if (artefact !== undefined && session.loadedFrom !== 'artefact') throw new Error('the artefact was of no use');
    return session;
  };
  return { Tensor, open };
}

/** Our package's pipeline for the vectors of texts, on one of our engines. */
export async function openPipeline(name, { folder, dtype }) {
  const { variant, worker, device } = ENGINES[name];
  const { pipeline } = await import('../../pkg/dist/index.js');
  const options = { dtype, device, worker, session_options: { numThreads: threadsOf(variant) } };
  return withBuild(variant, () => pipeline('feature-extraction', `/models/${folder}`, options));
}

function threadsOf(variant) {
  return variant.endsWith('-threads') ? THREADS : 1;
}

/** Lets the package load a model into one of its builds. */
async function withBuild(variant, create) {
  const created = await (variant.startsWith('simd') ? withoutRelaxedSimd(create) : create());
  if (!performance.getEntriesByType('resource').some((entry) => entry.name.includes(`/wasm/${variant}/sottovoce_bg.wasm`))) {
    throw new Error(`the package did not choose its build \`${variant}\` in this browser`);
  }
  return created;
}

/** Lets `create` see a browser that cannot compile relaxed SIMD, which is where the package chooses its build `simd`. */
async function withoutRelaxedSimd(create) {
  const validate = WebAssembly.validate;
  WebAssembly.validate = (bytes) => !holdsRelaxedInstruction(bytes) && validate(bytes);
  try {
    return await create();
  } finally {
    WebAssembly.validate = validate;
  }
}

function holdsRelaxedInstruction(bytes) {
  return RELAXED_INSTRUCTIONS.some(([second, third]) =>
    bytes.some((byte, index) => byte === 0xfd && bytes[index + 1] === second && bytes[index + 2] === third),
  );
}
