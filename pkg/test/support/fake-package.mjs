import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { pathToFileURL } from 'node:url';

const dist = new URL('../../dist/', import.meta.url);
const engine = new URL('fake-engine.mjs', import.meta.url);
const EMPTY_MODULE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);

/** Lays out the built package with the stand-in engine, and returns its folder. It is removed when the process ends. */
export function makeFakePackage() {
  const folder = mkdtempSync(join(tmpdir(), 'sottovoce-'));
  process.once('exit', () => rmSync(folder, { recursive: true }));
  cpSync(dist, folder, { recursive: true, filter: (path) => !path.includes(`dist${sep}wasm`) });
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  for (const variant of ['simd', 'relaxed', 'simd-threads', 'relaxed-threads']) {
    mkdirSync(join(folder, 'wasm', variant), { recursive: true });
    cpSync(engine, join(folder, 'wasm', variant, 'sottovoce.js'));
    writeFileSync(join(folder, 'wasm', variant, 'sottovoce_bg.wasm'), EMPTY_MODULE);
  }
  return folder;
}

/** Imports the package with the stand-in engine. */
export function importFakePackage() {
  return import(pathToFileURL(join(makeFakePackage(), 'index.js')).href);
}

/** A model for the stand-in engine. */
export function fakeModel(behaviour) {
  return new TextEncoder().encode(JSON.stringify(behaviour));
}
