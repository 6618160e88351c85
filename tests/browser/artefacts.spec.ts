// A model saved on one visit, and loaded from what was saved on the next.

import { expect } from '@playwright/test';

import { MODELS, RAMPART } from './support/models.ts';
import { type Library, openLibrary, test } from './support/test.ts';

/** What a page finds: what the model came from, and the bytes of its answer. */
interface Found {
  loadedFrom: string;
  answer: number[];
}

interface Visit {
  file: string;
  worker: boolean;
  /** What stands at a place of the artefact, as of this visit, is changed. */
  damage: number | null;
  save: boolean;
}

/** Loads a model from what the origin keeps of it, if there is something, and runs it. */
async function visit({ InferenceSession, Tensor }: Library, { file, worker, damage, save }: Visit): Promise<Found> {
  const cache = await caches.open('artefacts');
  const kept = await cache.match(file);
  let artefact = await kept?.blob();
  if (artefact !== undefined && damage !== null) {
    const bytes = new Uint8Array(await artefact.arrayBuffer());
    bytes.fill(0xa5, damage, damage + 64);
    artefact = new Blob([bytes]);
  }
  const session = await InferenceSession.create(file, { worker, ...(artefact && { artefact }) });
  const ids = new Tensor('int64', [101n, 1045n, 2572n, 8262n, 102n], [1, 5]);
  const ones = new Tensor('int64', [1n, 1n, 1n, 1n, 1n], [1, 5]);
  const feeds = Object.fromEntries(session.inputNames.map((name) => [name, name === 'input_ids' ? ids : ones]));
  const [output] = Object.values(await session.run(feeds));
  if (save) await cache.put(file, new Response(await session.save()));
  const { buffer, byteOffset, byteLength } = output!.data as Float32Array;
  const answer = [...new Uint8Array(buffer, byteOffset, byteLength)];
  const { loadedFrom } = session;
  await session.release();
  return { loadedFrom, answer };
}

for (const model of MODELS) {
  for (const worker of [true, false]) {
    test(`${model.name} answers alike from what was saved, ${worker ? 'in a worker' : 'in the page'}`, async ({ context, origin, variant, library }) => {
      const first = await library.evaluate(visit, { file: model.file, worker, damage: null, save: true });
      expect(first.loadedFrom).toBe('model');
      const later = await openLibrary(await context.newPage(), origin, variant);
      const again = await later.evaluate(visit, { file: model.file, worker, damage: null, save: false });
      expect(again.loadedFrom).toBe('artefact');
      expect(again.answer).toEqual(first.answer);
    });
  }
}

test('a damaged artefact, or another build’s, is ignored', async ({ context, origin, library }) => {
  const first = await library.evaluate(visit, { file: RAMPART.file, worker: true, damage: null, save: true });
  // The build, the length, the description, the weights.
  for (const damage of [8, 24, 1000, 1_000_000]) {
    const found = await library.evaluate(visit, { file: RAMPART.file, worker: true, damage, save: false });
    expect(found).toEqual(first);
  }
  const simd = await openLibrary(await context.newPage(), origin, 'simd');
  const found = await simd.evaluate(visit, { file: RAMPART.file, worker: true, damage: null, save: false });
  expect(found.loadedFrom).toBe('model');
});
