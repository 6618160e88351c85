import type { LoadFile } from './load.js';

/**
 * What a `progress_callback` is told. `name` is the model as the caller named it, `file` a file of it.
 *
 * - `initiate`: a file is asked for; `download`: it begins to arrive; `done`: it is there.
 * - `progress`: bytes of this file; `progress_total`: bytes of all files together. `loaded` and `total` are bytes,
 *   `progress` percent. None of them ever goes back. While a server does not say how large a file is, `total` and
 *   `progress` are `undefined`; at the end `loaded` equals `total` and `progress` is 100.
 * - `ready`: the model is loaded.
 */
export type ProgressInfo =
  | { status: 'initiate' | 'download' | 'done'; name: string; file: string }
  | {
      status: 'progress';
      name: string;
      file: string;
      loaded: number;
      total: number | undefined;
      progress: number | undefined;
    }
  | { status: 'progress_total'; name: string; loaded: number; total: number | undefined; progress: number | undefined }
  | { status: 'ready'; name: string };

/** Receives {@link ProgressInfo} during a load. */
export type ProgressCallback = (info: ProgressInfo) => void;

interface FileProgress {
  loaded: number;
  total: number | undefined;
}

/** Adds up the progress of one load's files. */
export class ProgressReporter {
  readonly #callback: ProgressCallback | undefined;
  readonly #name: string;
  readonly #files = new Map<string, FileProgress>();

  constructor(callback: ProgressCallback | undefined, name: string) {
    this.#callback = callback;
    this.#name = name;
  }

  /** Names files that are about to be read, so that totals are not told before all are known. */
  expect(files: readonly LoadFile[]): void {
    for (const file of files) {
      if ('url' in file.origin) this.#files.set(file.name, { loaded: 0, total: undefined });
    }
  }

  initiate(file: string): void {
    this.#callback?.({ status: 'initiate', name: this.#name, file });
  }

  /** @param loaded - bytes so far, never fewer than before */
  progress(file: string, loaded: number, total: number | undefined): void {
    if (this.#callback === undefined) return;
    const state = this.#files.get(file)!;
    if (state.loaded === 0 && loaded === 0) this.#callback({ status: 'download', name: this.#name, file });
    state.loaded = loaded;
    state.total = total;
    this.#callback({ status: 'progress', name: this.#name, file, loaded, total, progress: percent(loaded, total) });
    this.#reportTotal();
  }

  done(file: string): void {
    this.#callback?.({ status: 'done', name: this.#name, file });
  }

  /** No more will come of a file, which need not be whole. */
  giveUp(file: string): void {
    const state = this.#files.get(file);
    if (state !== undefined) state.total = state.loaded;
  }

  ready(): void {
    this.#callback?.({ status: 'ready', name: this.#name });
  }

  #reportTotal(): void {
    const files = [...this.#files.values()];
    const loaded = files.reduce((sum, file) => sum + file.loaded, 0);
    const total = files.reduce<number | undefined>(
      (sum, file) => (sum === undefined || file.total === undefined ? undefined : sum + file.total),
      0,
    );
    this.#callback?.({ status: 'progress_total', name: this.#name, loaded, total, progress: percent(loaded, total) });
  }
}

function percent(loaded: number, total: number | undefined): number | undefined {
  return total === undefined ? undefined : (100 * loaded) / total;
}
