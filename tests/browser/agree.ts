// `cargo xtask agree`: every real model, export and node test on every backend. Writes docs/agreement.md.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { type Browser, expect } from '@playwright/test';

import { type Model, NO_BFLOAT16, type Result, runModels } from './pages/models.js';
import { agreementReport, type BackendName, differences, type Figures } from './support/agreement-report.ts';
import { environment } from './support/environment.ts';
import { expectedRefusals, exportedModels, nodeTests, realModels } from './support/fixtures.ts';
import { nativeEngine } from './support/native.ts';
import { runInPage } from './support/run-in-page.ts';
import { openLibrary, test, type Variant } from './support/test.ts';

const REPORT = join(import.meta.dirname, '../../docs/agreement.md');

const PAGES: { name: Exclude<BackendName, 'native'>; variant: Variant; device: 'wasm' | 'webgpu' }[] = [
  { name: 'wasm simd', variant: 'simd', device: 'wasm' },
  { name: 'wasm relaxed', variant: 'relaxed', device: 'wasm' },
  { name: 'WebGPU', variant: 'relaxed', device: 'webgpu' },
];

test('every model on every backend', async ({ browser, origin }) => {
  test.setTimeout(0);
  const figures: Figures = { refusals: expectedRefusals('exports'), nodeRefusals: expectedRefusals('nodes'), backends: [] };
  const engine = nativeEngine(environment('SOTTOVOCE_CLI'), origin);
  figures.backends.push({ name: 'native', ...(await runAll((models) => runModels(models, engine), nodeTests())) });
  for (const { name, variant, device } of PAGES) figures.backends.push({ name, ...(await inPage(browser, origin, variant, device)) });

  const json = process.env['SOTTOVOCE_AGREE_JSON'];
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(figures, undefined, 2)}\n`);
  writeFileSync(REPORT, agreementReport(figures));
  for (const { backend, result } of differences(figures)) {
    console.log(`    ${backend}: ${result.name}: ${result.outcome}, ${result.maxAbsError.toExponential(1)} off: ${result.reason}`);
  }
  expect(disagreements(figures)).toEqual([]);
});

async function inPage(browser: Browser, origin: string, variant: Variant, device: 'wasm' | 'webgpu') {
  const page = await browser.newPage();
  const library = await openLibrary(page, origin, variant);
  // A GPU has a part in attentions only.
  const nodes = nodeTests().filter(({ name }) => device === 'wasm' || /attention|gqa|mha/.test(name));
  const results = await runAll((models, worker) => runInPage(library, page, origin, models, device, worker), nodes);
  await page.close();
  return results;
}

async function runAll(run: (models: Model[], worker: boolean) => Promise<Result[]>, nodes: Model[]) {
  return { real: await run(realModels(), true), exports: await run(exportedModels(), true), nodes: await run(nodes, false) };
}

/** Every model that is wrong or failed, and every one that is refused unexpectedly, a line each. */
function disagreements(figures: Figures): string[] {
  const { refusals, nodeRefusals, backends } = figures;
  const isUnexpected = ({ name, outcome, reason }: Result) =>
    outcome === 'refused' && !(name in refusals || name in nodeRefusals || reason === NO_BFLOAT16);
  const refused = backends.flatMap(({ name, real, exports, nodes }) =>
    [...real, ...exports, ...nodes].filter(isUnexpected).map((result) => ({ backend: name, result })),
  );
  return [...refused, ...differences(figures)].map(({ backend, result }) => `${backend}: ${result.name}: ${result.outcome} ${result.reason}`);
}
