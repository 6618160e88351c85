import { readFileSync } from 'node:fs';

import { parseSafetensors, type StoredTensor } from '../pages/safetensors.js';

/** A tensor whose elements are plain numbers. */
export interface NumberTensor {
  readonly dims: readonly number[];
  /** int64 values too: those in the fixtures are exact as numbers. */
  readonly values: number[];
}

/** The tensors of a safetensors file, by name. */
export function readSafetensors(path: string): Map<string, StoredTensor> {
  const bytes = readFileSync(path);
  return parseSafetensors(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer);
}

/** As {@link readSafetensors}, in a form that can be handed to a page. */
export function readNumbers(path: string): ReadonlyMap<string, NumberTensor> {
  const entries = [...readSafetensors(path)];
  return new Map(entries.map(([name, { dims, data }]) => [name, { dims, values: Array.from<number | bigint, number>(data, Number) }]));
}
