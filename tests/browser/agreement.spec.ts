// Whole models against what ONNX Runtime answered for the same inputs.

import { join } from 'node:path';

import { expect, type JSHandle } from '@playwright/test';

import type { InferenceSession } from '../../pkg/dist/index.js';
import { type Model, MODELS } from './support/models.ts';
import { type NumberTensor, readNumbers } from './support/safetensors.ts';
import { test, type Variant } from './support/test.ts';

const RECORDED = join(import.meta.dirname, '../fixtures/agreement');
const INPUTS = ['input_ids', 'attention_mask', 'token_type_ids'];
const CASES = [1, 8].flatMap((batch) => [1, 7, 128, 512].map((length) => ({ batch, length })));

const VARIANTS: Variant[] = ['simd', 'relaxed', 'relaxed-threads'];
const WASM_TOLERANCE = 1e-4;
const WEBGPU_TOLERANCE = 1e-3;

for (const model of MODELS) {
  for (const variant of VARIANTS) {
    test.describe(`wasm ${variant}`, () => {
      test.use({ variant });

      test(`${model.name} agrees with ONNX Runtime`, async ({ library, page }) => {
        test.setTimeout(300_000);
        const session = await library.evaluateHandle(({ InferenceSession }, file) => InferenceSession.create(file), model.file);
        const threads = variant.endsWith('-threads') ? Math.min(4, await page.evaluate(() => navigator.hardwareConcurrency)) : 1;
        expect(await session.evaluate((session) => session.threads)).toBe(threads);
        expect(page.workers().map((worker) => worker.url())).toEqual(Array(threads).fill(expect.stringContaining(`worker-${variant}.js`)));
        await expectAgreement(session, model, WASM_TOLERANCE);
        expect(await session.evaluate(({ device }) => device)).toBe('cpu');
      });
    });
  }

  test(`WebGPU: ${model.name} agrees with ONNX Runtime`, { tag: '@webgpu' }, async ({ library }) => {
    test.setTimeout(600_000);
    const options = { executionProviders: ['webgpu'] };
    const session = await library.evaluateHandle(({ InferenceSession }, [file, options]) => InferenceSession.create(file, options), [model.file, options] as const);
    await expectAgreement(session, model, WEBGPU_TOLERANCE);
    const counters = await session.evaluate((session) => session.counters());
    expect(counters).toMatchObject({ attentionOnGpu: model.layers * CASES.length, attentionOnCpu: 0, runs: CASES.length });
  });
}

/** Runs all cases on one session, prints their errors, and expects each to be within the tolerance. */
async function expectAgreement(session: JSHandle<InferenceSession>, model: Model, tolerance: number): Promise<void> {
  for (const { batch, length } of CASES) {
    const recorded = readNumbers(join(RECORDED, model.name, `batch${batch}-length${length}.safetensors`));
    const inputs = INPUTS.map((name) => ({ name, ...recorded.get(name)! }));
    const expected = recorded.get('expected')!;
    const start = Date.now();
    const { dims, rows } = await runRows(session, inputs, recorded.get('rows')!.values);
    const error = maxAbsError(rows, expected.values);
    console.log(`    ${model.name} ${batch}x${length}: max abs error ${error.toExponential(1)}, ${Date.now() - start} ms`);
    expect.soft(dims, `${batch}x${length}`).toEqual([batch, length, expected.dims[1]]);
    expect.soft(error, `${batch}x${length}`).toBeLessThanOrEqual(tolerance);
  }
}

/** Runs the model and gives the wanted rows of its one output `[batch, seq, width]`, flattened. */
function runRows(session: JSHandle<InferenceSession>, inputs: (NumberTensor & { name: string })[], wanted: number[]) {
  return session.evaluate(
    async (session, { inputs, wanted }) => {
      const feeds = inputs.map(({ name, dims, values }) => [name, { type: 'int64', dims, data: BigInt64Array.from(values, BigInt) }] as const);
      const output = (await session.run(Object.fromEntries(feeds)))[session.outputNames[0]!]!;
      const width = output.dims.at(-1)!;
      const data = output.data as Float32Array;
      return { dims: output.dims, rows: wanted.flatMap((row) => [...data.subarray(row * width, (row + 1) * width)]) };
    },
    { inputs, wanted },
  );
}

/** NaN where either side holds one. */
function maxAbsError(actual: readonly number[], expected: readonly number[]): number {
  expect(actual.length).toBe(expected.length);
  return expected.reduce((worst, value, at) => Math.max(worst, Math.abs(actual[at]! - value)), 0);
}
