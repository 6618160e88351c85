// What loading a real model takes of WebAssembly's memory, which never shrinks: its growth is the peak.

import { statSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from '@playwright/test';

import { test } from './support/test.ts';

/** all-MiniLM-L6-v2 in f32, 90 MB, and with weights of 8 bits, 23 MB; from `cargo xtask models --for test`. */
const MODELS = ['model.onnx', 'model_quantized.onnx'].map((file) => `/models/all-MiniLM-L6-v2/onnx/${file}`);
const SMALL_MODEL = '/tests/browser/fixtures/lookup.onnx';

const FACTOR = 1.25;
const CONSTANT = 64 * 2 ** 20;

for (const model of MODELS) {
  test(`loading takes little more memory than the weights: ${model}`, async ({ library, page, origin }) => {
    const { size } = statSync(join(import.meta.dirname, '../..', model));
    const memories = await page.evaluateHandle(
      (address): Promise<{ memoryBytes(): number }> => import(address),
      `${origin}/benches/page/memories.js`,
    );
    const growth = await library.evaluate(
      async ({ InferenceSession }, { memories, small, model }) => {
        await InferenceSession.create(small, { worker: false });
        const before = memories.memoryBytes();
        await InferenceSession.create(model, { worker: false });
        return memories.memoryBytes() - before;
      },
      { memories, small: SMALL_MODEL, model },
    );
    console.log(`    ${(growth / 2 ** 20).toFixed(0)} MiB for a file of ${(size / 2 ** 20).toFixed(0)} MiB`);
    expect(growth).toBeGreaterThan(0);
    expect(growth).toBeLessThanOrEqual(FACTOR * size + CONSTANT);
  });
}
