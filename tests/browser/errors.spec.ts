// Bad input of every kind: a typed error with code and remedy, after which the page goes on and the next load works.

import { readFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';

import { expect, type JSHandle } from '@playwright/test';

import type { InferenceSession, SessionOptions } from '../../pkg/dist/index.js';
import { MINILM, RAMPART } from './support/models.ts';
import { serve, type TestServer } from './support/server.ts';
import { type Failure, type Library, test as base } from './support/test.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const SMALL_MODELS = '/tests/browser/fixtures';
const STALL_TIMEOUT = 500;

const whole = readFileSync(join(REPOSITORY, RAMPART.file));

/** Answers that no folder gives, by path. */
const ANSWERS: Record<string, RequestListener> = {
  '/broken/truncated.onnx': sends(whole.subarray(0, whole.length / 2)),
  '/broken/barely-begun.onnx': sends(whole.subarray(0, 100)),
  '/broken/corrupted.onnx': sends(corrupted(whole)),
  '/broken/noise.onnx': sends(Buffer.from(Array.from({ length: 5000 }, (_, at) => (at * at * 31 + at * 7) % 251))),
  '/broken/empty.onnx': sends(Buffer.alloc(0)),
  '/broken/page.onnx': sends(Buffer.from('<!doctype html><title>Welcome</title>'), 'text/html'),
  '/broken/unlabelled-page.onnx': sends(Buffer.from('<!doctype html><title>Welcome</title>')),
  '/broken/failing.onnx': (_, response) => response.writeHead(500).end(),
  '/broken/silent.onnx': () => {},
  '/broken/stalled.onnx': (_, response) => response.writeHead(200, { 'content-length': whole.length }).write(whole.subarray(0, 1000)),
  '/broken/cut.onnx': (_, response) =>
    response.writeHead(200, { 'content-length': whole.length }).write(whole.subarray(0, 1000), () => response.destroy()),
};

interface LoadCase {
  name: string;
  address: string;
  options?: SessionOptions;
  expected: Partial<Record<keyof Failure, unknown>>;
}

const LOAD_CASES: LoadCase[] = [
  { name: 'truncated in the middle', address: '/broken/truncated.onnx', expected: { code: 'InvalidModel' } },
  { name: 'truncated near its start', address: '/broken/barely-begun.onnx', expected: { code: 'InvalidModel' } },
  { name: 'corrupted', address: '/broken/corrupted.onnx', expected: { code: 'InvalidModel' } },
  { name: 'noise', address: '/broken/noise.onnx', expected: { code: 'InvalidModel' } },
  { name: 'empty', address: '/broken/empty.onnx', expected: { code: 'NetworkError', file: matching('/broken/empty.onnx') } },
  { name: 'a web page', address: '/broken/page.onnx', expected: { code: 'InvalidModel', message: matching('web page') } },
  { name: 'a web page that does not say so', address: '/broken/unlabelled-page.onnx', expected: { code: 'InvalidModel', message: matching('web page') } },
  { name: 'not found', address: '/broken/none.onnx', expected: { code: 'NetworkError', message: matching('404'), file: matching('/broken/none.onnx') } },
  { name: 'a failing server', address: '/broken/failing.onnx', expected: { code: 'NetworkError', message: matching('500') } },
  {
    name: 'a silent server',
    address: '/broken/silent.onnx',
    options: { stallTimeout: STALL_TIMEOUT },
    expected: { code: 'NetworkError', message: matching(`nothing arrived for ${STALL_TIMEOUT} ms`) },
  },
  {
    name: 'a download that stalls',
    address: '/broken/stalled.onnx',
    options: { stallTimeout: STALL_TIMEOUT },
    expected: { code: 'NetworkError', message: matching(`nothing arrived for ${STALL_TIMEOUT} ms`) },
  },
  { name: 'a connection that keeps breaking', address: '/broken/cut.onnx', expected: { code: 'NetworkError', message: matching('connection broke') } },
  {
    name: 'other bytes than promised',
    address: RAMPART.file,
    options: { integrity: `sha256-${'A'.repeat(43)}=` },
    expected: { code: 'IntegrityError', file: 'model_q4.onnx' },
  },
  { name: 'an unknown operator', address: `${SMALL_MODELS}/unknown_op.onnx`, expected: { code: 'UnsupportedOp', op: matching('Teleport'), node: 'beam' } },
  {
    name: 'an unknown option',
    address: RAMPART.file,
    options: { executionProvider: 'wasm' } as SessionOptions,
    expected: { code: 'InvalidInput', message: matching('executionProvider'), doing: undefined },
  },
];

const test = base.extend<{}, { server: TestServer }>({
  server: [
    async ({}, use) => {
      const server = await serve({ folders: { '/': REPOSITORY }, answers: ANSWERS });
      await use(server);
      await server.close();
    },
    { scope: 'worker' },
  ],
  origin: async ({ server }, use) => use(server.address),
});

for (const { name, address, options = {}, expected } of LOAD_CASES) {
  test(`a model that cannot be loaded: ${name}`, async ({ library, page }) => {
    const failure = await library.evaluate(
      ({ InferenceSession }, { address, options }) => failureOf(InferenceSession.create(address, options)),
      { address, options },
    );
    expect(failure).toMatchObject({ doing: matching('.'), remedy: matching('.'), ...expected });
    await expect.poll(() => page.workers().length).toBe(0);
    await expectNextLoadWorks(library);
  });
}

test('a model folder that does not exist', async ({ library, page }) => {
  const failure = await library.evaluate(({ pipeline }) => failureOf(pipeline('feature-extraction', '/broken/none')));
  expect(failure).toMatchObject({ code: 'NetworkError', file: matching('/broken/none/'), remedy: matching('.') });
  await expect.poll(() => page.workers().length).toBe(0);
  await expectNextLoadWorks(library);
});

test('a silent download can be aborted', async ({ library, page }) => {
  const failure = await library.evaluate(async ({ InferenceSession }) => {
    const controller = new AbortController();
    const loading = failureOf(InferenceSession.create('/broken/silent.onnx', { signal: controller.signal }));
    setTimeout(() => controller.abort(), 100);
    return loading;
  });
  expect(failure).toMatchObject({ name: 'AbortError', code: 'Aborted' });
  await expect.poll(() => page.workers().length).toBe(0);
  await expectNextLoadWorks(library);
});

interface PlainFeed {
  type: 'int64' | 'int32' | 'float32';
  dims: number[];
  values: number[];
}

interface RunCase {
  name: string;
  /** Changes to feeds that are right. */
  feeds?: Record<string, PlainFeed | undefined>;
  fetches?: string[];
  expected: Partial<Record<keyof Failure, unknown>>;
}

const RIGHT: Record<string, PlainFeed> = {
  input_ids: { type: 'int64', dims: [1, 3], values: [2, 1000, 3] },
  attention_mask: { type: 'int64', dims: [1, 3], values: [1, 1, 1] },
  token_type_ids: { type: 'int64', dims: [1, 3], values: [0, 0, 0] },
};

const ids = (change: Partial<PlainFeed>) => ({ input_ids: { ...RIGHT['input_ids']!, ...change } });

const RUN_CASES: RunCase[] = [
  { name: 'an unknown name', feeds: { input_idz: RIGHT['input_ids'] }, expected: { tensor: 'input_idz' } },
  { name: 'a missing input', feeds: { attention_mask: undefined }, expected: { tensor: 'attention_mask' } },
  { name: 'int32 for int64', feeds: ids({ type: 'int32' }), expected: { tensor: 'input_ids', message: matching('int32') } },
  { name: 'float32 for int64', feeds: ids({ type: 'float32' }), expected: { tensor: 'input_ids', message: matching('float32') } },
  { name: 'one dimension for two', feeds: ids({ dims: [3] }), expected: { tensor: 'input_ids' } },
  { name: 'dimensions that do not hold the elements', feeds: ids({ dims: [1, 4] }), expected: { tensor: 'input_ids', message: matching('3') } },
  { name: 'inputs of different lengths', feeds: ids({ dims: [1, 2], values: [2, 3] }), expected: {} },
  { name: 'a token id above the vocabulary', feeds: ids({ values: [2, 999_999, 3] }), expected: { message: matching('999999') } },
  { name: 'a token id far below zero', feeds: ids({ values: [2, -999_999, 3] }), expected: { message: matching('-999999') } },
  { name: 'an unknown output', fetches: ['probabilities'], expected: { tensor: 'probabilities' } },
];

test('inputs that do not fit are refused, and the session goes on', async ({ library }) => {
  const session = await library.evaluateHandle(({ InferenceSession }, file) => InferenceSession.create(file), RAMPART.file);
  for (const { name, feeds = {}, fetches = ['logits'], expected } of RUN_CASES) {
    await test.step(name, async () => {
      const failure = await failureOfRun(session, { ...RIGHT, ...feeds }, fetches);
      expect.soft(failure, name).toMatchObject({ code: 'InvalidInput', remedy: matching('.'), ...expected });
      expect.soft(await runs(session), name).toEqual([1, 3]);
    });
  }
});

test('a tensor larger than any can be is refused, and the session goes on', async ({ library }) => {
  const session = await openOuterProduct(library);
  const failure = await session.evaluate(multiply, { rows: 200_000, columns: 100_000 });
  expect(failure).toMatchObject({ code: 'OutOfMemory', node: matching('^multiply'), doing: 'running the model', remedy: matching('.') });
  expect(await sizesOfOuterProduct(session)).toEqual([2, 2]);
});

test('running out of memory is a typed error, and the session goes on', async ({ library }) => {
  const session = await openOuterProduct(library);
  // One tensor of almost 2 GiB fits in the 4 GiB of WebAssembly, a second does not.
  const failure = await session.evaluate(multiply, { rows: 32_767, columns: 16_384 });
  expect(failure).toMatchObject({ code: 'OutOfMemory', doing: 'running the model', remedy: matching('.') });
  expect(await sizesOfOuterProduct(session)).toEqual([2, 2]);
  await expectNextLoadWorks(library);
});

test('a trap in a worker is a typed error, and costs that worker only', async ({ library, page }) => {
  const unharmed = await library.evaluateHandle(({ InferenceSession }, file) => InferenceSession.create(file), MINILM.file);
  const [unharmedWorker] = page.workers();
  const session = await library.evaluateHandle(({ InferenceSession }, file) => InferenceSession.create(file), RAMPART.file);
  const worker = page.workers().find((worker) => worker !== unharmedWorker)!;

  const failing = session.evaluate((session) => {
    const feed = (value: bigint) => ({ type: 'int64' as const, dims: [8, 512], data: new BigInt64Array(8 * 512).fill(value) });
    return failureOf(session.run({ input_ids: feed(1000n), attention_mask: feed(1n), token_type_ids: feed(0n) }));
  });
  await worker.evaluate(trap);
  expect(await failing).toMatchObject({
    code: 'InternalError',
    doing: 'running the model',
    message: matching('unreachable'),
    remedy: matching('load the model again'),
  });

  await expect.poll(() => page.workers().map((worker) => worker === unharmedWorker)).toEqual([true]);
  expect(await failureOfRun(session, RIGHT, ['logits'])).toMatchObject({ code: 'InternalError', remedy: 'load the model again' });
  expect(await runs(unharmed)).toEqual([1, 3]);
  const replaced = await library.evaluateHandle(({ InferenceSession }, file) => InferenceSession.create(file), RAMPART.file);
  expect(await runs(replaced)).toEqual([1, 3]);
});

function openOuterProduct(library: JSHandle<Library>): Promise<JSHandle<InferenceSession>> {
  return library.evaluateHandle(({ InferenceSession }, address) => InferenceSession.create(address), `${SMALL_MODELS}/outer_product.onnx`);
}

/** Multiplies a column by a row of zeros, which fails. */
function multiply(session: InferenceSession, { rows, columns }: { rows: number; columns: number }): Promise<Failure> {
  const feed = (dims: number[]) => ({ type: 'float32' as const, dims, data: new Float32Array(dims[0]! * dims[1]!) });
  return failureOf(session.run({ column: feed([rows, 1]), row: feed([1, columns]) }));
}

/** Multiplies two by two, which works. */
function sizesOfOuterProduct(session: JSHandle<InferenceSession>): Promise<readonly number[]> {
  return session.evaluate(async (session) => {
    const feed = (dims: number[]) => ({ type: 'float32' as const, dims, data: new Float32Array(2) });
    return (await session.run({ column: feed([2, 1]), row: feed([1, 2]) }))['sine']!.dims;
  });
}

/** Executes `unreachable` in WebAssembly, in a task of its own. */
function trap(): void {
  const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  const types = [1, 4, 1, 0x60, 0, 0];
  const functions = [3, 2, 1, 0];
  const start = [8, 1, 0];
  const code = [10, 5, 1, 3, 0, 0x00, 0x0b];
  const module = new WebAssembly.Module(new Uint8Array([...header, ...types, ...functions, ...start, ...code]));
  setTimeout(() => new WebAssembly.Instance(module));
}

async function expectNextLoadWorks(library: JSHandle<Library>): Promise<void> {
  const vectors = await library.evaluate(async ({ InferenceSession, Tensor }, address) => {
    const session = await InferenceSession.create(address);
    const { vectors } = await session.run({ input_ids: new Tensor('int64', [2n, 0n], [1, 2]) });
    await session.release();
    return vectors!.tolist();
  }, `${SMALL_MODELS}/lookup.onnx`);
  expect(vectors).toEqual([[[4, 5], [0, 1]]]);
}

/** Runs inputs that are right and gives the first two dimensions of the output. */
function runs(session: JSHandle<InferenceSession>): Promise<number[]> {
  return session.evaluate(async (session, feeds) => {
    const tensors = Object.entries(feeds).map(([name, { type, dims, values }]) => [name, { type, dims, data: BigInt64Array.from(values, BigInt) }] as const);
    const outputs = await session.run(Object.fromEntries(tensors));
    return outputs[session.outputNames[0]!]!.dims.slice(0, 2);
  }, RIGHT);
}

function failureOfRun(session: JSHandle<InferenceSession>, feeds: Record<string, PlainFeed | undefined>, fetches: string[]): Promise<Failure> {
  return session.evaluate(
    (session, { feeds, fetches }) => {
      const data = ({ type, values }: PlainFeed) => {
        if (type === 'int64') return BigInt64Array.from(values, BigInt);
        return type === 'int32' ? Int32Array.from(values) : Float32Array.from(values);
      };
      const given = Object.entries(feeds).filter((entry): entry is [string, PlainFeed] => entry[1] !== undefined);
      const tensors = given.map(([name, feed]) => [name, { type: feed.type, dims: feed.dims, data: data(feed) }] as const);
      return failureOf(session.run(Object.fromEntries(tensors), fetches));
    },
    { feeds, fetches },
  );
}

/** Inverts the bytes around a node's operator, which lie between the weights. */
function corrupted(model: Buffer): Buffer {
  const bytes = Buffer.from(model);
  const at = bytes.indexOf('MatMulNBits');
  bytes.fill(bytes.subarray(at - 32, at + 32).map((byte) => byte ^ 0xff), at - 32, at + 32);
  return bytes;
}

function sends(body: Buffer, type = 'application/octet-stream'): RequestListener {
  return (_, response) => response.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body);
}

function matching(part: string): unknown {
  return expect.stringMatching(part);
}
