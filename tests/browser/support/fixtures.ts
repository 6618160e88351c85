// The fixtures that `cargo xtask` unpacks, as the pages of these tests take them.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { MalformedFile } from '../pages/malformed.js';
import type { Model } from '../pages/models.js';

const FIXTURES = join(import.meta.dirname, '../../fixtures');

/** Path below the repository's root, which is also the address on its server. */
const UNPACKED = '/tests/fixtures/unpacked';

interface Tolerance {
  atol: number;
  rtol: number;
}

interface Exports {
  models: { name: string; tolerance: Tolerance; inputs: { name: string }[]; cases: { tolerance?: Tolerance; compare?: string }[] }[];
}

interface Nodes {
  cases: { name: string; n_cases: number; tolerance: Tolerance; ort: string }[];
}

interface Malformed {
  files: { file: string; expect: MalformedFile['expect'] }[];
}

export function exportedModels(): Model[] {
  return manifest<Exports>('exports', 'MANIFEST.json').models.map(({ name, tolerance, inputs, cases }) => ({
    name,
    folder: `${UNPACKED}/exports/${name}`,
    externalData: filesBeside(join('exports', name)),
    cases: cases.map((recorded) => ({ tolerance: recorded.tolerance ?? tolerance, masked: recorded.compare !== undefined })),
    decodes: inputs.some((input) => /past|decoder_input_ids/.test(input.name)) || /^(gpt2|llama|qwen)/.test(name),
  }));
}

export function nodeTests(): Model[] {
  const cases = ['MANIFEST.json', 'MANIFEST_contrib.json'].flatMap((file) => manifest<Nodes>('nodes', file).cases);
  return cases.map(({ name, n_cases, tolerance }) => ({
    name,
    folder: `${UNPACKED}/nodes/${name}`,
    externalData: [],
    cases: Array.from({ length: n_cases }, () => ({ tolerance, masked: false })),
    decodes: false,
  }));
}

export function malformedFiles(): MalformedFile[] {
  return manifest<Malformed>('malformed', 'MANIFEST.json').files.map(({ file, expect }) => {
    const folder = dirname(file) === '.' ? undefined : join('malformed', dirname(file));
    const beside = folder === undefined ? [] : filesBeside(folder);
    return {
      file,
      address: `${UNPACKED}/malformed/${file}`,
      externalData: beside.map((path) => ({ path, data: `${UNPACKED}/${folder}/${path}` })),
      expect,
    };
  });
}

/** The models that are refused, with the reasons that the native tests hold them to. */
export function expectedRefusals(group: 'exports' | 'nodes'): Readonly<Record<string, string>> {
  return JSON.parse(readFileSync(join(FIXTURES, 'expected_refusals.json'), 'utf8'))[group] ?? {};
}

/** What may hold a model's weights. */
function filesBeside(folder: string): string[] {
  return readdirSync(join(FIXTURES, 'unpacked', folder)).filter((name) => !/\.(onnx|safetensors)$/.test(name));
}

function manifest<T>(archive: string, file: string): T {
  return JSON.parse(readFileSync(join(FIXTURES, 'unpacked', archive, file), 'utf8')) as T;
}
