// `node benches/run.mjs`: our engine beside its peers in one Chromium, on the models in models/ and the package in
// pkg/dist. `cargo xtask bench` prepares all that and calls it.

import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { launchBrowser } from './browser.mjs';
import { DECODERS, dimensionsOf, MODELS, PEER, timedEngines } from './cases.mjs';
import { barChart } from './chart.mjs';
import { environmentOf, printEnvironment } from './environment.mjs';
import { startServer } from './server.mjs';
import { printShares, sharesOf } from './shares.mjs';
import { create } from './suites/create.mjs';
import { decoder } from './suites/decoder.mjs';
import { encoder, long } from './suites/encoder.mjs';
import { limits } from './suites/limits.mjs';
import { memory } from './suites/memory.mjs';
import { pipeline } from './suites/pipeline.mjs';
import { profile } from './suites/profile.mjs';
import { webgpu } from './suites/webgpu.mjs';

const SUITES = { limits, encoder, long, pipeline, decoder, create, memory, webgpu, profile };
const DEFAULT_SUITES = ['limits', 'encoder', 'pipeline', 'decoder', 'create', 'memory'];

const ALL_MODELS = [...Object.keys(MODELS), ...Object.keys(DECODERS)];

const USAGE = `Usage: node benches/run.mjs [options]
  --suite NAME    one of ${Object.keys(SUITES).join(', ')}; may be repeated; ${DEFAULT_SUITES.join(', ')} by default
  --model NAME    one of ${ALL_MODELS.join(', ')}; may be repeated; all by default
  --threads N     threads of every engine; 1 by default
  --engine NAME   one of ${ours(1).join(', ')}, or with more threads ${ours(2).join(', ')}; may be repeated; all by default
  --shape SHAPE   batch and sequence, such as 1x128; may be repeated; each suite's own by default
  --quick         few samples: shows that the benches work, not how fast anything is
  --json FILE     also write the figures to FILE
  --svg FILE      also write a bar chart of the ratios to FILE
  --help          print this`;

function ours(threads) {
  return timedEngines(threads).filter((name) => name !== PEER);
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

function readOptions() {
  const strings = { type: 'string', multiple: true };
  const { values } = parseArgs({
    options: {
      suite: { ...strings, default: DEFAULT_SUITES },
      model: { ...strings, default: ALL_MODELS },
      threads: { type: 'string', default: '1' },
      engine: strings,
      shape: strings,
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      svg: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  checkNames('suite', values.suite, Object.keys(SUITES));
  checkNames('model', values.model, ALL_MODELS);
  if (!/^[1-9]\d?$/.test(values.threads)) throw new Error(`--threads ${values.threads}: a number from 1 to 99`);
  const threads = Number(values.threads);
  checkNames('engine', values.engine ?? [], ours(threads));
  for (const shape of values.shape ?? []) {
    if (!/^[1-9]\d*x[1-9]\d*$/.test(shape)) throw new Error(`--shape ${shape}: a shape is such as 8x128`);
    if (dimensionsOf(shape)[1] > 512) throw new Error(`--shape ${shape}: the models take up to 512 tokens`);
  }
  return { ...values, threads, engine: values.engine ?? ours(threads) };
}

function checkNames(option, names, known) {
  for (const name of names) {
    if (!known.includes(name)) throw new Error(`--${option} ${name}: there are ${known.join(', ')}`);
  }
}

/** Runs the suites, printing each as it ends. */
async function runSuites(options) {
  const { threads } = options;
  const server = await startServer(root, { isolated: threads > 1 });
  const browser = await launchBrowser();
  try {
    const engines = timedEngines(threads).filter((name) => name === PEER || options.engine.includes(name));
    const environment = environmentOf(root, browser, threads, engines);
    printEnvironment(environment);
    const address = `${server.address}/benches/page/index.html?threads=${threads}`;
    const { shape: shapes, quick } = options;
    const models = options.model.filter((name) => name in MODELS);
    const decoders = options.model.filter((name) => name in DECODERS);
    const suites = {};
    for (const name of options.suite) {
      suites[name] = await SUITES[name].run({ browser, address, engines, models, decoders, shapes, quick });
      SUITES[name].print(suites[name]);
    }
    const shares = threads === 1 ? sharesOf(suites) : [];
    printShares(shares);
    return { environment, quick, suites, shares };
  } finally {
    await browser.close();
    server.close();
  }
}

async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(USAGE);
    return;
  }
  const figures = await runSuites(options);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(figures, undefined, 2)}\n`);
  if (options.svg !== undefined) writeFileSync(options.svg, await barChart(figures));
  const disagreeing = Object.entries(figures.suites).filter(([name, results]) => !SUITES[name].agrees(results));
  if (disagreeing.length > 0) {
    throw new Error(`outputs differ from the peer's in: ${disagreeing.map(([name]) => name).join(', ')}`);
  }
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
