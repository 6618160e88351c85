import { abortedError } from './errors.js';

/** Runs calls one at a time, in order. One call's failure does not touch the next. */
export class CallQueue {
  #waiting: (() => void)[] = [];
  #busy = false;

  /**
   * Runs `call` after all earlier ones. When `signal` fires while the call still waits, it leaves the queue with an
   * `Aborted` error; once it runs, stopping is its own business.
   */
  async run<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#turn(signal);
    try {
      return await call();
    } finally {
      this.#next();
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortedError('waiting for earlier calls', signal));
    if (!this.#busy) {
      this.#busy = true;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(abortedError('waiting for earlier calls', signal));
      };
      const enter = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      signal?.addEventListener('abort', leave, { once: true });
      this.#waiting.push(enter);
    });
  }

  #next(): void {
    const enter = this.#waiting.shift();
    if (enter === undefined) this.#busy = false;
    else enter();
  }
}
