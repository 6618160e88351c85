// Broken model files, loaded and run in a page through the package.

import { inLanes } from './models.js';

/**
 * @typedef {import('./models.js').Library} Library
 * @typedef {'reject' | 'reject_or_run_error' | 'may_load' | 'runs_forever'} Expectation
 * @typedef {{ file: string, address: string, externalData: readonly { path: string, data: string }[], expect: Expectation }} MalformedFile
 */

/** Time for a load and for a run, in ms: an end must come within 2 s on an idle machine; this one may be busy. */
const LIMIT = 20_000;

/** When a run that goes on for ever is stopped, in ms. */
const INTERRUPT_AFTER = 1000;

/**
 * Loads and runs each file; after each, the page must go on.
 *
 * @param {Library} library
 * @param {readonly MalformedFile[]} files
 * @param {string} goodModel address of a model that works
 * @returns {Promise<string[]>} what is wrong, a line a file
 */
export async function tryMalformed(library, files, goodModel) {
  const complaints = await inLanes(files, async (file) => {
    const complaint = complain(file.expect, await endOf(library, file));
    return [complaint, await nextLoad(library, goodModel)].filter((line) => line !== undefined).map((line) => `${file.file}: ${line}`);
  });
  return complaints.flat();
}

/**
 * The error that a load and a run end with, if they end with one.
 *
 * @param {Library} library
 * @param {MalformedFile} file
 * @returns {Promise<{ code?: string, message: string, remedy?: string } | undefined>}
 */
async function endOf({ InferenceSession }, { address, externalData, expect }) {
  /** @type {import('../../../pkg/dist/index.js').InferenceSession | undefined} */
  let session;
  try {
    session = await InferenceSession.create(address, { externalData, signal: AbortSignal.timeout(LIMIT) });
    const limit = expect === 'runs_forever' ? INTERRUPT_AFTER : LIMIT;
    await session.run(zeros(session), { signal: AbortSignal.timeout(limit) });
    return undefined;
  } catch (error) {
    return /** @type {any} */ (error);
  } finally {
    await session?.release();
  }
}

/**
 * @param {Expectation} expect
 * @param {{ code?: string, message: string, remedy?: string } | undefined} end
 */
function complain(expect, end) {
  if (end === undefined) return expect === 'may_load' ? undefined : 'it runs to its end';
  if (end.code === undefined || end.code === 'InternalError') return `${end.code ?? 'an error without a code'}: ${end.message}`;
  if (end.code === 'Aborted') return expect === 'runs_forever' ? undefined : `no end: ${end.message}`;
  return end.remedy ? undefined : `no remedy: ${end.message}`;
}

/**
 * What is wrong with the next load, if anything is.
 *
 * @param {Library} library
 * @param {string} address
 */
async function nextLoad({ InferenceSession, Tensor }, address) {
  try {
    const session = await InferenceSession.create(address);
    await session.run({ input_ids: new Tensor('int64', [2n, 0n], [1, 2]) });
    await session.release();
    return undefined;
  } catch (error) {
    return `the next load fails: ${error}`;
  }
}

/** @type {Record<string, new (length: number) => any>} */
const ELEMENTS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
};

/**
 * Zeros for all inputs; what their shapes claim is believed up to a size.
 *
 * @param {import('../../../pkg/dist/index.js').InferenceSession} session
 */
function zeros({ inputMetadata }) {
  const feeds = inputMetadata.map((input) => {
    const { name, type, shape } = /** @type {{ name: string, type: string, shape: readonly (number | string)[] }} */ (input);
    const dims = shape.map((size) => (typeof size === 'number' && size <= 64 ? size : 2));
    const Elements = ELEMENTS[type] ?? Float32Array;
    return [name, { type, dims, data: new Elements(dims.reduce((volume, size) => volume * size, 1)) }];
  });
  return Object.fromEntries(feeds);
}
