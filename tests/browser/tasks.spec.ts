// The two tasks end to end, against what Python made of the same texts (fixtures/record_tasks.py).

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, type JSHandle, type Page } from '@playwright/test';

import type { EntityGroup, FeatureExtractionPipeline, ProgressInfo, TokenClassificationPipeline, TokenEntity } from '../../pkg/dist/index.js';
import { MINILM, type Model, RAMPART } from './support/models.ts';
import { type Library, test } from './support/test.ts';

interface Recorded {
  personal: { text: string; entities: Record<Strategy, (TokenEntity | EntityGroup)[]> }[];
  similarity: { sentences: string[]; queries: { text: string; similarities: number[] }[] };
}

type Strategy = (typeof STRATEGIES)[number];

const STRATEGIES = ['none', 'simple', 'first', 'average', 'max'] as const;
const RECORDED = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/tasks.json'), 'utf8')) as Recorded;
const { personal, similarity } = RECORDED;
const TOLERANCE = 1e-4;

/** A text that takes seconds, so that there is time to abort. */
const LONG_WORDS = 3000;
const FILLER = 'the weather was fine and nothing much happened on that day .'.split(' ');

const wordsOfFiller = (count: number) => Array.from({ length: count }, (_, at) => FILLER[at % FILLER.length]).join(' ');

function openNer(library: JSHandle<Library>, { folder, dtype }: Model = RAMPART): Promise<JSHandle<TokenClassificationPipeline>> {
  return library.evaluateHandle(({ pipeline }, { folder, dtype }) => pipeline('token-classification', folder, { dtype }), { folder, dtype });
}

function openEmbed(library: JSHandle<Library>, { folder, dtype }: Model = MINILM): Promise<JSHandle<FeatureExtractionPipeline>> {
  return library.evaluateHandle(({ pipeline }, { folder, dtype }) => pipeline('feature-extraction', folder, { dtype }), { folder, dtype });
}

for (const device of ['wasm', 'WebGPU'] as const) {
  const tag = device === 'WebGPU' ? ['@webgpu'] : [];

  test(`${device}: entities are those of ONNX Runtime and transformers`, { tag }, async ({ library }) => {
    const ner = await openNer(library);
    expect(await ner.evaluate(({ device }) => device)).toBe(device === 'wasm' ? 'cpu' : 'webgpu');
    for (const strategy of STRATEGIES) {
      const found = await ner.evaluate(
        (ner, { texts, aggregation_strategy }) => ner(texts, { aggregation_strategy }),
        { texts: personal.map(({ text }) => text), aggregation_strategy: strategy },
      );
      expect(withoutScores(found.flat()), strategy).toEqual(withoutScores(personal.flatMap(({ entities }) => entities[strategy])));
      const scores = found.flat().map(({ score }) => score);
      personal.flatMap(({ entities }) => entities[strategy]).forEach(({ score }, at) => expect(scores[at]).toBeCloseTo(score, 4));
    }
  });

  test(`${device}: similarities and rankings are those of ONNX Runtime`, { tag }, async ({ library }) => {
    const embed = await openEmbed(library);
    const texts = [...similarity.sentences, ...similarity.queries.map(({ text }) => text)];
    const { dims, vectors } = await embed.evaluate(async (embed, texts) => {
      const tensor = await embed(texts, { pooling: 'mean', normalize: true });
      return { dims: tensor.dims, vectors: tensor.tolist() as number[][] };
    }, texts);
    expect(dims).toEqual([texts.length, MINILM.width]);
    for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
    const sentences = vectors.slice(0, similarity.sentences.length);
    similarity.queries.forEach(({ text, similarities }, at) => {
      const found = sentences.map((sentence) => dot(sentence, vectors[similarity.sentences.length + at]!));
      expect(ranking(found), text).toEqual(ranking(similarities));
      found.forEach((value, sentence) => expect(Math.abs(value - similarities[sentence]!)).toBeLessThanOrEqual(TOLERANCE));
    });
  });
}

test('a single text, its tokens and its pooled vector belong together', async ({ library }) => {
  const embed = await openEmbed(library);
  const { tokens, mean, cls } = await embed.evaluate(async (embed, text) => {
    const list = async (options?: Parameters<typeof embed>[1]) => (await embed(text, options)).tolist();
    return { tokens: await list(), mean: await list({ pooling: 'mean' }), cls: await list({ pooling: 'cls' }) };
  }, similarity.sentences[0]!);
  const [rows] = tokens as number[][][];
  expect((cls as number[][])[0]).toEqual(rows![0]);
  (mean as number[][])[0]!.forEach((value, column) => {
    expect(value).toBeCloseTo(rows!.reduce((sum, row) => sum + row[column]!, 0) / rows!.length, 4);
  });
});

test('start and end are places in the original text, emoji and all', async ({ library }) => {
  const ner = await openNer(library);
  const { text } = personal.find(({ text }) => text.startsWith('😀'))!;
  const found = await ner.evaluate((ner, text) => ner(text, { aggregation_strategy: 'first' }), text);
  const words = found.map(({ entity_group, start, end }) => [entity_group, text.slice(start, end)]);
  expect(words).toEqual([
    ['GIVEN_NAME', 'Zoë'],
    ['SURNAME', 'Müller'],
    ['EMAIL', 'zoe.mueller@example.com'],
    ['PHONE', '(503) 555-0142'],
    ['GIVEN_NAME', 'Tomasz'],
    ['SURNAME', 'Nowak'],
  ]);
});

test('an empty text has no entities, and empty options and unknown ones are told apart', async ({ library }) => {
  const ner = await openNer(library);
  const { empty, batch, unknown } = await ner.evaluate(async (ner) => ({
    empty: await ner('', {}),
    batch: await ner(['', 'Eleanor'], { aggregation_strategy: 'simple' }),
    unknown: await failureOf(ner('Eleanor', { agregation_strategy: 'simple' } as {})),
  }));
  expect(empty).toEqual([]);
  expect(batch.map((entities) => entities.length)).toEqual([0, 1]);
  expect(unknown).toMatchObject({ code: 'InvalidInput', remedy: expect.stringContaining('aggregation_strategy') });
});

test('a long text is split and merged: what stands at its end is found', async ({ library }) => {
  const ner = await openNer(library);
  const planted = personal[0]!.text;
  const text = [planted, wordsOfFiller(LONG_WORDS / 2), planted, wordsOfFiller(LONG_WORDS / 2), planted].join(' ');
  const found = await ner.evaluate((ner, text) => ner(text, { aggregation_strategy: 'first' }), text);
  const details = (personal[0]!.entities.first as EntityGroup[]).map(({ entity_group, start, end }) => [entity_group, planted.slice(start, end)]);
  const starts = [...text.matchAll(/My name is/g)].map(({ index }) => index);
  expect(starts.length).toBe(3);
  for (const start of starts) {
    const within = found.filter((entity) => entity.start >= start && entity.end <= start + planted.length);
    expect(within.map(({ entity_group, start, end }) => [entity_group, text.slice(start, end)])).toEqual(details);
  }
});

test('a long text has one vector, of all its words', async ({ library }) => {
  const embed = await openEmbed(library);
  const text = `${wordsOfFiller(LONG_WORDS)} ${similarity.sentences[0]}`;
  const { whole, start } = await embed.evaluate(async (embed, text) => {
    const vector = async (truncation: boolean) => ((await embed(text, { pooling: 'mean', normalize: true, truncation })).tolist() as number[][])[0]!;
    return { whole: await vector(false), start: await vector(true) };
  }, text);
  expect(whole.length).toBe(MINILM.width);
  expect(Math.hypot(...whole)).toBeCloseTo(1, 5);
  expect(dot(whole, start)).toBeLessThan(0.9999);
});

test('a load can be aborted, and the next one works', async ({ library, page }) => {
  const failure = await library.evaluate(async ({ pipeline }, { folder, dtype }) => {
    const controller = new AbortController();
    const progress_callback = ({ status }: ProgressInfo) => {
      if (status === 'progress') controller.abort();
    };
    return failureOf(pipeline('token-classification', folder, { dtype, signal: controller.signal, progress_callback }));
  }, RAMPART);
  expect(failure).toMatchObject({ name: 'AbortError', code: 'Aborted' });
  await expect.poll(() => page.workers().length).toBe(0);
  await expectEleanor(await openNer(library));
});

test('a run can be aborted while the page stays responsive, and the next call works', async ({ library }) => {
  const ner = await openNer(library);
  const text = wordsOfFiller(LONG_WORDS);
  const { failure, untilAborted, longestPause } = await ner.evaluate(async (ner, text) => {
    let longestPause = 0;
    let last = performance.now();
    const pulse = setInterval(() => {
      longestPause = Math.max(longestPause, performance.now() - last);
      last = performance.now();
    }, 10);
    const controller = new AbortController();
    const running = failureOf(ner(text, { signal: controller.signal }));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const abortedAt = performance.now();
    controller.abort();
    const failure = await running;
    clearInterval(pulse);
    return { failure, untilAborted: performance.now() - abortedAt, longestPause };
  }, text);
  expect(failure).toMatchObject({ name: 'AbortError', code: 'Aborted' });
  expect(untilAborted).toBeLessThan(2000);
  // A page that waited for the run would pause for as long as it is under way.
  expect(longestPause).toBeLessThan(450);
  await expectEleanor(ner);
});

test('dispose() gives the memory back, and later calls say so', async ({ library, page }) => {
  const ner = await openNer(library);
  const embed = await openEmbed(library);
  expect(page.workers().length).toBe(2);
  await ner.evaluate((ner) => ner.dispose());
  await expectWorkers(page, 1);
  const failure = await ner.evaluate((ner) => failureOf(ner('Eleanor')));
  expect(failure).toMatchObject({ code: 'InvalidInput', message: expect.stringContaining('released'), remedy: 'load the model again' });
  expect(await embed.evaluate(async (embed) => (await embed('still here')).dims.at(-1))).toBe(MINILM.width);
  await embed.evaluate((embed) => embed.dispose());
  await expectWorkers(page, 0);
});

test('a call under way when its model is disposed of ends with a typed error', async ({ library, page }) => {
  const ner = await openNer(library);
  const failure = await ner.evaluate(async (ner, text) => {
    const running = failureOf(ner(text));
    await ner.dispose();
    return running;
  }, wordsOfFiller(LONG_WORDS));
  expect(failure).toMatchObject({ code: 'InvalidInput', message: expect.stringContaining('released') });
  await expectWorkers(page, 0);
});

test('progress counts bytes of bytes, never goes back and ends at 100 percent', async ({ library }) => {
  const events = await library.evaluate(async ({ pipeline }, { folder, dtype }) => {
    const events: ProgressInfo[] = [];
    await pipeline('token-classification', folder, { dtype, progress_callback: (event) => events.push(event) });
    return events;
  }, RAMPART);
  const files = new Set(events.flatMap((event) => ('file' in event ? [event.file] : [])));
  expect([...files].sort()).toEqual(['config.json', 'onnx/model_q4.onnx', 'tokenizer.json', 'tokenizer_config.json']);
  const ends = [...files].map((file) => expectMonotone(events.filter((event) => event.status === 'progress' && event.file === file)));
  const total = expectMonotone(events.filter(({ status }) => status === 'progress_total'));
  expect(total).toBe(ends.reduce((sum, end) => sum + end, 0));
  expect(events.at(-1)?.status).toBe('ready');
});

/** Expects progress to rise to 100 percent and gives the bytes that it ends at. */
function expectMonotone(events: ProgressInfo[]): number {
  const steps = events as Extract<ProgressInfo, { status: 'progress_total' }>[];
  for (const key of ['loaded', 'progress'] as const) {
    const values = steps.flatMap((step) => step[key] ?? []);
    expect(values).toEqual([...values].sort((one, other) => one - other));
  }
  const last = steps.at(-1)!;
  expect(last.progress).toBe(100);
  expect(last.loaded).toBe(last.total);
  return last.loaded;
}

async function expectEleanor(ner: JSHandle<TokenClassificationPipeline>): Promise<void> {
  const { text, entities } = personal.find(({ text }) => text === 'Eleanor')!;
  expect(withoutScores(await ner.evaluate((ner, text) => ner(text), text))).toEqual(withoutScores(entities.none));
}

async function expectWorkers(page: Page, count: number): Promise<void> {
  await expect.poll(() => page.workers().length).toBe(count);
}

function withoutScores(entities: readonly (TokenEntity | EntityGroup)[]) {
  return entities.map(({ score: _, ...rest }) => rest);
}

function dot(one: readonly number[], other: readonly number[]): number {
  return one.reduce((sum, value, at) => sum + value * other[at]!, 0);
}

/** Positions from the most similar to the least. */
function ranking(similarities: readonly number[]): number[] {
  return [...similarities.keys()].sort((one, other) => similarities[other]! - similarities[one]!);
}
