import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { fakeModel, importFakePackage } from './support/fake-package.mjs';
import { files, serve } from './support/server.mjs';

const { InferenceSession, SottovoceError, Tensor } = await importFakePackage();
const ECHO = fakeModel({ run: 'echo' });
const IDS = new Tensor('int64', [1n, 2n, 3n], [1, 3]);

test('models from every kind of source answer alike', async (t) => {
  const server = await serve(t, files({ '/echo.onnx': ECHO }));
  const padded = new Uint8Array([0, 0, ...ECHO, 0]);
  const sources = [
    [server.url('/echo.onnx')],
    [server.url('/echo.onnx').href, {}],
    [ECHO],
    [padded.subarray(2, -1)],
    [ECHO.buffer],
    [padded.buffer, 2, ECHO.length],
    [padded.buffer, 2, ECHO.length, { numThreads: 1 }],
    [new Blob([ECHO])],
  ];
  for (const source of sources) {
    const session = await InferenceSession.create(...source);
    assert.deepEqual(session.inputNames, ['ids']);
    assert.deepEqual(session.outputNames, ['out']);
    assert.deepEqual(session.inputMetadata, [{ name: 'ids', isTensor: true, type: 'int64', shape: ['batch', 'seq'] }]);
    const { out } = await session.run({ ids: IDS });
    assert.ok(out instanceof Tensor);
    assert.deepEqual(out.tolist(), [[1n, 2n, 3n]]);
    assert.equal(session.counters().runs, 1);
    await session.release();
  }
  assert.equal(padded.length, ECHO.length + 3);
});

test('execution providers choose the device', async () => {
  const cases = [
    [undefined, 'cpu'],
    [['wasm'], 'cpu'],
    [['cpu'], 'cpu'],
    [['webgpu'], 'webgpu'],
    [[{ name: 'webgpu' }], 'webgpu'],
    [['webgpu', 'wasm'], 'auto'],
    [[{ name: 'webgpu' }, 'cpu'], 'auto'],
  ];
  for (const [executionProviders, device] of cases) {
    const session = await InferenceSession.create(ECHO, executionProviders && { executionProviders });
    assert.match(session.deviceReason, new RegExp(`^asked for ${device},`));
    await session.release();
  }
});

test('outputs stay in the memory of the engine where that is preferred', async () => {
  for (const preferredOutputLocation of ['cpu-pinned', { out: 'cpu-pinned' }]) {
    const session = await InferenceSession.create(ECHO, { preferredOutputLocation });
    const { out: first } = await session.run({ ids: IDS });
    assert.ok(first instanceof Tensor);
    assert.deepEqual([first.location, first.type, first.dims, first.size], ['cpu-pinned', 'int64', [1, 3], 3]);
    assert.throws(() => first.data, /not on CPU/);
    const { out: second } = await session.run({ ids: first });
    assert.deepEqual(await second.getData(), new BigInt64Array([1n, 2n, 3n]));
    await session.release();
    second.dispose();
  }
  const plain = await InferenceSession.create(ECHO, { preferredOutputLocation: { out: 'cpu' } });
  assert.deepEqual((await plain.run({ ids: IDS })).out.tolist(), [[1n, 2n, 3n]]);
  await plain.release();
});

test('an output that is held is fed from where it lies until it is released', async () => {
  const cases = [
    // What is done with the output, where it lies then, and what feeding it gives to its own session and to another.
    [() => {}, 'cpu-pinned', [[1n, 2n, 3n]], /another session's memory.*getData/],
    [(out) => out.getData(), 'cpu-pinned', [[1n, 2n, 3n]], /another session's memory.*getData/],
    [async (out) => ((await out.getData(true))[0] = 7n), 'cpu', [[7n, 2n, 3n]], [[7n, 2n, 3n]]],
    [(out) => out.dispose(), 'none', /cannot be read: The tensor is disposed.*not disposed of/, /The tensor is disposed/],
    [(out) => out.getData(true).then(() => out.dispose()), 'none', /The tensor is disposed/, /The tensor is disposed/],
  ];
  const session = await InferenceSession.create(ECHO, { preferredOutputLocation: 'cpu-pinned' });
  const other = await InferenceSession.create(ECHO);
  for (const [act, location, ...answers] of cases) {
    const { out } = await session.run({ ids: IDS });
    const acted = act(out);
    if (acted !== undefined) await acted;
    assert.equal(out.location, location);
    const runs = await Promise.allSettled([session.run({ ids: out }), other.run({ ids: out })]);
    for (const [index, { value, reason }] of runs.entries()) {
      const answer = answers[index];
      if (answer instanceof RegExp) {
        assert.ok(reason instanceof SottovoceError, String(reason));
        assert.deepEqual([reason.code, reason.tensor], ['InvalidInput', 'ids']);
        assert.match(reason.message, answer);
      } else {
        await value.out.getData();
        assert.deepEqual(value.out.tolist(), answer);
        value.out.dispose();
      }
    }
    out.dispose();
    out.dispose();
  }
  const { out: first } = await session.run({ ids: IDS }, ['out']);
  assert.match(session.deviceReason, /holding 1,/);
  first.dispose();
  const { out: second } = await session.run({ ids: IDS });
  assert.match(session.deviceReason, /holding 1,/, 'the run took it along');
  second.dispose();
  await assert.rejects(session.run({ ids: IDS }, { signal: AbortSignal.abort() }), { code: 'Aborted' });
  assert.match(session.deviceReason, /holding 1,/);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.match(session.deviceReason, /holding 0,/, 'without a run the engine is told all the same');
  await session.release();
  await other.release();
});

test('options that do not fit are refused by name, before anything is loaded', async () => {
  const cases = [
    [{ logLevel: 1 }, /unknown option `logLevel`/],
    [{ executionProviders: 'wasm' }, /`executionProviders` must be an array/],
    [{ executionProviders: [] }, /`executionProviders`/],
    [{ executionProviders: ['webnn'] }, /`executionProviders` is \[webnn\]/],
    [{ executionProviders: ['wasm', 'webgpu'] }, /`executionProviders`/],
    [{ executionProviders: [{ name: 'webgpu', preferredLayout: 'NCHW' }] }, /`preferredLayout`/],
    [{ numThreads: 4 }, /`numThreads` is 4, but in the calling thread a model has no other/],
    [{ numThreads: 1.5 }, /`numThreads` must be an integer from 0 to 64, got 1.5/],
    [{ numThreads: 65 }, /`numThreads` must be an integer/],
    [{ numThreads: '2' }, /`numThreads` must be an integer/],
    [{ preferredOutputLocation: 'gpu-buffer' }, /`preferredOutputLocation` is 'gpu-buffer'/],
    [{ preferredOutputLocation: { out: 'texture' } }, /`preferredOutputLocation.out` is 'texture'/],
    [{ preferredOutputLocation: ['cpu'] }, /`preferredOutputLocation` is an array/],
    [{ preferredOutputLocation: null }, /`preferredOutputLocation` is null/],
    [{ preferredOutputLocation: { past: 'cpu' } }, /unknown option `past` in option `preferredOutputLocation`/, ECHO],
    [{ graphOptimizationLevel: 'disabled' }, /`graphOptimizationLevel`/],
    [{ externalData: 'weights' }, /`externalData`/],
    [{ externalData: [{ path: 'a', data: ECHO, more: 1 }] }, /`more`/],
    [{ signal: 'stop' }, /`signal` must be an AbortSignal/],
    [{ progress_callback: 1 }, /`progress_callback` must be a function/],
    [{ worker: 'yes' }, /`worker` must be a boolean/],
    [{ worker: true }, /no workers here/],
    [{ stallTimeout: 0 }, /`stallTimeout`/],
    [{ integrity: 'md5-abc' }, /`integrity` has no SHA-256 digest for `model`/],
    [{ integrity: { other: `sha256-${'A'.repeat(43)}=` } }, /`integrity` names `other`, which is not read/],
    [5, /outside a buffer|byte offset/],
    [null, /must be an object/],
  ];
  const refused = fakeModel({ load: 'typed' });
  for (const [options, message, model = refused] of cases) {
    await assert.rejects(InferenceSession.create(model, options), (error) => {
      assert.ok(error instanceof SottovoceError, String(error));
      assert.equal(error.code, 'InvalidInput');
      assert.match(error.message, message);
      return true;
    });
  }
  for (const source of [5, null, {}, 'not absolute']) {
    await assert.rejects(InferenceSession.create(source), { code: 'InvalidInput' });
  }
});

test('feeds, fetches and run options that do not fit are refused by name', async () => {
  const session = await InferenceSession.create(ECHO);
  const disposed = new Tensor('int64', [1n], [1]);
  disposed.dispose();
  const cases = [
    [[{}], { code: 'InvalidInput', tensor: 'ids', message: /missing/ }],
    [[{ ids: IDS, mask: IDS }], { code: 'InvalidInput', tensor: 'mask', message: /no such input/ }],
    [
      [{ ids: new Tensor('int32', [1], [1]) }],
      { code: 'InvalidInput', tensor: 'ids', message: /'int32', the model takes int64/ },
    ],
    [
      [{ ids: { type: 'int64', dims: [2, 2], data: new BigInt64Array(3) } }],
      { tensor: 'ids', message: /\[2, 2\] cannot hold 3/ },
    ],
    [[{ ids: { type: 'int64', dims: [1], data: [1n] } }], { tensor: 'ids', message: /an array/ }],
    [[null], { code: 'InvalidInput' }],
    [[{ ids: null }], { tensor: 'ids', message: /missing/ }],
    [[{ ids: { type: 'int64', data: new BigInt64Array(1) } }], { tensor: 'ids', message: /dims are undefined/ }],
    [[{ ids: disposed }], { tensor: 'ids', message: /cannot be read/ }],
    [[{ ids: IDS }, ['none']], { tensor: 'none', message: /no such output/ }],
    [[{ ids: IDS }, []], { message: /no outputs/ }],
    [[{ ids: IDS }, { out: IDS }], { tensor: 'out', message: /given tensors/ }],
    [[{ ids: IDS }, { tag: 'x' }], { message: /unknown option `tag`/ }],
    [[{ ids: IDS }, ['out'], { terminate: true }], { message: /unknown option `terminate`/ }],
    [[{ ids: IDS }, { signal: 1 }], { message: /AbortSignal/ }],
  ];
  for (const [given, expected] of cases)
    await assert.rejects(session.run(...given), { code: 'InvalidInput', ...expected });
  for (const fetches of [['out'], { out: null }])
    assert.deepEqual(Object.keys(await session.run({ ids: IDS }, fetches)), ['out']);
  assert.throws(() => session.startProfiling(), { code: 'InvalidInput' });
  await session.release();
});

test('a tensor keeps its type and elements through a run, wherever its outputs go', async () => {
  const cases = [
    new Tensor('float32', [1.5, -2], [2]),
    new Tensor('float64', [0.1], [1]),
    new Tensor('bool', [true, false], [2]),
    new Tensor('uint8', [255], [1, 1]),
    new Tensor('int8', [-1], []),
    new Tensor('int16', [-300], [1]),
    new Tensor('uint16', [65535], [1]),
    new Tensor('uint64', [2n ** 63n], [1]),
    new Tensor('float16', Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00), [2, 2]),
    new Tensor('int32', [], [0, 4]),
  ];
  const lists = [
    [1.5, -2],
    [0.1],
    [true, false],
    [[255]],
    -1,
    [-300],
    [65535],
    [2n ** 63n],
    [
      [1, -2],
      [2 ** -24, Infinity],
    ],
    [],
  ];
  for (const preferredOutputLocation of ['cpu', 'cpu-pinned']) {
    for (const [index, tensor] of cases.entries()) {
      const model = fakeModel({ run: 'echo', type: tensor.type });
      const session = await InferenceSession.create(model, { preferredOutputLocation });
      const { out } = await session.run({ ids: tensor });
      assert.deepEqual([out.type, out.location], [tensor.type, preferredOutputLocation]);
      assert.deepEqual(await out.getData(), tensor.data);
      assert.deepEqual(out.tolist(), lists[index]);
      assert.deepEqual(tensor.tolist(), lists[index]);
      await session.release();
    }
    const session = await InferenceSession.create(fakeModel({ run: 'echo', type: 'bfloat16' }), { preferredOutputLocation });
    await assert.rejects(session.run({ ids: { type: 'bfloat16', dims: [1], data: new Uint16Array(1) } }), {
      code: 'UnsupportedOp',
      tensor: 'out',
      message: /bfloat16/,
    });
    assert.equal(session.counters().runs, 0);
    await session.release();
  }
});

test('external data is found by address or handed over by path', async (t) => {
  const server = await serve(t, files({ '/weights.bin': '<raw>' }));
  const session = await InferenceSession.create(ECHO, {
    externalData: [server.url('/weights.bin').href, { path: './more.bin', data: new Uint8Array(7) }],
  });
  assert.match(session.deviceReason, /external data weights\.bin:5,more\.bin:7/);
});

test('integrity is checked of addresses and of bytes', async (t) => {
  const server = await serve(t, files({ '/echo.onnx': ECHO }));
  const digest = `sha256-${createHash('sha256').update(ECHO).digest('base64')}`;
  const wrong = `sha256-${'A'.repeat(43)}=`;
  for (const source of [server.url('/echo.onnx'), ECHO, new Blob([ECHO])]) {
    await (await InferenceSession.create(source, { integrity: digest })).release();
    await assert.rejects(InferenceSession.create(source, { integrity: wrong }), { code: 'IntegrityError' });
  }
});

test('errors of the engine keep their places; traps close the model and the next load works', async () => {
  const typed = { code: 'UnsupportedOp', op: 'Frobnicate', node: 'node_7', remedy: 'export without it' };
  await assert.rejects(InferenceSession.create(fakeModel({ load: 'typed' })), typed);
  const session = await InferenceSession.create(fakeModel({ run: 'typed' }));
  await assert.rejects(session.run({ ids: IDS }), typed);
  await assert.rejects(session.run({ ids: IDS }), typed, 'the session goes on');

  await assert.rejects(InferenceSession.create(fakeModel({ load: 'trap' })), {
    code: 'InternalError',
    doing: 'loading the model',
    message: /unreachable/,
  });
  await assert.rejects(session.run({ ids: IDS }), { code: 'InternalError', message: /this model is closed/ });
  const next = await InferenceSession.create(fakeModel({ run: 'trap' }));
  assert.match(next.deviceReason, /instance 2/);
  await assert.rejects(next.run({ ids: IDS }), { code: 'InternalError', doing: 'running the model' });
  await assert.rejects(next.run({ ids: IDS }), { code: 'InternalError', message: /this model is closed/ });
  const panicking = await InferenceSession.create(fakeModel({ run: 'panic' }));
  await assert.rejects(panicking.run({ ids: IDS }), { code: 'InternalError', message: /index out of bounds/ });
  const last = await InferenceSession.create(ECHO);
  assert.match(last.deviceReason, /instance 4/);
  assert.equal((await last.run({ ids: IDS })).out.size, 3);
});

test('aborts stop loads and runs, and leave the session usable', async () => {
  const abortSoon = () => AbortSignal.timeout(60);
  await assert.rejects(InferenceSession.create(fakeModel({ load: 'loop' }), { signal: abortSoon() }), {
    code: 'Aborted',
    name: 'AbortError',
  });
  await assert.rejects(InferenceSession.create(ECHO, { signal: AbortSignal.abort() }), { code: 'Aborted' });
  const session = await InferenceSession.create(fakeModel({ run: 'loop' }));
  const waiting = new AbortController();
  const first = session.run({ ids: IDS }, { signal: abortSoon() });
  const second = session.run({ ids: IDS }, { signal: waiting.signal });
  waiting.abort();
  await assert.rejects(second, { code: 'Aborted' });
  await assert.rejects(first, { code: 'Aborted' });
  await assert.rejects(session.run({ ids: IDS }, { signal: abortSoon() }), { code: 'Aborted' });
});

test('release ends what runs and refuses what follows', async () => {
  const session = await InferenceSession.create(fakeModel({ run: 'loop' }));
  const running = session.run({ ids: IDS });
  const waiting = session.run({ ids: IDS });
  const released = session.release();
  await assert.rejects(running, { code: 'InvalidInput', message: /released/ });
  await assert.rejects(waiting, { code: 'InvalidInput', message: /released/ });
  await released;
  await session.release();
  await assert.rejects(session.run({ ids: IDS }), { code: 'InvalidInput', message: /closed: the model was released/ });
});

test('an artefact stands in for the model where it is of use', async (t) => {
  const digest = `sha256-${createHash('sha256').update(ECHO).digest('base64')}`;
  const first = await InferenceSession.create(ECHO, { integrity: digest });
  assert.equal(first.loadedFrom, 'model');
  const saved = await first.save();
  await first.release();
  const text = new TextDecoder().decode(saved);
  assert.match(text, new RegExp(digest.replaceAll('+', '\\+')));
  const other = new TextEncoder().encode(text.replace(digest, `sha256-${'A'.repeat(43)}=`));
  const server = await serve(t, files({ '/echo.onnx': ECHO, '/saved': saved, '/damaged': saved.slice(1) }));
  const stop = new AbortController();
  const cases = [
    // The artefact, whether the model is promised, what the model is loaded from.
    [saved, true, 'artefact'],
    [saved, false, 'artefact'],
    [new Blob([saved]), true, 'artefact'],
    [saved.buffer, true, 'artefact'],
    [server.url('/saved'), true, 'artefact'],
    [server.url('/damaged'), true, 'model'],
    [server.url('/missing'), true, 'model'],
    [new Uint8Array(), true, 'model'],
    [ECHO, true, 'model'],
    [other, false, 'artefact'],
    [other, true, 'model'],
  ];
  for (const [artefact, promised, loadedFrom] of cases) {
    const events = [];
    const session = await InferenceSession.create(server.url('/echo.onnx'), {
      artefact,
      ...(promised && { integrity: digest }),
      progress_callback: (event) => events.push(event),
    });
    assert.equal(session.loadedFrom, loadedFrom);
    assert.deepEqual((await session.run({ ids: IDS })).out.tolist(), [[1n, 2n, 3n]]);
    const fetched = new Set(events.flatMap(({ status, file }) => (status === 'done' ? [file] : [])));
    assert.equal(fetched.has('echo.onnx'), loadedFrom === 'model');
    const totals = events.filter(({ status }) => status === 'progress_total');
    if (loadedFrom === 'model') assert.equal(totals.at(-1).progress, 100);
    assert.equal(new TextDecoder().decode(await session.save()).includes('artefact'), true);
    await session.release();
  }
  const itself = await InferenceSession.create(saved);
  assert.equal(itself.loadedFrom, 'artefact');
  assert.deepEqual(await itself.save(), saved);
  await itself.release();
  await assert.rejects(InferenceSession.create(ECHO, { artefact: 5 }), { code: 'InvalidInput' });
  await assert.rejects(InferenceSession.create(ECHO, { integrity: { artefact: digest } }), { code: 'InvalidInput' });
  stop.abort();
  await assert.rejects(InferenceSession.create(ECHO, { artefact: saved, signal: stop.signal }), { code: 'Aborted' });
  const typed = new TextEncoder().encode(JSON.stringify({ load: 'typed', artefact: {} }));
  await assert.rejects(InferenceSession.create(ECHO, { artefact: typed }), { code: 'UnsupportedOp' });
});
