import { type FileBytes, joinPieces } from './bytes.js';
import { invalidInput } from './errors.js';
import type { Counters, LoadedFrom, TaskFiles } from './glue.js';
import { type Host, releasedError } from './host.js';
import { expectedDigests, type Integrity } from './integrity.js';
import { loadModel } from './load.js';
import { type DType, DTYPES, modelFiles } from './model-layout.js';
import { checkChoice, checkKeys, checkSignal, checkType, describe } from './options.js';
import { type ProgressCallback, ProgressReporter } from './progress.js';
import { artefactFile, checkComputeOptions, checkLoadOptions, externalDataFiles, type SessionOptions } from './session-options.js';
import {
  type CallOptions,
  type EntitiesFor,
  type FeatureExtractionOptions,
  type Task,
  type TaskName,
  TASKS,
  type TokenClassificationOptions,
} from './tasks.js';
import type { Tensor } from './tensor.js';

/** Settings of {@link pipeline}, as in transformers.js. Unknown ones are refused. */
export interface PipelineOptions {
  /**
   * `'auto'` (the default): WebGPU where an adapter exists, else the CPU. `'webgpu'`: WebGPU, or an error. `'wasm'`, or
   * `'cpu'`: the CPU.
   */
  device?: 'auto' | 'webgpu' | 'wasm' | 'cpu';
  /** Which weights file of the model's folder: `fp32` (the default) is `model.onnx`, `q8` `model_quantized.onnx`, … */
  dtype?: DType;
  /** Folder of the weights within the model's folder; `onnx` by default, `''` for the folder itself. */
  subfolder?: string;
  /** Name of the weights file without suffix and extension; `model` by default. */
  model_file_name?: string;
  /** Told of the download. */
  progress_callback?: ProgressCallback;
  /** Stops the load. */
  signal?: AbortSignal;
  /** A worker of its own for the model (the default where there are workers), or the calling thread. */
  worker?: boolean;
  /** What the files must hash to, by file as progress events name them; a single string is for the model file. */
  integrity?: Integrity;
  /** Longest silence of the server, in ms, before a download fails; 30,000 by default. */
  stallTimeout?: number;
  /** Settings of the session underneath. */
  session_options?: Pick<
    SessionOptions,
    'numThreads' | 'graphOptimizationLevel' | 'externalData' | 'artefact' | 'worker'
  >;
}

const PIPELINE_OPTIONS = [
  'device',
  'dtype',
  'subfolder',
  'model_file_name',
  'progress_callback',
  'signal',
  'worker',
  'integrity',
  'stallTimeout',
  'session_options',
] as const satisfies readonly (keyof PipelineOptions)[];

/** What every pipeline can do beside being called. */
export interface LoadedPipeline {
  /** Name of the task. */
  readonly task: TaskName;
  /** Where the model runs; the CPU after a GPU was lost. */
  readonly device: 'cpu' | 'webgpu';
  /** Why the model runs there, in a sentence. */
  readonly deviceReason: string;
  /** What the model was loaded from: the session option `artefact`, or the model itself. */
  readonly loadedFrom: LoadedFrom;
  /** Threads that compute on the CPU. */
  readonly threads: number;
  /** What the session underneath has done, as of the last finished call. */
  counters(): Counters;
  /** Ends the model and gives its memory back. Calls under way fail; disposing again does nothing. */
  dispose(): Promise<void>;
}

/**
 * Texts in, vectors out.
 *
 * @example
 * ```ts
 * const embed = await pipeline('feature-extraction', '/models/all-MiniLM-L6-v2', { dtype: 'q8' });
 * const vectors = await embed(['A quiet voice', 'Sotto voce'], { pooling: 'mean', normalize: true });
 * vectors.dims; // [2, 384]
 * await embed.dispose();
 * ```
 */
export interface FeatureExtractionPipeline extends LoadedPipeline {
  /**
   * @returns float32: `[texts, tokens, hidden]` without pooling, where rows past the end of a shorter text mean nothing;
   * else `[texts, hidden]`. A single text counts as an array of one.
   * @throws `InvalidInput`, `OutOfMemory`, `DeviceLost`, `Aborted`
   */
  (texts: string | readonly string[], options?: FeatureExtractionOptions): Promise<Tensor>;
}

/**
 * Texts in, labelled pieces of them out.
 *
 * @example
 * ```ts
 * const ner = await pipeline('token-classification', '/models/rampart', { dtype: 'q4' });
 * const text = 'Ada Lovelace lives in London.';
 * const entities = await ner(text, { aggregation_strategy: 'simple' });
 * for (const { entity_group, start, end } of entities) console.log(entity_group, text.slice(start, end));
 * ```
 */
export interface TokenClassificationPipeline extends LoadedPipeline {
  /**
   * @returns the entities of the text, in order
   * @throws `InvalidInput`, `OutOfMemory`, `DeviceLost`, `Aborted`
   */
  <Options extends TokenClassificationOptions = {}>(text: string, options?: Options): Promise<EntitiesFor<Options>>;
  /** @returns the entities of each text */
  <Options extends TokenClassificationOptions = {}>(
    texts: readonly string[],
    options?: Options,
  ): Promise<EntitiesFor<Options>[]>;
}

/** The pipeline that each task gives. */
export interface PipelineByTask {
  'feature-extraction': FeatureExtractionPipeline;
  'token-classification': TokenClassificationPipeline;
  ner: TokenClassificationPipeline;
}

/**
 * Loads a model for a task. Nothing but the files at `model` is fetched, and nothing is sent.
 *
 * Calls of one pipeline follow each other in the order in which they are made.
 *
 * @param task - `'feature-extraction'`, or `'token-classification'`, of which `'ner'` is another name
 * @param model - address, relative to the page, of a folder with `tokenizer.json`, `config.json`, `tokenizer_config.json`
 * and `onnx/model….onnx`; or of an `.onnx` file with these beside it, or in the folder above if its own is named `onnx`
 * @throws `NetworkError`, `IntegrityError`, `InvalidModel`, `UnsupportedOp`, `InvalidInput`, `DeviceLost`, `OutOfMemory`, `Aborted`
 *
 * @example
 * ```ts
 * const ner = await pipeline('ner', '/models/rampart', {
 *   dtype: 'q4',
 *   progress_callback: (event) => {
 *     if (event.status === 'progress_total') console.log(event.progress);
 *   },
 * });
 * ```
 */
export async function pipeline<Name extends TaskName>(
  task: Name,
  model: string | URL,
  options: PipelineOptions = {},
): Promise<PipelineByTask[Name]> {
  checkChoice(task, Object.keys(TASKS) as TaskName[], 'task');
  checkPipelineOptions(model, options);
  const { session_options: sessionOptions = {} } = options;
  const { engineName, needsConfig } = TASKS[task];
  const files = [...modelFiles(model, options, needsConfig), ...externalDataFiles(sessionOptions.externalData)];
  const names = files.map(({ name }) => name);
  const progress = new ProgressReporter(options.progress_callback, String(model));
  const { host, info } = await loadModel({
    files,
    artefact: artefactFile(sessionOptions.artefact),
    device: options.device === 'wasm' ? 'cpu' : (options.device ?? 'auto'),
    worker: options.worker ?? sessionOptions.worker,
    numThreads: sessionOptions.numThreads,
    digests: expectedDigests(options.integrity, names[0]!, names),
    progress,
    signal: options.signal,
    stallTimeout: options.stallTimeout,
    prepare: (read) => ({ task: engineName, files: taskFiles(read) }),
  });
  progress.ready();
  return callable(task, host, info.loadedFrom) as PipelineByTask[Name];
}

/** The function that is the pipeline, with its properties. */
function callable(taskName: TaskName, host: Host, loadedFrom: LoadedFrom): LoadedPipeline {
  const task = TASKS[taskName];
  const call = (texts: string | readonly string[], options?: CallOptions) => callTask(task, host, texts, options);
  return Object.defineProperties(call, {
    task: { value: taskName },
    device: { get: () => host.state!.device },
    deviceReason: { get: () => host.state!.deviceReason },
    loadedFrom: { value: loadedFrom },
    threads: { value: host.threads },
    counters: { value: () => ({ ...host.state!.counters }) },
    dispose: { value: () => host.close(releasedError()) },
  }) as typeof call & LoadedPipeline;
}

async function callTask(
  task: Task,
  host: Host,
  texts: string | readonly string[],
  options: CallOptions = {},
): Promise<Tensor | unknown[]> {
  const isBatch = Array.isArray(texts);
  const batch: unknown[] = isBatch ? [...texts] : [texts];
  const wrong = batch.findIndex((text) => typeof text !== 'string');
  if (wrong !== -1) throw invalidInput(`a text must be a string, got ${describe(batch[wrong])}`);
  checkKeys(options, task.callOptions, 'the call options');
  checkSignal(options.signal);
  const { signal, ...engineOptions } = options;
  const input = { texts: batch as string[], optionsJson: JSON.stringify(engineOptions) };
  return task.result(await host.perform('call', input, signal), isBatch);
}

function checkPipelineOptions(model: unknown, options: PipelineOptions): void {
  if (typeof model !== 'string' && !(model instanceof URL)) {
    throw invalidInput(`a model's address must be a string or a URL, got ${describe(model)}`);
  }
  checkKeys(options, PIPELINE_OPTIONS, 'the pipeline options');
  checkLoadOptions(options);
  if (options.device !== undefined) checkChoice(options.device, ['auto', 'webgpu', 'wasm', 'cpu'], 'device');
  if (options.dtype !== undefined) checkChoice(options.dtype, DTYPES, 'dtype');
  checkType(options.subfolder, 'string', 'subfolder');
  checkType(options.model_file_name, 'string', 'model_file_name');
  const { session_options: sessionOptions = {} } = options;
  checkKeys(
    sessionOptions,
    ['numThreads', 'graphOptimizationLevel', 'externalData', 'artefact', 'worker'],
    'option `session_options`',
  );
  checkComputeOptions(sessionOptions);
  checkType(sessionOptions.worker, 'boolean', 'session_options.worker');
  if (options.worker !== undefined && sessionOptions.worker !== undefined && options.worker !== sessionOptions.worker) {
    throw invalidInput('options `worker` and `session_options.worker` contradict each other');
  }
}

function taskFiles(files: ReadonlyMap<string, FileBytes>): TaskFiles {
  const read = (name: string): Uint8Array | undefined => {
    const bytes = files.get(name);
    return bytes !== undefined && 'pieces' in bytes ? joinPieces(bytes.pieces) : undefined;
  };
  const tokenizerConfigJson = read('tokenizer_config.json');
  const configJson = read('config.json');
  return {
    tokenizerJson: read('tokenizer.json')!,
    ...(tokenizerConfigJson && { tokenizerConfigJson }),
    ...(configJson && { configJson }),
  };
}
