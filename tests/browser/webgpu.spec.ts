// Which device runs the attention, by the session's own counters, and what happens where there is no adapter.

import { expect } from '@playwright/test';

import { MODELS, RAMPART } from './support/models.ts';
import { test } from './support/test.ts';

const BATCH = 2;
const LENGTH = 7;
const RUNS = 2;
const BYTES_PER_FLOAT = 4;

for (const model of MODELS) {
  test(`the attention of ${model.name} runs on the GPU, and only its output is read back`, { tag: '@webgpu' }, async ({ library }) => {
    const { device, reason, before, after } = await library.evaluate(
      async ({ InferenceSession }, { file, dims, runs }) => {
        const session = await InferenceSession.create(file, { executionProviders: ['webgpu'] });
        const feed = (value: bigint) => ({ type: 'int64' as const, dims, data: new BigInt64Array(dims[0]! * dims[1]!).fill(value) });
        const before = session.counters();
        for (let run = 0; run < runs; run++) {
          await session.run({ input_ids: feed(1000n), attention_mask: feed(1n), token_type_ids: feed(0n) });
        }
        return { device: session.device, reason: session.deviceReason, before, after: session.counters() };
      },
      { file: model.file, dims: [BATCH, LENGTH], runs: RUNS },
    );
    expect(device).toBe('webgpu');
    expect(reason).not.toBe('');
    const attentions = model.layers * RUNS;
    expect(after.runs - before.runs).toBe(RUNS);
    expect(after.attentionOnGpu - before.attentionOnGpu).toBe(attentions);
    expect(after.attentionOnCpu - before.attentionOnCpu).toBe(0);
    expect(after.dispatches - before.dispatches).toBe(attentions);
    expect(after.submissions - before.submissions).toBe(attentions);
    expect(after.bytesReadBack - before.bytesReadBack).toBe(attentions * BATCH * LENGTH * model.width * BYTES_PER_FLOAT);
    expect(after.bytesUploaded - before.bytesUploaded).toBeGreaterThanOrEqual(attentions * 3 * BATCH * LENGTH * model.width * BYTES_PER_FLOAT);
  });
}

test('an adapter is tried once a page', { tag: '@webgpu' }, async ({ library }) => {
  const counts = await library.evaluate(async ({ InferenceSession }, file) => {
    const counts = [];
    for (let time = 0; time < 2; time++) {
      const session = await InferenceSession.create(file, { executionProviders: ['webgpu'], worker: false });
      counts.push({ device: session.device, dispatches: session.counters().dispatches });
      await session.release();
    }
    return counts;
  }, RAMPART.file);
  expect(counts).toEqual([{ device: 'webgpu', dispatches: 1 }, { device: 'webgpu', dispatches: 0 }]);
});

test('without an adapter, WebGPU alone is refused', async ({ library, page }) => {
  expect(await page.evaluate(async () => (await navigator.gpu?.requestAdapter()) ?? null)).toBe(null);
  const failures = await library.evaluate(
    async ({ InferenceSession, pipeline }, { file, folder, dtype }) => [
      await failureOf(InferenceSession.create(file, { executionProviders: ['webgpu'] })),
      await failureOf(pipeline('token-classification', folder, { dtype, device: 'webgpu' })),
    ],
    RAMPART,
  );
  for (const failure of failures) {
    expect(failure).toMatchObject({ code: 'DeviceLost', doing: expect.any(String), remedy: expect.any(String) });
  }
  await expect.poll(() => page.workers().length).toBe(0);
});

test('without an adapter, WebGPU or else WebAssembly runs on the CPU and says so', async ({ library }) => {
  const { device, reason, counters, finite } = await library.evaluate(async ({ InferenceSession }, file) => {
    const session = await InferenceSession.create(file, { executionProviders: ['webgpu', 'wasm'] });
    const feed = (value: bigint) => ({ type: 'int64' as const, dims: [1, 3], data: new BigInt64Array(3).fill(value) });
    const { logits } = await session.run({ input_ids: feed(1000n), attention_mask: feed(1n), token_type_ids: feed(0n) });
    const finite = (logits!.data as Float32Array).every(Number.isFinite);
    return { device: session.device, reason: session.deviceReason, counters: session.counters(), finite };
  }, RAMPART.file);
  expect(device).toBe('cpu');
  expect(reason).toMatch(/adapter|WebGPU/);
  expect(counters).toMatchObject({ runs: 1, attentionOnCpu: RAMPART.layers, attentionOnGpu: 0, dispatches: 0, submissions: 0 });
  expect(finite).toBe(true);
});
