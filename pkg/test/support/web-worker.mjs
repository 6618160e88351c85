import { Worker as NodeWorker } from 'node:worker_threads';

const BOOTSTRAP = `
  const { parentPort, workerData } = require('node:worker_threads');
  const target = new EventTarget();
  globalThis.addEventListener = target.addEventListener.bind(target);
  globalThis.removeEventListener = target.removeEventListener.bind(target);
  globalThis.postMessage = (message, { transfer }) => parentPort.postMessage(message, transfer);
  const waiting = [];
  let deliver = (data) => waiting.push(data);
  parentPort.on('message', (data) => deliver(data));
  import(workerData).then(() => {
    deliver = (data) => target.dispatchEvent(new MessageEvent('message', { data }));
    waiting.forEach(deliver);
  });
`;

/** As much of a browser's `Worker` as the package uses, on Node's threads. */
export class Worker {
  static ended = 0;
  static #threads = new Set();
  onmessage = null;
  onmessageerror = null;
  onerror = null;
  #thread;

  constructor(url) {
    this.#thread = new NodeWorker(BOOTSTRAP, { eval: true, workerData: url.href });
    this.#thread.on('message', (data) => this.onmessage({ data }));
    this.#thread.on('error', (error) => this.onerror({ message: error.message, preventDefault() {} }));
    Worker.#threads.add(this.#thread);
  }

  postMessage(message, transfer) {
    this.#thread.postMessage(message, transfer);
  }

  terminate() {
    Worker.ended += 1;
    void this.#thread.terminate();
  }

  static endAll() {
    for (const thread of Worker.#threads) void thread.terminate();
  }
}
