/** Called by the engine between steps; `true`, or a promise of it, ends the work with an `Aborted` error. */
export type Checkpoint = () => boolean | Promise<boolean>;

/** Longest time, in ms, for which the engine keeps the event loop waiting, as far as its steps allow. */
const SLICE_MS = 30;

/**
 * A checkpoint that lets the event loop turn every {@link SLICE_MS}, so that an abort can arrive while the engine works.
 */
export function createCheckpoint(isAborted: () => boolean): Checkpoint {
  let sliceStart = performance.now();
  return () => {
    if (isAborted()) return true;
    if (performance.now() - sliceStart < SLICE_MS) return false;
    return turnEventLoop().then(() => {
      sliceStart = performance.now();
      return isAborted();
    });
  };
}

/** Resolves in a later task. A message, unlike a timer, is not delayed when tasks follow each other. */
function turnEventLoop(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
