import type { FileBytes } from './bytes.js';
import { invalidInput } from './errors.js';
import { resolveUrl } from './fetch.js';
import type { LoadFile } from './load.js';
import { describe } from './options.js';

/** Where a model, or a file of external data, comes from: an address, bytes, or a `Blob` or `File`. */
export type ModelSource = string | URL | Uint8Array | ArrayBufferLike | Blob;

/** Where a file of a load comes from. */
export function originOf(source: ModelSource): LoadFile['origin'] {
  if (typeof source === 'string' || source instanceof URL) return { url: resolveUrl(source) };
  return { bytes: bytesOf(source) };
}

function bytesOf(source: Exclude<ModelSource, string | URL>): FileBytes {
  if (source instanceof Blob) return { blob: source };
  if (source instanceof Uint8Array) return { pieces: [source], owned: false };
  if (isBuffer(source)) return { pieces: [new Uint8Array(source)], owned: false };
  throw invalidInput(`a model cannot be read from ${describe(source)}`, {
    remedy: 'pass a URL, a Uint8Array, an ArrayBuffer or a Blob',
  });
}

function isBuffer(value: unknown): value is ArrayBufferLike {
  return (
    value instanceof ArrayBuffer || (typeof SharedArrayBuffer !== 'undefined' && value instanceof SharedArrayBuffer)
  );
}

/** Part of a buffer, as onnxruntime-common's `create` takes it. */
export function bufferPart(buffer: ModelSource, byteOffset: number, byteLength: number | undefined): Uint8Array {
  if (!isBuffer(buffer)) throw invalidInput(`a byte offset needs a buffer, got ${describe(buffer)}`);
  const length = byteLength ?? buffer.byteLength - byteOffset;
  if (!Number.isSafeInteger(byteOffset) || byteOffset < 0 || length < 0 || byteOffset + length > buffer.byteLength) {
    throw invalidInput(`${length} bytes from ${byteOffset} on lie outside a buffer of ${buffer.byteLength} bytes`);
  }
  return new Uint8Array(buffer, byteOffset, length);
}

/** What a model's file is called. */
export function modelName(source: ModelSource): string {
  if (typeof source === 'string' || source instanceof URL) return lastPart(resolveUrl(source));
  return 'model';
}

/** The file name in an address. */
export function lastPart(url: URL): string {
  return readablePath(url.pathname.split('/').at(-1)!) || url.host;
}

/** A path without percent-encoding, where it is one that can be decoded. */
export function readablePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
