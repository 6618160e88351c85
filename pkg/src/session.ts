import { invalidInput } from './errors.js';
import { checkFeeds, checkFetches, checkOutputTypes, type Feeds, type Fetches } from './feeds.js';
import type { Counters, LoadedFrom, SessionInfo, ValueInfo } from './glue.js';
import { discardAgain, heldTensor, takeDiscarded } from './held-tensor.js';
import { type Host, releasedError } from './host.js';
import { expectedDigests } from './integrity.js';
import { type LoadFile, loadModel } from './load.js';
import { bufferPart, modelName, type ModelSource, originOf } from './model-source.js';
import { checkKeys, checkSignal } from './options.js';
import { ProgressReporter } from './progress.js';
import { decodeOutputs, encodeRequest, type RunMessage } from './run-message.js';
import { artefactFile, checkSessionOptions, deviceOf, externalDataFiles, heldOutputs, type SessionOptions } from './session-options.js';
import { Tensor, tensorFromPlain } from './tensor.js';
import type { InferenceSession as OrtInferenceSession } from './vendor/onnxruntime-common/inference-session.js';

/** Settings of one {@link InferenceSession.run}. Unknown ones are refused. */
export interface RunOptions {
  /** Stops the run. */
  signal?: AbortSignal;
}

/**
 * A model, loaded: the interface of onnxruntime-common's `InferenceSession`.
 *
 * @example
 * ```ts
 * const session = await InferenceSession.create('/models/encoder.onnx', { executionProviders: ['webgpu', 'wasm'] });
 * const input_ids = new Tensor('int64', [101n, 7592n, 102n], [1, 3]);
 * const attention_mask = new Tensor('int64', [1n, 1n, 1n], [1, 3]);
 * const { last_hidden_state } = await session.run({ input_ids, attention_mask });
 * await session.release();
 * ```
 */
export class InferenceSession implements Omit<OrtInferenceSession, 'run'> {
  readonly #host: Host;
  readonly #info: SessionInfo;
  /** Positions of outputs that stay in the engine's memory. */
  readonly #held: number[];
  /** Digest of the model's file, where it is known. */
  readonly #digest: string | undefined;

  private constructor(host: Host, info: SessionInfo, held: number[], digest: string | undefined) {
    this.#host = host;
    this.#info = info;
    this.#held = held;
    this.#digest = digest;
  }

  /**
   * Loads a model.
   *
   * @param model - an address (relative to the page), bytes, or a `Blob`: an ONNX file, or what {@link InferenceSession.save}
   * gave of one. Bytes stay the caller's, unchanged.
   * @throws `NetworkError`, `IntegrityError`, `InvalidModel`, `UnsupportedOp`, `InvalidInput`, `DeviceLost`, `OutOfMemory`, `Aborted`
   */
  static create(model: ModelSource, options?: SessionOptions): Promise<InferenceSession>;
  /** Loads a model from part of a buffer. */
  static create(
    buffer: ArrayBufferLike,
    byteOffset: number,
    byteLength?: number,
    options?: SessionOptions,
  ): Promise<InferenceSession>;
  static async create(
    model: ModelSource,
    second: SessionOptions | number = {},
    byteLength?: number,
    last?: SessionOptions,
  ): Promise<InferenceSession> {
    const part = typeof second === 'number' ? bufferPart(model, second, byteLength) : model;
    const options = typeof second === 'number' ? (last ?? {}) : second;
    checkSessionOptions(options);
    const modelFile: LoadFile = { name: modelName(part), origin: originOf(part), kind: 'model' };
    const files = [modelFile, ...externalDataFiles(options.externalData)];
    const progress = new ProgressReporter(options.progress_callback, modelFile.name);
    const digests = expectedDigests(
      options.integrity,
      modelFile.name,
      files.map(({ name }) => name),
    );
    const { host, info } = await loadModel({
      files,
      artefact: artefactFile(options.artefact),
      device: deviceOf(options.executionProviders),
      worker: options.worker,
      numThreads: options.numThreads,
      digests,
      progress,
      signal: options.signal,
      stallTimeout: options.stallTimeout,
    });
    const outputs = info.outputs.map(({ name }) => name);
    const held = await orClosed(host, () => heldOutputs(options.preferredOutputLocation, outputs));
    progress.ready();
    return new InferenceSession(host, info, positions(held, info.outputs), digests.get(modelFile.name));
  }

  /** Names of the graph's inputs, in order. */
  get inputNames(): readonly string[] {
    return this.#info.inputs.map(({ name }) => name);
  }

  /** Names of the graph's outputs, in order. */
  get outputNames(): readonly string[] {
    return this.#info.outputs.map(({ name }) => name);
  }

  /** Element types and shapes of the inputs; unknown dimensions by their symbol. */
  get inputMetadata(): readonly OrtInferenceSession.ValueMetadata[] {
    return this.#info.inputs.map(metadata);
  }

  /** Element types and shapes of the outputs; unknown dimensions by their symbol. */
  get outputMetadata(): readonly OrtInferenceSession.ValueMetadata[] {
    return this.#info.outputs.map(metadata);
  }

  /** Where the model runs; the CPU after a GPU was lost. */
  get device(): 'cpu' | 'webgpu' {
    return this.#host.state!.device;
  }

  /** Why the model runs there, in a sentence. */
  get deviceReason(): string {
    return this.#host.state!.deviceReason;
  }

  /** What the model was loaded from: an artefact, or the model itself. */
  get loadedFrom(): LoadedFrom {
    return this.#info.loadedFrom;
  }

  /** Threads that compute on the CPU. */
  get threads(): number {
    return this.#host.threads;
  }

  /** What the session has done, as of the last finished call. */
  counters(): Counters {
    return { ...this.#host.state!.counters };
  }

  /**
   * Runs the model. Runs of one session follow each other in the order of the calls.
   *
   * @param feeds - one tensor for each input
   * @param fetches - which outputs to compute; all where omitted
   * @returns the outputs by name
   * @throws `InvalidInput`, `UnsupportedOp`, `OutOfMemory`, `DeviceLost`, `Aborted`
   */
  run(feeds: Feeds, options?: RunOptions): Promise<Record<string, Tensor>>;
  run(feeds: Feeds, fetches: Fetches, options?: RunOptions): Promise<Record<string, Tensor>>;
  async run(feeds: Feeds, second: Fetches | RunOptions = {}, third?: RunOptions): Promise<Record<string, Tensor>> {
    const hasFetches =
      third !== undefined ||
      second === null ||
      Array.isArray(second) ||
      this.outputNames.some((name) => Object.hasOwn(second, name));
    const options = hasFetches ? (third ?? {}) : (second as RunOptions);
    checkKeys(options, ['signal'], 'the run options');
    checkSignal(options.signal);
    const fetches = hasFetches ? checkFetches(second as Fetches, this.outputNames) : undefined;
    const wanted = fetches && positions(fetches, this.#info.outputs);
    const infos = wanted?.map((position) => this.#info.outputs[position]!) ?? this.#info.outputs;
    checkOutputTypes(infos);
    const host = this.#host;
    const request = encodeRequest({ feeds: checkFeeds(feeds, this.#info.inputs, host), fetches: wanted, hold: this.#held });
    const outputs = decodeOutputs(await this.#perform(request, options.signal), infos);
    const tensors = outputs.map((output) => ('held' in output ? heldTensor(output, host) : tensorFromPlain(output)));
    return Object.fromEntries(outputs.map(({ name }, at) => [name, tensors[at]!]));
  }

  /** Has the engine run, and forget the tensors that were disposed of before. */
  async #perform(request: RunMessage, signal: AbortSignal | undefined): Promise<RunMessage> {
    const discard = takeDiscarded(this.#host);
    try {
      return await this.#host.perform('run', { ...request, discard }, signal);
    } catch (error) {
      discardAgain(this.#host, discard);
      throw error;
    }
  }

  /**
   * Saves the model as it is after loading, its weights packed, so that a later visit loads it several times faster: keep the
   * bytes, for instance in the origin's private file system or the Cache Storage, and pass them as the option `artefact`. They are
   * of use to the same release of this package in the same kind of browser.
   *
   * @throws `UnsupportedOp` for a model with an operator that cannot be saved, `OutOfMemory`
   *
   * @example
   * ```ts
   * const cache = await caches.open('models');
   * const kept = await cache.match('/artefacts/encoder');
   * const session = await InferenceSession.create('/models/encoder.onnx', kept && { artefact: await kept.blob() });
   * if (session.loadedFrom === 'model') await cache.put('/artefacts/encoder', new Response(await session.save()));
   * ```
   */
  async save(): Promise<Uint8Array<ArrayBuffer>> {
    // The integrity of an artefact says nothing of its model.
    const digest = this.loadedFrom === 'model' ? this.#digest : undefined;
    return (await this.#host.perform('save', { digest })).artefact;
  }

  /** Ends the session and gives its memory back. Runs under way fail; releasing again does nothing. */
  async release(): Promise<void> {
    await this.#host.close(releasedError());
  }

  /** @throws `InvalidInput`: there is no profiler; use the browser's. */
  startProfiling(): never {
    throw invalidInput('there is no profiler here', { remedy: "use the browser's own" });
  }

  /** @throws `InvalidInput`, as {@link InferenceSession.startProfiling} does. */
  endProfiling(): never {
    return this.startProfiling();
  }
}

/** What `check` gives; where it throws, nobody gets the model. */
async function orClosed<T>(host: Host, check: () => T): Promise<T> {
  try {
    return check();
  } catch (error) {
    await host.close(releasedError());
    throw error;
  }
}

/** Where outputs of these names are. */
function positions(names: readonly string[], outputs: readonly ValueInfo[]): number[] {
  return names.map((name) => outputs.findIndex((output) => output.name === name));
}

function metadata({ name, type, shape }: ValueInfo): OrtInferenceSession.ValueMetadata {
  return { name, isTensor: true, type: type as Tensor.Type, shape };
}
