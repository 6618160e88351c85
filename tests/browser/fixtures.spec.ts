// Every fixture through the package: exports and single operators are right or refused, broken files end cleanly.

import { expect } from '@playwright/test';

import { type Model, NO_BFLOAT16, type Result } from './pages/models.js';
import { exportedModels, expectedRefusals, malformedFiles, nodeTests } from './support/fixtures.ts';
import { runInPage } from './support/run-in-page.ts';
import { test, type Variant } from './support/test.ts';

const VARIANTS: Variant[] = ['simd', 'relaxed'];
const GOOD_MODEL = '/tests/browser/fixtures/lookup.onnx';

interface Group {
  name: 'exports' | 'nodes';
  models: () => Model[];
}

const GROUPS: Group[] = [
  { name: 'exports', models: exportedModels },
  { name: 'nodes', models: nodeTests },
];

/**
 * Exports whose attention the CPU computes: statically quantised ones that round between its parts, and GroupQueryAttention, which
 * says where each sequence's queries stand.
 */
const ATTENTION_ON_CPU = /__genai-|^(bert-cls__qdq-uint8-perchannel|bert__qdq-int8|gpt2__qdq-a16w8|llama-gqa__qdq-int8-sym|vit__qop-uint8)$/;

test.setTimeout(900_000);

for (const variant of VARIANTS) {
  test.describe(`wasm ${variant}`, () => {
    test.use({ variant });

    for (const { name, models } of GROUPS) {
      test(`${name}: right or refused`, async ({ library, page, origin }) => {
        const results = await runInPage(library, page, origin, models(), 'wasm', name === 'exports');
        expectRightOrRefused(results, expectedRefusals(name));
      });
    }

    test('malformed files end cleanly, and the next load works', async ({ library, page, origin }) => {
      const module = await page.evaluateHandle(
        (address) => import(address) as Promise<typeof import('./pages/malformed.js')>,
        `${origin}/tests/browser/pages/malformed.js`,
      );
      const complaints = await module.evaluate(
        ({ tryMalformed }, { library, files, good }) => tryMalformed(library, files, good),
        { library, files: malformedFiles(), good: GOOD_MODEL },
      );
      expect(complaints).toEqual([]);
    });
  });
}

test('WebGPU: exports are right or refused, and their attention runs there', { tag: '@webgpu' }, async ({ library, page, origin }) => {
  const results = await runInPage(library, page, origin, exportedModels(), 'webgpu', false);
  expectRightOrRefused(results, expectedRefusals('exports'));
  for (const { name, counters } of results) {
    if (counters === undefined || ATTENTION_ON_CPU.test(name)) continue;
    const { attentionOnCpu, attentionOnGpu, dispatches } = counters;
    expect.soft({ attentionOnCpu, dispatches, some: attentionOnGpu > 0 }, name).toEqual({ attentionOnCpu: 0, dispatches: attentionOnGpu, some: true });
  }
});

/** JavaScript has no bfloat16: what needs it is refused here only. */
function expectRightOrRefused(results: Result[], refusals: Readonly<Record<string, string>>): void {
  const complaints: string[] = [];
  for (const { name, outcome, reason } of results) {
    if (outcome === 'refused') console.log(`    refused: ${name}: ${reason}`);
    const expected = name in refusals || reason === NO_BFLOAT16 ? 'refused' : 'right';
    if (outcome !== expected) complaints.push(`${name}: ${outcome} ${reason}`);
  }
  console.log(`    ${results.filter(({ outcome }) => outcome === 'right').length} of ${results.length} right`);
  expect.soft(complaints).toEqual([]);
}
