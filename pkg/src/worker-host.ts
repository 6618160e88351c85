import { abortedError, SottovoceError, throwIfAborted, typedError } from './errors.js';
import type { Variant } from './features.js';
import type { SessionState } from './glue.js';
import { closedError, type Host } from './host.js';
import type { Answer, Command, CommandName, Commands, Request, Response } from './protocol.js';
import { CallQueue } from './queue.js';
import { transferCommand } from './transfer.js';

/** How long an aborted command may go on, in ms, before its worker is ended. */
const ABORT_GRACE_MS = 2000;

interface Pending {
  readonly id: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: SottovoceError) => void;
}

/** An engine in a worker of its own. */
export class WorkerHost implements Host {
  state: SessionState | undefined;
  readonly #worker: Worker;
  readonly #helpers: Worker[] = [];
  readonly #queue = new CallQueue();
  #closed: SottovoceError | undefined;
  #pending: Pending | undefined;
  #lastId = 0;

  /** @param threads - more than 1 for a threaded variant only */
  constructor(
    variant: Variant,
    readonly threads: number,
  ) {
    this.#worker = this.#startWorker(variant);
    for (let number = 1; number < threads; number++) this.#helpers.push(this.#startWorker(variant));
  }

  #startWorker(variant: Variant): Worker {
    const worker = startWorker(variant);
    let started = false;
    worker.onmessage = ({ data }: MessageEvent<Response>) => {
      started = true;
      this.#receive(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      void this.close(started ? stoppedError(event.message) : notStartedError(event));
    };
    worker.onmessageerror = () => void this.close(notStartedError());
    return worker;
  }

  async perform<Name extends CommandName>(
    name: Name,
    input: Commands[Name]['input'],
    signal?: AbortSignal,
  ): Promise<Commands[Name]['output']> {
    const { output, state } = await this.#queue.run(() => this.#send({ name, input } as Command, signal), signal);
    this.state = state;
    return output;
  }

  async close(reason: SottovoceError): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    for (const worker of [this.#worker, ...this.#helpers]) worker.terminate();
    this.#pending?.reject(reason);
    this.#pending = undefined;
  }

  async #send(command: Command, signal: AbortSignal | undefined): Promise<Answer> {
    if (this.#closed !== undefined) throw closedError(this.#closed);
    throwIfAborted(signal, 'starting the call');
    const id = ++this.#lastId;
    let graceTimer: ReturnType<typeof setTimeout> | undefined;
    const abort = () => {
      this.#post({ kind: 'abort', id });
      graceTimer = setTimeout(() => this.#giveUp(signal!), ABORT_GRACE_MS);
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await new Promise<Answer>((resolve, reject) => {
        this.#pending = { id, resolve, reject };
        const { message, buffers } = transferCommand(command);
        this.#post({ kind: 'perform', id, command: message }, buffers);
      });
    } finally {
      signal?.removeEventListener('abort', abort);
      clearTimeout(graceTimer);
    }
  }

  /** An aborted command that does not stop takes its worker with it. */
  #giveUp(signal: AbortSignal): void {
    this.#pending?.reject(abortedError('stopping the worker', signal));
    this.#pending = undefined;
    void this.close(
      typedError('InternalError', `the worker did not stop within ${ABORT_GRACE_MS} ms of an abort and was ended`),
    );
  }

  #post(request: Request, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(request, transfer);
  }

  #receive(response: Response): void {
    if (response.kind === 'started') return;
    if (response.kind === 'stopped') {
      void this.close(stoppedError(response.message));
      return;
    }
    if (response.kind === 'memory') {
      for (const helper of this.#helpers) helper.postMessage({ ...response, kind: 'help' } satisfies Request);
      return;
    }
    const pending = this.#pending;
    if (pending?.id !== response.id) return;
    if (response.kind === 'failure' && response.fatal) {
      void this.close(SottovoceError.fromPlain(response.error));
      return;
    }
    this.#pending = undefined;
    if (response.kind === 'answer') pending.resolve(response.answer);
    else pending.reject(SottovoceError.fromPlain(response.error));
  }
}

/** The addresses are written out in full, as bundlers need them to be. */
function startWorker(variant: Variant): Worker {
  switch (variant) {
    case 'relaxed':
      return new Worker(new URL('./worker-relaxed.js', import.meta.url), { type: 'module' });
    case 'simd':
      return new Worker(new URL('./worker-simd.js', import.meta.url), { type: 'module' });
    case 'relaxed-threads':
      return new Worker(new URL('./worker-relaxed-threads.js', import.meta.url), { type: 'module' });
    case 'simd-threads':
      return new Worker(new URL('./worker-simd-threads.js', import.meta.url), { type: 'module' });
  }
}

function notStartedError(event?: ErrorEvent): SottovoceError {
  return typedError('NetworkError', `the worker could not be started${event?.message ? ` (${event.message})` : ''}`, {
    doing: 'starting the engine',
    remedy:
      "serve the package's dist folder whole and allow it in the Content-Security-Policy's worker-src, or pass `worker: false`; " +
      "an older Vite's development server needs `optimizeDeps: { exclude: ['sottovoce'] }`",
  });
}

function stoppedError(message: string): SottovoceError {
  return typedError('InternalError', `the worker stopped (${message})`, { remedy: 'load the model again' });
}
