import { createCheckpoint } from './checkpoint.js';
import { Engine, EngineFailure } from './engine.js';
import type { SottovoceError } from './errors.js';
import type { UnthreadedVariant } from './features.js';
import type { SessionState, UnthreadedGlue } from './glue.js';
import { closedError, type Host } from './host.js';
import type { Command, CommandName, Commands } from './protocol.js';
import { CallQueue } from './queue.js';
import * as relaxed from './wasm/relaxed/sottovoce.js';
import * as simd from './wasm/simd/sottovoce.js';

/** The one WebAssembly instance that all models of a thread share, and the failure that ended it. */
interface Instance {
  failure: SottovoceError | undefined;
}

const GLUES: Record<UnthreadedVariant, UnthreadedGlue> = { relaxed, simd };
const instances = new Map<UnthreadedVariant, Instance>();

/**
 * An engine in the calling thread, for places without workers. The imports are static because service workers know no
 * others.
 */
export class ThreadHost implements Host {
  state: SessionState | undefined;
  readonly threads = 1;
  readonly #engine: Engine;
  readonly #instance: Instance;
  readonly #queue = new CallQueue();
  #closed: SottovoceError | undefined;

  constructor(variant: UnthreadedVariant) {
    this.#engine = new Engine(GLUES[variant]);
    this.#instance = liveInstance(variant);
  }

  perform<Name extends CommandName>(
    name: Name,
    input: Commands[Name]['input'],
    signal?: AbortSignal,
  ): Promise<Commands[Name]['output']> {
    return this.#queue.run(() => this.#perform({ name, input } as Command, signal), signal);
  }

  async close(reason: SottovoceError): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    await this.#queue.run(async () => {
      if (this.#instance.failure === undefined) this.#engine.free();
    });
  }

  async #perform(command: Command, signal: AbortSignal | undefined): Promise<Commands[CommandName]['output']> {
    const reason = this.#closed ?? this.#instance.failure;
    if (reason !== undefined) throw closedError(reason);
    try {
      const checkpoint = createCheckpoint(() => (signal?.aborted ?? false) || this.#closed !== undefined);
      const { output, state } = await this.#engine.perform(command, checkpoint);
      this.state = state;
      return output;
    } catch (error) {
      if (error instanceof EngineFailure) this.#instance.failure = error;
      throw this.#closed ?? error;
    }
  }
}

/** The thread's instance; after a trap a fresh one in its place. */
function liveInstance(variant: UnthreadedVariant): Instance {
  let instance = instances.get(variant);
  if (instance === undefined || instance.failure !== undefined) {
    if (instance !== undefined) GLUES[variant].__wbg_reset_state();
    instance = { failure: undefined };
    instances.set(variant, instance);
  }
  return instance;
}
