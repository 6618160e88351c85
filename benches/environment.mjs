// What the figures were measured on and with.

import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { ENGINES, GGUF_PEER, PEER, PIPELINE_PEER } from './cases.mjs';
import { mebibytes, table } from './report.mjs';

/** The environment of a run, for the JSON and for {@link printEnvironment}. Sizes in bytes. */
export function environmentOf(root, browser, threads, engines) {
  const packages = join(root, 'benches/node_modules');
  return {
    date: new Date().toISOString(),
    browser: `${browser.browserType().name()} ${browser.version()}`,
    processor: cpus()[0].model,
    cores: availableParallelism(),
    loadAverage: loadavg()[0],
    threads,
    versions: {
      sottovoce: versionOf(join(root, 'pkg')),
      [PEER]: versionOf(join(packages, PEER)),
      [PIPELINE_PEER]: versionOf(join(packages, '@huggingface/transformers')),
      [GGUF_PEER]: versionOf(join(packages, '@wllama/wllama')),
    },
    wasm: {
      ...Object.fromEntries(variants(engines).map((name) => [name, wasmFile(join(root, 'pkg/dist/wasm', name, 'sottovoce_bg.wasm'))])),
      [PEER]: wasmFile(join(packages, PEER, 'dist/ort-wasm-simd-threaded.wasm')),
    },
  };
}

export function printEnvironment({ date, browser, processor, cores, loadAverage, threads, versions, wasm }) {
  console.log(`${date}, ${browser}, ${processor}, ${cores} cores, load ${loadAverage.toFixed(1)}`);
  if (loadAverage > 0.5) console.log('Other work runs on this machine: trust the ratios, not the times.');
  const { sottovoce, ...peers } = versions;
  const beside = Object.entries(peers).map((peer) => peer.join(' '));
  const placed = threads === 1 ? "one thread each, the page's own" : `${threads} threads each`;
  console.log(`sottovoce ${sottovoce} beside ${beside.join(', ')}: ${placed} unless said otherwise\n`);
  const rows = Object.entries(wasm).map(([name, { build, rawBytes, gzipBytes }]) => ({
    wasm: name,
    build,
    MiB: mebibytes(rawBytes),
    'MiB, gzip': mebibytes(gzipBytes),
  }));
  console.log(table(rows));
}

/** The builds of ours that are timed. */
function variants(engines) {
  return [...new Set(engines.flatMap((name) => ENGINES[name].variant ?? []))];
}

function versionOf(folder) {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
}

/** A module's sizes, and whether it is a debug build: those keep the names of functions. */
function wasmFile(path) {
  const bytes = readFileSync(path);
  const build = customSections(bytes).includes('name') ? 'debug' : 'release';
  return { build, rawBytes: bytes.length, gzipBytes: gzipSync(bytes, { level: 9 }).length };
}

/** Names of a module's custom sections. Node.js may not compile the module: it need not know all that a browser does. */
function customSections(bytes) {
  const names = [];
  // After magic and version: sections, each an id, a length and that many bytes; id 0 begins with a name.
  for (let place = 8; place < bytes.length; ) {
    const id = bytes[place];
    const section = readLength(bytes, place + 1);
    if (id === 0) {
      const name = readLength(bytes, section.start);
      names.push(bytes.toString('utf8', name.start, name.start + name.length));
    }
    place = section.start + section.length;
  }
  return names;
}

/** An unsigned LEB128 number, and where what follows it starts. */
function readLength(bytes, place) {
  let length = 0;
  for (let shift = 0; ; shift += 7, place += 1) {
    length += (bytes[place] & 0x7f) * 2 ** shift;
    if (bytes[place] < 0x80) return { length, start: place + 1 };
  }
}
