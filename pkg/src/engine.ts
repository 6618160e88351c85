import { openBytes } from './bytes.js';
import type { Checkpoint } from './checkpoint.js';
import { isPlainError, SottovoceError, typedError } from './errors.js';
import type { EnginePipeline, EngineSession, Glue, SessionInfo, SessionState } from './glue.js';
import type { Answer, Command, CommandName, Commands, SharedEngine } from './protocol.js';

type Input<Name extends CommandName> = Commands[Name]['input'];
type Output<Name extends CommandName> = Commands[Name]['output'];

const DOING: Record<CommandName, string> = {
  load: 'loading the model',
  prepare: 'preparing the task',
  run: 'running the model',
  save: 'saving the model',
  download: 'copying a tensor out of the engine',
  discard: 'disposing of a tensor',
  call: 'running the task',
};

/** An error after which the engine's WebAssembly instance is of no further use. */
export class EngineFailure extends SottovoceError {}

/** One model in one WebAssembly instance; the same in a worker and in the page's own thread. */
export class Engine {
  readonly #glue: Glue;
  readonly #onStarted: (engine: SharedEngine) => void;
  #memory: WebAssembly.Memory | undefined;
  #session: EngineSession | undefined;
  #pipeline: EnginePipeline | undefined;

  /** @param onStarted - told of the instance once there is one */
  constructor(glue: Glue, onStarted: (engine: SharedEngine) => void = () => {}) {
    this.#glue = glue;
    this.#onStarted = onStarted;
  }

  /**
   * Carries out one command; commands must not overlap.
   *
   * @throws {@link EngineFailure} when WebAssembly trapped, else a {@link SottovoceError} after which the engine goes on
   */
  async perform(command: Command, checkpoint: Checkpoint): Promise<Answer> {
    const doing = DOING[command.name];
    try {
      const output = await orTrap(this.#dispatch(command, checkpoint));
      const session = this.#session!;
      return { output, state: JSON.parse(session.state()) as SessionState };
    } catch (thrown) {
      if (isPlainError(thrown)) throw SottovoceError.fromPlain(thrown);
      throw this.#failure(thrown, doing);
    }
  }

  /** Gives the model's memory back to the instance. */
  free(): void {
    this.#pipeline?.free();
    this.#session?.free();
    this.#pipeline = undefined;
    this.#session = undefined;
  }

  #dispatch(command: Command, checkpoint: Checkpoint): Promise<Output<CommandName>> {
    switch (command.name) {
      case 'load':
        return this.#load(command.input, checkpoint);
      case 'prepare':
        return this.#prepare(command.input);
      case 'run':
        return this.#run(command.input, checkpoint);
      case 'save':
        return this.#save(command.input);
      case 'download':
        return this.#download(command.input);
      case 'discard':
        return this.#discard(command.input);
      case 'call':
        return this.#pipeline!.call(this.#session!, command.input.texts, command.input.optionsJson, checkpoint);
    }
  }

  async #load(input: Input<'load'>, checkpoint: Checkpoint): Promise<Output<'load'>> {
    const exports = await this.#glue.default({ module_or_path: input.module });
    exports.__wasm_call_ctors();
    if (this.#memory === undefined) this.#onStarted({ module: input.module, memory: exports.memory });
    this.#memory = exports.memory;
    const opened = input.externalData.map(async ({ path, bytes }) => ({ path, source: await openBytes(bytes) }));
    const { device, artefact } = input;
    const options = { device, externalData: await Promise.all(opened), ...(artefact && { artefact }), checkpoint };
    this.#session = await this.#glue.Session.load(await openBytes(input.model), options);
    return JSON.parse(this.#session.info()) as SessionInfo;
  }

  async #run({ json, data, discard }: Input<'run'>, checkpoint: Checkpoint): Promise<Output<'run'>> {
    await this.#discard({ held: discard });
    const [outputs, ...elements] = await this.#session!.run(json, data, checkpoint);
    return { json: outputs, data: elements };
  }

  async #prepare(input: Input<'prepare'>): Promise<void> {
    this.#pipeline = new this.#glue.Pipeline(input.task, input.files);
  }

  async #save({ digest }: Input<'save'>): Promise<Output<'save'>> {
    return { artefact: this.#session!.save(digest) };
  }

  async #download({ held }: Input<'download'>): Promise<Output<'download'>> {
    return { tensor: this.#session!.download(held) };
  }

  async #discard({ held }: Input<'discard'>): Promise<void> {
    for (const number of held) this.#session!.discard(number);
  }

  #failure(thrown: unknown, doing: string): EngineFailure {
    const what =
      this.#panicMessage() ?? (thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown));
    const isOutOfMemory = /memory allocation|capacity overflow|failed to allocate/.test(what) || memoryIsExhausted(this.#memory);
    const error = isOutOfMemory
      ? typedError('OutOfMemory', `the memory of WebAssembly is exhausted (${what})`, {
          doing,
          remedy: 'use a smaller or more strongly quantised model, shorter texts or smaller batches',
        })
      : typedError('InternalError', `the engine stopped (${what})`, {
          doing,
          remedy: 'load the model again; if it happens again, please report it with the model',
        });
    return new EngineFailure(error.code, error.message, error, { cause: thrown });
  }

  /** Nothing where the instance is past telling, as after an overflow of its stack. */
  #panicMessage(): string | undefined {
    try {
      return this.#glue.panicMessage();
    } catch {
      return undefined;
    }
  }
}

/**
 * Waits for the work, or for a trap. The engine's futures are polled from microtasks: a trap there leaves the promise
 * pending for ever and surfaces as an uncaught error of the global scope.
 */
async function orTrap<T>(work: Promise<T>): Promise<T> {
  let stopListening = () => {};
  const trap = new Promise<never>((_, reject) => {
    const listener = (event: Event) => {
      const thrown = (event as ErrorEvent).error ?? (event as PromiseRejectionEvent).reason;
      if (!isTrap(thrown)) return;
      event.preventDefault();
      reject(thrown);
    };
    globalThis.addEventListener?.('error', listener);
    globalThis.addEventListener?.('unhandledrejection', listener);
    stopListening = () => {
      globalThis.removeEventListener?.('error', listener);
      globalThis.removeEventListener?.('unhandledrejection', listener);
    };
  });
  try {
    return await Promise.race([work, trap]);
  } finally {
    stopListening();
  }
}

/** Whether an error is WebAssembly's own end: a trap, or its stack overflowing (a `RangeError`, or Firefox's `InternalError`). */
function isTrap(thrown: unknown): boolean {
  if (thrown instanceof WebAssembly.RuntimeError) return true;
  return thrown instanceof Error && /call stack|recursion/.test(thrown.message) && /wasm/.test(thrown.stack ?? '');
}

/** 16 MiB in pages of 64 KiB. */
const PROBE_PAGES = 256;

/** Whether a memory, no longer used by anyone, refuses to grow. */
function memoryIsExhausted(memory: WebAssembly.Memory | undefined): boolean {
  try {
    memory?.grow(PROBE_PAGES);
    return false;
  } catch {
    return true;
  }
}
