/**
 * Runs a job such that only the newest run counts: every new one stops the one before it.
 *
 * @param {(signal: AbortSignal) => Promise<void>} job stops when the signal says so
 * @param {number} delay milliseconds of quiet that `soon` waits for
 * @param {(error: unknown, retry: () => void) => void} onError called for a failure other than being stopped
 */
export function latestRun(job, delay, onError) {
  let controller = new AbortController();
  let timer = 0;

  function stop() {
    clearTimeout(timer);
    controller.abort();
  }

  async function now() {
    stop();
    controller = new AbortController();
    const { signal } = controller;
    try {
      await job(signal);
    } catch (error) {
      if (!signal.aborted) onError(error, now);
    }
  }

  function soon() {
    stop();
    timer = setTimeout(now, delay);
  }

  return { now, soon, stop };
}
