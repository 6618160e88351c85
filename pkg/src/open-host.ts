import { invalidInput } from './errors.js';
import { chooseVariant, supportsThreads, type Variant } from './features.js';
import type { Host } from './host.js';
import { engineModule } from './module.js';
import { ThreadHost } from './thread-host.js';
import { WorkerHost } from './worker-host.js';

/** A host, and the module that its engine is to be started with. */
export interface OpenedHost {
  readonly host: Host;
  readonly module: WebAssembly.Module;
}

/**
 * Opens a host for one model.
 *
 * @param worker - `true`: a worker of its own; `false`: the calling thread; `undefined`: a worker where there are workers
 * @param numThreads - threads that compute; `undefined` or 0: as many as are of use
 */
export async function openHost(worker: boolean | undefined, numThreads: number | undefined): Promise<OpenedHost> {
  const hasWorkers = typeof Worker !== 'undefined';
  if (worker === true && !hasWorkers) {
    throw invalidInput('option `worker` is true, but there are no workers here', { remedy: 'pass `worker: false`' });
  }
  const inWorker = worker ?? hasWorkers;
  const threads = numThreads || (inWorker ? usefulThreads() : 1);
  if (threads > 1) checkThreads(threads, inWorker);
  const unthreaded = chooseVariant();
  if (!inWorker) return { module: await engineModule(unthreaded), host: new ThreadHost(unthreaded) };
  const variant: Variant = threads > 1 ? `${unthreaded}-threads` : unthreaded;
  const module = await engineModule(variant);
  return { module, host: new WorkerHost(variant, threads) };
}

/** More than four gain little, and the page and the system need cores too. */
const MOST_USEFUL_THREADS = 4;

function usefulThreads(): number {
  return supportsThreads() ? Math.min(MOST_USEFUL_THREADS, globalThis.navigator.hardwareConcurrency) : 1;
}

function checkThreads(threads: number, inWorker: boolean): void {
  const refusal = (why: string, remedy: string) => invalidInput(`option \`numThreads\` is ${threads}, but ${why}`, { remedy });
  if (!inWorker) throw refusal('in the calling thread a model has no other', 'leave `worker` out, or pass 1');
  if (!supportsThreads()) {
    throw refusal(
      'threads cannot share memory here',
      'serve the page with `Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp`, or pass 1',
    );
  }
}
