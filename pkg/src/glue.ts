/** The engine's own border: what the JavaScript beside its WebAssembly exports. */

import type { ByteSource } from './bytes.js';
import type { Checkpoint } from './checkpoint.js';

/** Data of a tensor; int64 as `BigInt64Array`, bool as `Uint8Array`, float16 and bfloat16 as `Uint16Array`. */
export type TensorData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** A tensor crossing the border: row-major data, `type` by the names of onnxruntime-common. */
export interface PlainTensor {
  type: string;
  dims: number[];
  data: TensorData;
}

/** A {@link PlainTensor} with the graph's name for it. */
export interface NamedTensor extends PlainTensor {
  name: string;
}

/** A result that stays in the engine's memory, by its number there. */
export interface HeldOutput {
  name: string;
  type: string;
  dims: number[];
  held: number;
}

/** What a run takes for an input: data, or what an earlier run left in the engine's memory. */
export type EngineFeed = PlainTensor | { held: number };

/** What a graph says of one input or output; unknown dimensions by their symbol. */
export interface ValueInfo {
  name: string;
  type: string;
  shape: (number | string)[];
}

/** Where a model may run: `auto` is WebGPU where an adapter exists, else the CPU. */
export type EngineDevice = 'cpu' | 'webgpu' | 'auto';

/** What a model takes and gives, and what it was loaded from. */
export interface SessionInfo {
  inputs: ValueInfo[];
  outputs: ValueInfo[];
  loadedFrom: LoadedFrom;
}

/** What a model was loaded from: an artefact that an earlier session saved, or the model itself. */
export type LoadedFrom = 'artefact' | 'model';

/** A session as it stands after a command; the device changes when a GPU is lost. */
export interface SessionState {
  device: 'cpu' | 'webgpu';
  deviceReason: string;
  /** The GPU, where there is one. */
  adapter?: string;
  counters: Counters;
}

/** What a session has done so far. */
export interface Counters {
  /** GPU dispatches encoded. */
  dispatches: number;
  /** GPU command submissions. */
  submissions: number;
  /** Bytes written to the GPU. */
  bytesUploaded: number;
  /** Bytes read back from the GPU. */
  bytesReadBack: number;
  /** Completed runs of the graph. */
  runs: number;
  /** Attention ops that ran on the GPU. */
  attentionOnGpu: number;
  /** Attention ops that ran on the CPU. */
  attentionOnCpu: number;
}

/** The artefact that is expected. */
export interface ExpectedArtefact {
  /** Digest of its model; where there is none, any model's will do. */
  readonly digest: string | undefined;
}

/** A model, loaded. Crossing the border costs more than the text of what crosses it: hence the JSON. */
export interface EngineSession {
  /**
   * Runs the graph.
   *
   * @param request - the JSON of a `RunRequest`, whose feeds are their numbers where the engine holds them, else `[type, dims]`
   * @param data - the elements of those feeds that the engine does not hold, in their order
   * @returns the JSON of the outputs, `[dims, held]`, with `null` for those that it does not hold; and the data of the latter
   */
  run(request: string, data: TensorData[], checkpoint?: Checkpoint): Promise<[json: string, ...data: TensorData[]]>;
  /** A copy of what a run left in the engine's memory. */
  download(held: number): PlainTensor;
  /** Forgets what a run left in the engine's memory. */
  discard(held: number): void;
  /** What the same build loads the model from again; `digest` tells the model from others. */
  save(digest: string | undefined): Uint8Array<ArrayBuffer>;
  /** The JSON of a {@link SessionInfo}. */
  info(): string;
  /** The JSON of a {@link SessionState}. */
  state(): string;
  free(): void;
}

/** The files that a task needs beside the model. */
export interface TaskFiles {
  tokenizerJson: Uint8Array;
  tokenizerConfigJson?: Uint8Array;
  configJson?: Uint8Array;
}

/** A task's answer: one tensor for all texts, or a JSON array with one entry per text. */
export type TaskAnswer = { tensor: PlainTensor } | { json: string };

/** A task, ready for texts. */
export interface EnginePipeline {
  call(session: EngineSession, texts: string[], optionsJson: string, checkpoint?: Checkpoint): Promise<TaskAnswer>;
  free(): void;
}

/** What a WebAssembly instance exports beside what its JavaScript wraps. */
export interface EngineExports {
  memory: WebAssembly.Memory;
  /** Constructs statics: to be called before anything else. Calling it again does nothing. */
  __wasm_call_ctors(): void;
}

/** The module that holds one WebAssembly instance. */
export interface Glue {
  default(input: { module_or_path: WebAssembly.Module }): Promise<EngineExports>;
  Session: {
    load(
      source: ByteSource,
      options: {
        device: EngineDevice;
        externalData: { path: string; source: ByteSource }[];
        /** Given where the source must be an artefact of this build, and of the model with that digest. */
        artefact?: ExpectedArtefact;
        checkpoint?: Checkpoint;
      },
    ): Promise<EngineSession>;
  };
  Pipeline: new (task: string, files: TaskFiles) => EnginePipeline;
  /** What a panic said that ended the instance, if it was one; may be called after a trap. */
  panicMessage(): string | undefined;
}

/** A {@link Glue} for one thread. */
export interface UnthreadedGlue extends Glue {
  /** Replaces the instance by a fresh one. */
  __wbg_reset_state(): void;
}

/** A {@link Glue} whose instances share their memory: one of them holds the model, the others help it. */
export interface ThreadedGlue extends Glue {
  default(input: { module_or_path: WebAssembly.Module; memory?: WebAssembly.Memory; thread_stack_size?: number }): Promise<EngineExports>;
  /** Helps, and never returns. */
  help(): never;
}
