// The tensor level of the npm package, as code written for onnxruntime-web uses it.

import { expect } from '@playwright/test';

import { RAMPART } from './support/models.ts';
import { test } from './support/test.ts';

const LOOKUP = '/tests/browser/fixtures/lookup.onnx';
const OUTER_PRODUCT = '/tests/browser/fixtures/outer_product.onnx';

test('a session tells names, types and shapes of what it takes and gives', async ({ library }) => {
  const described = await library.evaluate(async ({ InferenceSession }, file) => {
    const { inputNames, outputNames, inputMetadata, outputMetadata, device } = await InferenceSession.create(file);
    return { inputNames, outputNames, inputMetadata, outputMetadata, device };
  }, RAMPART.file);
  const names = ['input_ids', 'attention_mask', 'token_type_ids'];
  const dynamic = expect.any(String);
  expect(described).toEqual({
    inputNames: names,
    outputNames: ['logits'],
    inputMetadata: names.map((name) => ({ name, isTensor: true, type: 'int64', shape: [dynamic, dynamic] })),
    outputMetadata: [{ name: 'logits', isTensor: true, type: 'float32', shape: [dynamic, dynamic, expect.any(Number)] }],
    device: 'cpu',
  });
});

test('a model may be an address, bytes, part of a buffer or a Blob, in a worker or in the page', async ({ library, page }) => {
  const results = await library.evaluate(async ({ InferenceSession, Tensor }, address) => {
    const buffer = await (await fetch(address)).arrayBuffer();
    const padded = new Uint8Array(buffer.byteLength + 10);
    padded.set(new Uint8Array(buffer), 7);
    const results = [];
    for (const worker of [true, false]) {
      const sessions = [
        await InferenceSession.create(address, { worker }),
        await InferenceSession.create(new URL(address, location.href), { worker }),
        await InferenceSession.create(buffer, { worker }),
        await InferenceSession.create(new Uint8Array(buffer), { worker }),
        await InferenceSession.create(padded.buffer, 7, buffer.byteLength, { worker }),
        await InferenceSession.create(new Blob([buffer]), { worker }),
      ];
      for (const session of sessions) {
        const { vectors } = await session.run({ input_ids: new Tensor('int64', [1n, 2n], [2, 1]) });
        results.push(JSON.stringify([vectors!.type, vectors!.dims, [...(vectors!.data as Float32Array)]]));
        await session.release();
      }
    }
    results.push(String(buffer.byteLength > 0));
    return results;
  }, LOOKUP);
  expect(results).toEqual([...Array<string>(12).fill('["float32",[2,1,2],[2,3,4,5]]'), 'true']);
  await expect.poll(() => page.workers().length).toBe(0);
});

test('outputs are computed as asked for', async ({ library }) => {
  const found = await library.evaluate(async ({ InferenceSession, Tensor }, address) => {
    const session = await InferenceSession.create(address);
    const feeds = { column: new Tensor('float32', [0, 1], [2, 1]), row: new Tensor('float32', [0, 1], [1, 2]) };
    const all = await session.run(feeds);
    const byName = await session.run(feeds, ['sine']);
    const byObject = await session.run(feeds, { product: null });
    return [all, byName, byObject].map((outputs) => Object.entries(outputs).map(([name, tensor]) => [name, tensor.tolist()]));
  }, OUTER_PRODUCT);
  const product = ['product', [[0, 0], [0, 1]]];
  const sine = ['sine', [[0, 0], [0, expect.closeTo(Math.sin(1), 6)]]];
  expect(found).toEqual([[product, sine], [sine], [product]]);
});

test('an output that stays in the engine is fed from there', async ({ library }) => {
  const found = await library.evaluate(async ({ InferenceSession, Tensor }, address) => {
    const session = await InferenceSession.create(address, { preferredOutputLocation: { product: 'cpu-pinned' } });
    const row = new Tensor('float32', [3], [1, 1]);
    let column = (await session.run({ column: new Tensor('float32', [1, 2], [2, 1]), row }))['product']!;
    const locations = [column.location];
    for (let run = 0; run < 2; run += 1) {
      const { product, sine } = await session.run({ column, row });
      column.dispose();
      column = product!;
      locations.push(column.location, sine!.location);
    }
    const copy = [...((await column.getData()) as Float32Array)];
    column.dispose();
    const refusal = await session.run({ column, row }).then(
      () => 'none',
      ({ code, tensor }: { code: string; tensor: string }) => `${code} ${tensor}`,
    );
    return { locations, copy, refusal };
  }, OUTER_PRODUCT);
  expect(found).toEqual({
    locations: ['cpu-pinned', 'cpu-pinned', 'cpu', 'cpu-pinned', 'cpu'],
    copy: [27, 54],
    refusal: 'InvalidInput column',
  });
});

test('runs of one session follow each other, and a released session says so', async ({ library, page }) => {
  const { results, failure } = await library.evaluate(async ({ InferenceSession, Tensor }, address) => {
    const session = await InferenceSession.create(address);
    const run = (id: bigint) => session.run({ input_ids: new Tensor('int64', [id], [1, 1]) });
    const outputs = await Promise.all([0n, 1n, 2n].map(run));
    await session.release();
    await session.release();
    return { results: outputs.map(({ vectors }) => vectors!.tolist()), failure: await failureOf(run(0n)) };
  }, LOOKUP);
  expect(results).toEqual([[[[0, 1]]], [[[2, 3]]], [[[4, 5]]]]);
  expect(failure).toMatchObject({ code: 'InvalidInput', message: expect.stringContaining('released'), remedy: 'load the model again' });
  await expect.poll(() => page.workers().length).toBe(0);
});
