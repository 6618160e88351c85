// Empties dist, but for the engine's WebAssembly, and lays the parts of onnxruntime-common into it that the package uses:
// a page without a bundler cannot resolve the name of a dependency.

import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const source = join(root, 'node_modules/onnxruntime-common/dist/esm');
const target = join(dist, 'vendor/onnxruntime-common');

const ENTRIES = ['tensor.js', 'tensor.d.ts', 'inference-session.d.ts'];
const RELATIVE_IMPORT = /(?:from|import\()\s*'\.\/([\w-]+)\.js'/g;

mkdirSync(dist, { recursive: true });
for (const name of readdirSync(dist)) {
  if (name !== 'wasm') rmSync(join(dist, name), { recursive: true });
}
mkdirSync(target, { recursive: true });

const files = new Set(ENTRIES);
for (const file of files) {
  const text = readFileSync(join(source, file), 'utf8');
  const extension = file.endsWith('.d.ts') ? '.d.ts' : '.js';
  for (const [, imported] of text.matchAll(RELATIVE_IMPORT)) files.add(imported + extension);
  writeFileSync(join(target, file), text.replace(/^\/\/# sourceMappingURL=.*\n?/m, ''));
}
copyFileSync(join(root, 'scripts/onnxruntime-common.LICENSE'), join(target, 'LICENSE'));
