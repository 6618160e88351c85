import { createCheckpoint } from './checkpoint.js';
import { Engine, EngineFailure } from './engine.js';
import type { SottovoceError } from './errors.js';
import type { Glue, ThreadedGlue } from './glue.js';
import { help } from './help.js';
import type { Command, Request, Response } from './protocol.js';
import { transferAnswer } from './transfer.js';

/**
 * A worker's whole life: one engine, answering the page's commands one by one; or a thread that helps another worker's engine.
 *
 * @param threaded - the same glue, where it is one for threads
 */
export function serve(glue: Glue, threaded?: ThreadedGlue): void {
  const engine = new Engine(glue, (shared) => {
    if (threaded !== undefined) post({ kind: 'memory', ...shared });
  });
  const aborted = new Set<number>();

  const perform = async (id: number, command: Command): Promise<void> => {
    try {
      const answer = await engine.perform(
        command,
        createCheckpoint(() => aborted.has(id)),
      );
      const { message, buffers } = transferAnswer(answer);
      post({ kind: 'answer', id, answer: message }, buffers);
    } catch (thrown) {
      const error = thrown as SottovoceError;
      post({ kind: 'failure', id, error: error.toPlain(), fatal: error instanceof EngineFailure });
    } finally {
      aborted.delete(id);
    }
  };

  globalThis.addEventListener('message', ({ data }: MessageEvent<Request>) => {
    if (data.kind === 'abort') aborted.add(data.id);
    else if (data.kind === 'help') void help(threaded!, data).then((message) => post({ kind: 'stopped', message }));
    else void perform(data.id, data.command);
  });
  post({ kind: 'started' });
}

function post(response: Response, transfer: ArrayBuffer[] = []): void {
  globalThis.postMessage(response, { transfer });
}
