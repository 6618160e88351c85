import type { ThreadedGlue } from './glue.js';
import type { SharedEngine } from './protocol.js';

/** Bytes of a helper's stack: kernels are not recursive. */
const STACK_SIZE = 1 << 18;

/** Gives the calling thread to an engine in another one, for ever; resolves to the message of whatever ends that. */
export async function help(glue: ThreadedGlue, { module, memory }: SharedEngine): Promise<string> {
  try {
    await glue.default({ module_or_path: module, memory, thread_stack_size: STACK_SIZE });
    return glue.help();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
