import { typedError } from './errors.js';

/** The little of Node that is used, reached without an import that bundlers for the browser would stumble over. */
interface NodeProcess {
  getBuiltinModule?(name: 'node:fs/promises'): { readFile(url: URL): Promise<Uint8Array> };
}

/** An error of Node's file system, with its code, e.g. `ENOENT`. */
export interface FileSystemError extends Error {
  readonly code?: string;
}

/** Reads a `file:` address, which only Node can do. */
export async function readFileUrl(url: URL): Promise<Uint8Array> {
  const files = (globalThis as { process?: NodeProcess }).process?.getBuiltinModule?.('node:fs/promises');
  if (files === undefined) {
    throw typedError('NetworkError', 'a page cannot read file: addresses', {
      file: url.href,
      remedy: 'serve the files over HTTP, or pass the bytes or a File',
    });
  }
  return files.readFile(url);
}
