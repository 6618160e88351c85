// The engine on the command line, as an engine of pages/models.js.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { Tensor } from '../pages/compare.js';
import type { Engine } from '../pages/models.js';
import { readSafetensors } from './safetensors.ts';

const REPOSITORY = join(import.meta.dirname, '../../..');

/**
 * Runs models by `sottovoce run`, which loads a model for each run.
 *
 * @param program - path of the command line program
 * @param origin - address of the server of the repository's root
 */
export function nativeEngine(program: string, origin: string): Engine {
  return {
    origin,
    toleranceFactor: 1,
    takesBfloat16: true,
    async open({ file }) {
      const folder = mkdtempSync(join(tmpdir(), 'sottovoce-'));
      const [inputs, outputs] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
      const model = join(REPOSITORY, file);
      return {
        inputNames: (await inspect(program, model)).inputs.map(({ name }) => name),
        async run(feeds) {
          writeFileSync(inputs, safetensors(feeds));
          await execute(program, ['run', model, '--inputs', inputs, '--outputs', outputs]);
          return Object.fromEntries(readSafetensors(outputs));
        },
        release: async () => rmSync(folder, { recursive: true }),
      };
    },
  };
}

async function inspect(program: string, model: string): Promise<{ inputs: { name: string }[] }> {
  return JSON.parse(await execute(program, ['inspect', model, '--json']));
}

/** What the program prints. Its errors are typed: one line `error[CODE]: sentence`. */
async function execute(program: string, args: string[]): Promise<string> {
  try {
    return (await promisify(execFile)(program, args, { maxBuffer: 1 << 26 })).stdout;
  } catch (failure) {
    const { stderr = '' } = failure as { stderr?: string };
    const [, code, message] = /^error\[(\w+)\]: (.*)$/m.exec(stderr) ?? [];
    throw Object.assign(new Error(message ?? String(failure)), { code });
  }
}

const TYPES: Readonly<Record<string, string>> = {
  float32: 'F32',
  float64: 'F64',
  float16: 'F16',
  bfloat16: 'BF16',
  int8: 'I8',
  uint8: 'U8',
  int16: 'I16',
  uint16: 'U16',
  int32: 'I32',
  uint32: 'U32',
  int64: 'I64',
  uint64: 'U64',
  bool: 'BOOL',
};

function safetensors(tensors: Readonly<Record<string, Tensor>>): Buffer {
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let size = 0;
  for (const [name, { type, dims, data }] of Object.entries(tensors)) {
    const { buffer, byteOffset, byteLength } = data as Uint8Array;
    header[name] = { dtype: TYPES[type], shape: dims, data_offsets: [size, size + byteLength] };
    parts.push(new Uint8Array(buffer, byteOffset, byteLength));
    size += byteLength;
  }
  // The data begin at a multiple of 8 bytes.
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...parts]);
}
