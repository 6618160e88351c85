import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { fakeModel, importFakePackage } from './support/fake-package.mjs';
import { Worker } from './support/web-worker.mjs';

globalThis.Worker = Worker;
const { InferenceSession, Tensor } = await importFakePackage();
const ECHO = fakeModel({ run: 'echo' });
after(() => Worker.endAll());
const IDS = new Tensor('int64', [1n, 2n, 3n], [1, 3]);

test('a model in its own worker answers, and leaves the caller its buffers', async () => {
  const model = ECHO.slice();
  const session = await InferenceSession.create(model);
  const part = IDS.data.subarray(1);
  const { out } = await session.run({ ids: { type: 'int64', dims: [2], data: part } });
  assert.deepEqual(out.tolist(), [2n, 3n]);
  assert.equal(model.length, ECHO.length);
  assert.equal(IDS.data.length, 3);
  assert.equal(session.counters().runs, 1);
  await session.release();
  await assert.rejects(session.run({ ids: IDS }), { code: 'InvalidInput', message: /released/ });
});

test('each load, trap and release has its own worker', async () => {
  const before = Worker.ended;
  const other = await InferenceSession.create(ECHO);
  await assert.rejects(InferenceSession.create(fakeModel({ load: 'trap' })), {
    code: 'InternalError',
    doing: 'loading the model',
  });
  assert.equal(Worker.ended, before + 1, 'the failed load leaves no worker behind');
  const trapping = await InferenceSession.create(fakeModel({ run: 'trap' }));
  await assert.rejects(trapping.run({ ids: IDS }), {
    code: 'InternalError',
    doing: 'running the model',
    message: /unreachable/,
  });
  await assert.rejects(trapping.run({ ids: IDS }), { code: 'InternalError', message: /this model is closed/ });
  const uncaught = await InferenceSession.create(fakeModel({ run: 'lateTrap' }));
  await assert.rejects(uncaught.run({ ids: IDS }), {
    code: 'InternalError',
    message: /the worker stopped \(unreachable\)/,
  });
  assert.equal((await other.run({ ids: IDS })).out.size, 3, 'the other model is untouched');
  await other.release();
});

test('workers that share its memory help a threaded engine, and end with it', { timeout: 60_000 }, async () => {
  await assert.rejects(InferenceSession.create(ECHO, { numThreads: 3 }), {
    code: 'InvalidInput',
    message: /`numThreads` is 3, but threads cannot share memory here/,
  });
  globalThis.crossOriginIsolated = true;
  try {
    const session = await InferenceSession.create(ECHO, { numThreads: 3 });
    assert.equal(session.threads, 3);
    while (!session.deviceReason.endsWith('helped by 2')) await session.run({ ids: IDS });
    const before = Worker.ended;
    await session.release();
    assert.equal(Worker.ended, before + 3);
    // The helper may trap before the page knows that the model is loaded.
    const trapped = InferenceSession.create(fakeModel({ run: 'stuck', help: 'trap' }), { numThreads: 3 }).then((session) => session.run({ ids: IDS }));
    await assert.rejects(trapped, { code: 'InternalError', message: /the worker stopped \(unreachable\)|this model is closed/ });
    assert.equal(Worker.ended, before + 6, 'a helper that traps takes the model and the other helper with it');
    const alone = await InferenceSession.create(ECHO, { numThreads: 1 });
    assert.equal(alone.threads, 1);
    await alone.release();
  } finally {
    delete globalThis.crossOriginIsolated;
  }
});

test('errors of the engine cross the border whole', async () => {
  const session = await InferenceSession.create(fakeModel({ run: 'typed' }));
  await assert.rejects(session.run({ ids: IDS }), {
    code: 'UnsupportedOp',
    op: 'Frobnicate',
    node: 'node_7',
    remedy: 'export without it',
  });
  await session.release();
});

test('an abort stops a run at its next checkpoint, and the session goes on', async () => {
  const session = await InferenceSession.create(fakeModel({ run: 'loop' }));
  for (let round = 0; round < 2; round++) {
    const start = performance.now();
    await assert.rejects(session.run({ ids: IDS }, { signal: AbortSignal.timeout(50) }), {
      code: 'Aborted',
      name: 'AbortError',
    });
    assert.ok(performance.now() - start < 1500);
  }
  await session.release();
});

test('an abort ends the worker of a run that does not stop', async () => {
  const session = await InferenceSession.create(fakeModel({ run: 'stuck' }));
  const waiting = session.run({ ids: IDS }, { signal: AbortSignal.timeout(50) });
  const queued = session.run({ ids: IDS });
  await assert.rejects(waiting, { code: 'Aborted' });
  await assert.rejects(queued, { code: 'InternalError', message: /did not stop within 2000 ms/ });
});

test('an abort of a load, and a release, end the worker at once', async () => {
  const start = performance.now();
  await assert.rejects(InferenceSession.create(fakeModel({ load: 'stuck' }), { signal: AbortSignal.timeout(200) }), {
    code: 'Aborted',
  });
  const session = await InferenceSession.create(fakeModel({ run: 'stuck' }));
  const running = session.run({ ids: IDS });
  await session.release();
  await assert.rejects(running, { code: 'InvalidInput', message: /released/ });
  assert.ok(performance.now() - start < 1500);
});

test('a worker that cannot be started is a typed error', async (t) => {
  class Broken extends EventTarget {
    constructor() {
      super();
      setTimeout(() => this.onerror({ message: '', preventDefault() {} }), 10);
    }
    postMessage() {}
    terminate() {}
  }
  t.after(() => (globalThis.Worker = Worker));
  globalThis.Worker = Broken;
  await assert.rejects(InferenceSession.create(ECHO), { code: 'NetworkError', message: /worker could not be started/ });
});
