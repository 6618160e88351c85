// `cargo xtask agree`: every real model and every export on every backend. Writes docs/agreement.md.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { type Browser, expect } from '@playwright/test';

import { runModels } from './pages/models.js';
import { agreementReport, type BackendName, type Figures } from './support/agreement-report.ts';
import { environment } from './support/environment.ts';
import { expectedRefusals, exportedModels, realModels } from './support/fixtures.ts';
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
  const figures: Figures = { refusals: expectedRefusals('exports'), backends: [] };
  const engine = nativeEngine(environment('SOTTOVOCE_CLI'), origin);
  const native = { real: await runModels(realModels(), engine), exports: await runModels(exportedModels(), engine) };
  figures.backends.push({ name: 'native', ...native });
  for (const { name, variant, device } of PAGES) figures.backends.push({ name, ...(await inPage(browser, origin, variant, device)) });

  const json = process.env['SOTTOVOCE_AGREE_JSON'];
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(figures, undefined, 2)}\n`);
  writeFileSync(REPORT, agreementReport(figures));
  expect(disagreements(figures)).toEqual([]);
});

async function inPage(browser: Browser, origin: string, variant: Variant, device: 'wasm' | 'webgpu') {
  const page = await browser.newPage();
  const library = await openLibrary(page, origin, variant);
  const run = (models: ReturnType<typeof realModels>) => runInPage(library, page, origin, models, device);
  const results = { real: await run(realModels()), exports: await run(exportedModels()) };
  await page.close();
  return results;
}

/** Every model that is neither right nor expected to be refused, a line each. */
function disagreements({ refusals, backends }: Figures): string[] {
  return backends.flatMap(({ name, real, exports }) =>
    [...real, ...exports]
      .filter((result) => result.outcome !== 'right' && !(result.outcome === 'refused' && (result.name in refusals || /bfloat16/.test(result.reason))))
      .map((result) => `${name}: ${result.name}: ${result.outcome} ${result.reason}`),
  );
}
