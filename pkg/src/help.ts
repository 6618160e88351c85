import type { ThreadedGlue } from './glue.js';
import type { SharedEngine } from './protocol.js';

/** Bytes of a helper's stack: kernels are not recursive. */
const STACK_SIZE = 1 << 18;

/**
 * Gives the calling thread to an engine in another one, for ever. Whatever ends that is an uncaught error of the worker, which
 * closes the model: the engine waits for work that is never finished.
 */
export function help(glue: ThreadedGlue, { module, memory }: SharedEngine): void {
  glue
    .default({ module_or_path: module, memory, thread_stack_size: STACK_SIZE })
    .then(() => glue.help())
    .catch((error: unknown) => {
      queueMicrotask(() => {
        throw error;
      });
    });
}
