import { invalidInput } from './errors.js';
import { resolveUrl } from './fetch.js';
import type { EngineDevice } from './glue.js';
import type { Integrity } from './integrity.js';
import type { LoadFile } from './load.js';
import { lastPart, type ModelSource, originOf } from './model-source.js';
import { checkChoice, checkKeys, checkSignal, checkType, describe } from './options.js';
import type { ProgressCallback } from './progress.js';

/** Where an output of a run lies. */
export type OutputLocation = 'cpu' | 'cpu-pinned';

/** Settings of `InferenceSession.create`. Unknown ones are refused. */
export interface SessionOptions {
  /**
   * `['wasm']` (the default): the CPU. `['webgpu']`: WebGPU, or an error where no adapter exists. `['webgpu', 'wasm']`:
   * WebGPU where an adapter exists, else the CPU; `device` and `deviceReason` tell.
   */
  executionProviders?: readonly (string | { readonly name: string })[];
  /**
   * Threads that compute on the CPU. More than one need a page that is cross-origin isolated (headers COOP and COEP), and a
   * worker of its own for the model. Left out, or 0: in such a page as many as the machine has cores, up to 4; elsewhere 1.
   */
  numThreads?: number;
  /**
   * Where outputs go: `'cpu'` (the default), JavaScript's memory; `'cpu-pinned'`, the engine's own, from where they can be fed
   * to later runs of the session without being copied: a cache of keys and values then grows in place. One location for all
   * outputs, or one by name. Of a tensor that is `'cpu-pinned'`, `getData()` gives a copy, `getData(true)` also makes the tensor
   * one that is on the `'cpu'`, and frees the memory as `dispose()` does. float16 outputs are held unrounded, as the float32
   * that the engine computes; copies are rounded.
   */
  preferredOutputLocation?: OutputLocation | { readonly [output: string]: OutputLocation };
  /** `'all'`: graphs are always optimised in full. */
  graphOptimizationLevel?: 'all';
  /** Files that hold the model's weights beside it: addresses, or paths as the model gives them with their content. */
  externalData?: readonly (string | { readonly path: string; readonly data: ModelSource })[];
  /** Stops the load. */
  signal?: AbortSignal;
  /** Told of the download. */
  progress_callback?: ProgressCallback;
  /** A worker of its own for the model (the default where there are workers), or the calling thread. */
  worker?: boolean;
  /**
   * What `save` gave of the model in an earlier session: read first, and the model only where it is of no use, because it is
   * not there, damaged, of another release of this package or another browser's build of it, or not of the model that
   * `integrity` promises. `loadedFrom` tells which it was.
   */
  artefact?: ModelSource;
  /** What the files must hash to. The model's file name is the last part of its address, or `model`. */
  integrity?: Integrity;
  /** Longest silence of a server, in ms, before a download fails; 30,000 by default. */
  stallTimeout?: number;
}

const SESSION_OPTIONS = [
  'executionProviders',
  'numThreads',
  'preferredOutputLocation',
  'graphOptimizationLevel',
  'externalData',
  'signal',
  'progress_callback',
  'worker',
  'artefact',
  'integrity',
  'stallTimeout',
] as const satisfies readonly (keyof SessionOptions)[];

/** External data as files of a load. */
export function externalDataFiles(externalData: SessionOptions['externalData']): LoadFile[] {
  return (externalData ?? []).map((entry): LoadFile => {
    if (typeof entry === 'string') return { name: lastPart(resolveUrl(entry)), origin: originOf(entry), kind: 'data' };
    checkKeys(entry, ['path', 'data'], 'option `externalData`');
    checkType(entry.path, 'string', 'externalData.path');
    return { name: entry.path.replace(/^\.\//, ''), origin: originOf(entry.data), kind: 'data' };
  });
}

/** The artefact as a file of a load. */
export function artefactFile(artefact: SessionOptions['artefact']): LoadFile | undefined {
  return artefact === undefined ? undefined : { name: 'artefact', origin: originOf(artefact), kind: 'artefact' };
}

/** Checks the options that sessions and pipelines share. */
export function checkLoadOptions(
  options: Pick<SessionOptions, 'signal' | 'progress_callback' | 'worker' | 'stallTimeout'>,
): void {
  checkSignal(options.signal);
  checkType(options.progress_callback, 'function', 'progress_callback');
  checkType(options.worker, 'boolean', 'worker');
  const { stallTimeout } = options;
  if (stallTimeout !== undefined && !(typeof stallTimeout === 'number' && stallTimeout > 0)) {
    throw invalidInput(
      `option \`stallTimeout\` must be a number of milliseconds above 0, got ${describe(stallTimeout)}`,
    );
  }
}

/** More threads than browsers give a page workers. */
const MOST_THREADS = 64;

/** Checks the options that say how the engine computes. */
export function checkComputeOptions(
  options: Pick<SessionOptions, 'numThreads' | 'graphOptimizationLevel' | 'externalData'>,
): void {
  const { numThreads } = options;
  if (numThreads !== undefined && !(Number.isInteger(numThreads) && numThreads >= 0 && numThreads <= MOST_THREADS)) {
    throw invalidInput(
      `option \`numThreads\` must be an integer from 0 to ${MOST_THREADS}, got ${describe(numThreads)}`,
    );
  }
  if (options.graphOptimizationLevel !== undefined) {
    checkChoice(options.graphOptimizationLevel, ['all'], 'graphOptimizationLevel');
  }
  if (options.externalData !== undefined && !Array.isArray(options.externalData)) {
    throw invalidInput('option `externalData` must be an array');
  }
}

const LOCATIONS = ['cpu', 'cpu-pinned'] as const satisfies readonly OutputLocation[];

function checkOutputLocation(location: SessionOptions['preferredOutputLocation']): void {
  if (location === undefined) return;
  if (typeof location !== 'object' || location === null || Array.isArray(location)) {
    checkChoice(location, LOCATIONS, 'preferredOutputLocation');
    return;
  }
  for (const [name, choice] of Object.entries(location)) checkChoice(choice, LOCATIONS, `preferredOutputLocation.${name}`);
}

/** The outputs that stay in the engine's memory. @throws `InvalidInput` for an unknown output */
export function heldOutputs(location: SessionOptions['preferredOutputLocation'], outputs: readonly string[]): string[] {
  if (typeof location !== 'object') return location === 'cpu-pinned' ? [...outputs] : [];
  checkKeys(location, outputs, 'option `preferredOutputLocation`');
  return outputs.filter((name) => location[name] === 'cpu-pinned');
}

/** Checks all options of a session. */
export function checkSessionOptions(options: SessionOptions): void {
  checkKeys(options, SESSION_OPTIONS, 'the session options');
  checkLoadOptions(options);
  checkComputeOptions(options);
  checkOutputLocation(options.preferredOutputLocation);
}

/** The device that a list of execution providers stands for. */
export function deviceOf(providers: SessionOptions['executionProviders'] = ['wasm']): EngineDevice {
  if (!Array.isArray(providers)) throw invalidInput('option `executionProviders` must be an array');
  const names = providers.map((provider) => {
    if (typeof provider === 'string') return provider;
    checkKeys(provider, ['name'], 'option `executionProviders`');
    return provider.name;
  });
  const device = DEVICES.get(names.join());
  if (device !== undefined) return device;
  throw invalidInput(`option \`executionProviders\` is [${names.join(', ')}]`, {
    remedy: "pass ['wasm'], ['webgpu'] or ['webgpu', 'wasm']",
  });
}

const DEVICES: ReadonlyMap<string, EngineDevice> = new Map([
  ['wasm', 'cpu'],
  ['cpu', 'cpu'],
  ['webgpu', 'webgpu'],
  ['webgpu,wasm', 'auto'],
  ['webgpu,cpu', 'auto'],
]);
