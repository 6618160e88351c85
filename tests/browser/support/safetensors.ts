import { readFileSync } from 'node:fs';

/** A tensor of a safetensors file. */
export interface StoredTensor {
  readonly dims: readonly number[];
  /** int64 values too: those in the fixtures are exact as numbers. */
  readonly values: number[];
}

interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** The tensors of a safetensors file, by name: an 8-byte header size, a JSON header, then the data. */
export function readSafetensors(path: string): ReadonlyMap<string, StoredTensor> {
  const bytes = readFileSync(path);
  const dataStart = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, dataStart)) as Record<string, HeaderEntry>;
  delete header['__metadata__'];
  return new Map(
    Object.entries(header).map(([name, { dtype, shape, data_offsets: [start, end] }]) => [
      name,
      { dims: shape, values: readValues(dtype, bytes.buffer.slice(bytes.byteOffset + dataStart + start, bytes.byteOffset + dataStart + end) as ArrayBuffer) },
    ]),
  );
}

function readValues(dtype: string, data: ArrayBuffer): number[] {
  if (dtype === 'F32') return [...new Float32Array(data)];
  if (dtype === 'I64') return Array.from(new BigInt64Array(data), Number);
  throw new Error(`the fixtures hold no tensors of type ${dtype}`);
}
