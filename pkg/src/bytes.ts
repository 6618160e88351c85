import { invalidInput, typedError } from './errors.js';

/**
 * A file's bytes as they are handed to the engine: pieces of memory in order, or a `Blob` still on disk. Pieces that are
 * `owned` each hold their whole buffer and may be moved away; others are the caller's.
 */
export type FileBytes = { readonly pieces: readonly Uint8Array[]; readonly owned: boolean } | { readonly blob: Blob };

/** A file that the engine reads at will, so that its memory never holds the whole of it. */
export interface ByteSource {
  /** Bytes in the file. */
  readonly size: number;
  /** Fills `buffer` wholly with the bytes from `offset` on, or throws. */
  readAt(offset: number, buffer: Uint8Array): void;
}

const PIECE_BYTES = 4 * 1024 * 1024;

/** Gathers bytes of unknown number into pieces of equal size, without ever moving them again. */
export class ByteCollector {
  #pieces: Uint8Array[] = [];
  #size = 0;

  /** Bytes gathered so far. */
  get size(): number {
    return this.#size;
  }

  /** Appends a copy of the bytes. */
  append(bytes: Uint8Array): void {
    let offset = 0;
    while (offset < bytes.length) {
      const filled = this.#size % PIECE_BYTES;
      if (filled === 0) this.#pieces.push(new Uint8Array(PIECE_BYTES));
      const taken = Math.min(PIECE_BYTES - filled, bytes.length - offset);
      this.#pieces.at(-1)!.set(bytes.subarray(offset, offset + taken), filled);
      this.#size += taken;
      offset += taken;
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#pieces = [];
    this.#size = 0;
  }

  /** The bytes, in order; each piece owns its buffer. */
  finish(): Uint8Array[] {
    const filled = this.#size % PIECE_BYTES;
    if (filled !== 0) this.#pieces.push(this.#pieces.pop()!.slice(0, filled));
    return this.#pieces;
  }
}

/** The bytes of one small file in one piece. */
export function joinPieces(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    joined.set(piece, offset);
    offset += piece.length;
  }
  return joined;
}

/** Opens a file's bytes for reading. A `Blob` is read piecemeal in workers, and beforehand where that cannot be done. */
export async function openBytes(bytes: FileBytes): Promise<ByteSource> {
  if ('pieces' in bytes) return new PieceSource(bytes.pieces);
  if (typeof FileReaderSync !== 'undefined') return new BlobSource(bytes.blob);
  return new PieceSource([new Uint8Array(await bytes.blob.arrayBuffer().catch(unreadable))]);
}

class PieceSource implements ByteSource {
  readonly size: number;
  readonly #pieces: readonly Uint8Array[];
  readonly #starts: number[] = [];

  constructor(pieces: readonly Uint8Array[]) {
    this.#pieces = pieces;
    let size = 0;
    for (const piece of pieces) {
      this.#starts.push(size);
      size += piece.length;
    }
    this.size = size;
  }

  readAt(offset: number, buffer: Uint8Array): void {
    checkRange(offset, buffer.length, this.size);
    let written = 0;
    for (let index = this.#pieceAt(offset); written < buffer.length; index++) {
      const from = offset + written - this.#starts[index]!;
      const part = this.#pieces[index]!.subarray(from, from + buffer.length - written);
      buffer.set(part, written);
      written += part.length;
    }
  }

  /** Index of the last piece that starts at or before `offset`. */
  #pieceAt(offset: number): number {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

/** Bytes that are read at once where reads follow each other: each read of a `Blob` is a round trip to another process. */
const AHEAD_BYTES = 16 * 1024 * 1024;
/** Bytes between two reads that still follow each other. */
const GAP_BYTES = 4096;

class BlobSource implements ByteSource {
  readonly size: number;
  readonly #blob: Blob;
  /** What was read last, and where it begins. */
  #held = new Uint8Array();
  #start = 0;
  /** Where the last read ended. */
  #end = -GAP_BYTES;

  constructor(blob: Blob) {
    this.#blob = blob;
    this.size = blob.size;
  }

  readAt(offset: number, buffer: Uint8Array): void {
    checkRange(offset, buffer.length, this.size);
    const end = offset + buffer.length;
    if (offset < this.#start || end > this.#start + this.#held.length) {
      const follows = offset >= this.#end && offset < this.#end + GAP_BYTES;
      this.#hold(offset, follows ? Math.max(end, offset + AHEAD_BYTES) : end);
    }
    buffer.set(this.#held.subarray(offset - this.#start, end - this.#start));
    this.#end = end;
  }

  #hold(start: number, end: number): void {
    try {
      this.#held = new Uint8Array(new FileReaderSync().readAsArrayBuffer(this.#blob.slice(start, end)));
      this.#start = start;
    } catch (cause) {
      unreadable(cause);
    }
  }
}

function unreadable(cause: unknown): never {
  throw typedError(
    'NetworkError',
    'the file could not be read',
    {
      doing: 'reading a Blob',
      remedy: 'it may have been changed or removed since it was chosen: choose it again',
    },
    { cause },
  );
}

function checkRange(offset: number, length: number, size: number): void {
  if (offset < 0 || offset + length > size) {
    throw invalidInput(`bytes ${offset} to ${offset + length} lie outside a file of ${size} bytes`);
  }
}
