/** One model of the page: loaded from the page's own server, run in its own worker. */
export class Model {
  #pipeline = null;

  /**
   * @param {string} task as in `pipeline(task, …)`
   * @param {string} address folder of the model, relative to the page
   * @param {string} dtype which weights file to take
   */
  constructor(task, address, dtype) {
    this.task = task;
    this.address = address;
    this.dtype = dtype;
    this.name = address.split('/').at(-1);
    /** Size of all the model's files, once loaded. */
    this.bytes = 0;
  }

  get loaded() {
    return this.#pipeline !== null;
  }

  /** `'cpu'` or `'webgpu'`, once loaded. */
  get device() {
    return this.#pipeline.device;
  }

  /** Why that device was chosen, in a sentence; empty when there is nothing to say. */
  get deviceReason() {
    return this.#pipeline.deviceReason ?? '';
  }

  /**
   * @param {string} device `'auto'`, `'cpu'` or `'webgpu'`
   * @param {AbortSignal} signal stops the download
   * @param {(loaded: number, total: number | undefined) => void} onProgress bytes of bytes; no total where it is unknown
   */
  async load(device, signal, onProgress) {
    const { pipeline } = await import('./sottovoce/index.js');
    const loaded = await pipeline(this.task, this.address, {
      dtype: this.dtype,
      device,
      signal,
      progress_callback: (event) => {
        if (event.status !== 'progress_total') return;
        this.bytes = event.loaded;
        onProgress(event.loaded, event.total);
      },
    });
    if (signal.aborted) await loaded.dispose();
    signal.throwIfAborted();
    this.#pipeline = loaded;
  }

  /** The pipeline's answer to the input. */
  run(input, options) {
    return this.#pipeline(input, options);
  }

  /** Ends the model's worker and gives its memory back. */
  async dispose() {
    const pipeline = this.#pipeline;
    this.#pipeline = null;
    await pipeline?.dispose();
  }
}
