import { invalidInput } from './errors.js';
import { chooseVariant } from './features.js';
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
 */
export async function openHost(worker: boolean | undefined): Promise<OpenedHost> {
  const hasWorkers = typeof Worker !== 'undefined';
  if (worker === true && !hasWorkers) {
    throw invalidInput('option `worker` is true, but there are no workers here', { remedy: 'pass `worker: false`' });
  }
  const variant = chooseVariant();
  const module = await engineModule(variant);
  return { module, host: (worker ?? hasWorkers) ? new WorkerHost(variant) : new ThreadHost(variant) };
}
