import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeModel, importFakePackage } from './support/fake-package.mjs';
import { files, serve } from './support/server.mjs';

const { pipeline, SottovoceError, Tensor } = await importFakePackage();
const ECHO = fakeModel({ run: 'echo' });
const BESIDE = { '/m/tokenizer.json': '{"t":1}', '/m/tokenizer_config.json': '{"tc":1}', '/m/config.json': '{"c":1}' };

test('the files of a model are found from its folder or its .onnx file', async (t) => {
  const cases = [
    ['/m', {}, '/m/onnx/model.onnx'],
    ['/m/', { dtype: 'fp32' }, '/m/onnx/model.onnx'],
    ['/m', { dtype: 'fp16' }, '/m/onnx/model_fp16.onnx'],
    ['/m', { dtype: 'q8' }, '/m/onnx/model_quantized.onnx'],
    ['/m', { dtype: 'int8' }, '/m/onnx/model_int8.onnx'],
    ['/m', { dtype: 'uint8' }, '/m/onnx/model_uint8.onnx'],
    ['/m', { dtype: 'q4' }, '/m/onnx/model_q4.onnx'],
    ['/m', { dtype: 'q4f16' }, '/m/onnx/model_q4f16.onnx'],
    ['/m', { subfolder: '', model_file_name: 'encoder' }, '/m/encoder.onnx'],
    ['/m?key=1', { subfolder: 'weights/' }, '/m/weights/model.onnx'],
    ['/m/onnx/any.onnx', {}, '/m/onnx/any.onnx'],
    ['/m/any.onnx', {}, '/m/any.onnx'],
    ['/m/100%.onnx', {}, '/m/100%.onnx'],
  ];
  for (const [address, options, weights] of cases) {
    const server = await serve(t, files({ ...BESIDE, [weights]: ECHO }));
    const ner = await pipeline('ner', server.url(address), options);
    const [{ files: given }] = await ner('text');
    assert.deepEqual(given, ['tokenizerJson={"t":1}', 'tokenizerConfigJson={"tc":1}', 'configJson={"c":1}']);
    const asked = server.requests.map(({ url }) => url);
    assert.equal(asked.length, 4);
    assert.ok(asked.every((url) => url.includes('?key=1') === address.includes('?')));
    await ner.dispose();
  }
});

test('results follow the shape of the input', async (t) => {
  const server = await serve(t, files({ ...BESIDE, '/m/onnx/model.onnx': ECHO }));
  const embed = await pipeline('feature-extraction', server.url('/m'));
  assert.deepEqual((await embed('four', { pooling: 'mean', normalize: true })).tolist(), [[4]]);
  const vectors = await embed(['a', 'bcd']);
  assert.ok(vectors instanceof Tensor);
  assert.deepEqual(vectors.dims, [2, 1]);
  assert.equal(embed.device, 'cpu');
  assert.match(embed.deviceReason, /asked for auto/);
  assert.equal(embed.counters().runs, 2);
  await embed.dispose();
  await assert.rejects(embed('four'), { code: 'InvalidInput', message: /released/ });

  const ner = await pipeline('token-classification', server.url('/m'), { device: 'wasm' });
  const options = { aggregation_strategy: 'simple', ignore_labels: [] };
  const [single] = await ner('one', options);
  assert.equal(single.word, 'one');
  assert.deepEqual(single.options, options);
  const both = await ner(['one', 'two'], { signal: new AbortController().signal });
  assert.deepEqual(
    both.map(([entity]) => entity.word),
    ['one', 'two'],
  );
  assert.deepEqual(both[0][0].options, {});
});

test('optional files may be missing, needed ones not', async (t) => {
  const page = (request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>');
  const cases = [
    { task: 'ner', lacks: ['tokenizer_config.json'], given: ['tokenizerJson={"t":1}', 'configJson={"c":1}'] },
    {
      task: 'ner',
      lacks: ['tokenizer_config.json'],
      missing: page,
      given: ['tokenizerJson={"t":1}', 'configJson={"c":1}'],
    },
    { task: 'ner', lacks: ['config.json'], error: { code: 'NetworkError', message: /404/ } },
    { task: 'ner', lacks: ['tokenizer.json'], missing: page, error: { code: 'InvalidModel', message: /web page/ } },
    { task: 'feature-extraction', lacks: ['config.json', 'tokenizer_config.json'] },
    { task: 'feature-extraction', lacks: ['tokenizer.json'], error: { code: 'NetworkError' } },
  ];
  for (const { task, lacks, missing, given, error } of cases) {
    const all = files({ ...BESIDE, '/m/onnx/model.onnx': ECHO });
    const server = await serve(t, (request, response) => {
      if (!lacks.some((name) => request.url === `/m/${name}`)) return all(request, response);
      return missing ? missing(request, response) : response.writeHead(404).end();
    });
    if (error) {
      await assert.rejects(pipeline(task, server.url('/m')), error);
      continue;
    }
    const loaded = await pipeline(task, server.url('/m'));
    if (given) assert.deepEqual((await loaded('text'))[0].files, given);
    await loaded.dispose();
  }
});

test('progress is of bytes, never goes back, and ends at 100 %', async (t) => {
  const contents = { ...BESIDE, '/m/onnx/model.onnx': Buffer.concat([ECHO, Buffer.alloc(2_000_000, ' ')]) };
  delete contents['/m/tokenizer_config.json'];
  const server = await serve(t, files(contents));
  const events = [];
  await (await pipeline('ner', server.url('/m'), { progress_callback: (event) => events.push(event) })).dispose();
  const size = Object.values(contents).reduce((sum, content) => sum + Buffer.byteLength(content), 0);
  const totals = events.filter(({ status }) => status === 'progress_total');
  for (const [index, event] of totals.entries()) {
    if (index > 0) assert.ok(event.loaded >= totals[index - 1].loaded);
    assert.ok(event.total === undefined || event.total === size);
    assert.equal(event.progress, event.total && (100 * event.loaded) / size);
  }
  assert.deepEqual([totals.at(-1).loaded, totals.at(-1).total, totals.at(-1).progress], [size, size, 100]);
  const ofModel = events.filter(({ file }) => file === 'onnx/model.onnx').map(({ status }) => status);
  assert.deepEqual([...new Set(ofModel)], ['initiate', 'download', 'progress', 'done']);
  assert.equal(ofModel.filter((status) => status === 'download').length, 1);
  assert.equal(events.at(-1).status, 'ready');
});

test('what does not fit is refused by name, before anything is fetched', async (t) => {
  const server = await serve(t, files({}));
  const address = server.url('/m');
  const cases = [
    [['text-generation', address], /`task` is 'text-generation'/],
    [['ner', 5], /address must be a string or a URL/],
    [['ner', address, { revision: 'main' }], /unknown option `revision`/],
    [['ner', address, { device: 'gpu' }], /`device` is 'gpu'/],
    [['ner', address, { dtype: 'q5' }], /`dtype` is 'q5'/],
    [['ner', server.url('/m/model.onnx'), { dtype: 'q4' }], /`dtype` has no meaning/],
    [['ner', address, { subfolder: 1 }], /`subfolder` must be a string/],
    [['ner', address, { session_options: { executionProviders: ['wasm'] } }], /unknown option `executionProviders`/],
    [['ner', address, { session_options: { numThreads: -1 } }], /`numThreads` must be an integer/],
    [['ner', address, { worker: false, session_options: { worker: true } }], /contradict/],
    [
      ['ner', address, { integrity: { 'model.onnx': `sha256-${'A'.repeat(43)}=` } }],
      /the files read are onnx\/model\.onnx/,
    ],
  ];
  for (const [given, message] of cases) {
    await assert.rejects(pipeline(...given), (error) => {
      assert.ok(error instanceof SottovoceError, String(error));
      assert.equal(error.code, 'InvalidInput');
      assert.match(error.message, message);
      return true;
    });
  }
  assert.equal(server.requests.length, 0);
});

test('calls that do not fit are refused by name', async (t) => {
  const server = await serve(t, files({ ...BESIDE, '/m/onnx/model.onnx': ECHO }));
  const ner = await pipeline('ner', server.url('/m'));
  const cases = [
    [['text', { pooling: 'mean' }], /unknown option `pooling`/],
    [['text', { signal: 'now' }], /AbortSignal/],
    [[5], /a text must be a string, got 5/],
    [[['a', null]], /a text must be a string, got null/],
    [[undefined], /a text must be a string, got undefined/],
  ];
  for (const [given, message] of cases) await assert.rejects(ner(...given), { code: 'InvalidInput', message });
});

test('one failed load does not touch the next; an aborted one fetches no more', async (t) => {
  const server = await serve(t, files({ ...BESIDE, '/m/onnx/model.onnx': ECHO }));
  const results = await Promise.allSettled([
    pipeline('ner', server.url('/none')),
    pipeline('ner', server.url('/m')),
    pipeline('ner', server.url('/m'), { signal: AbortSignal.abort() }),
  ]);
  assert.deepEqual(
    results.map(({ reason }) => reason?.code),
    ['NetworkError', undefined, 'Aborted'],
  );
  const silent = await serve(t, () => {});
  await assert.rejects(pipeline('ner', silent.url('/m'), { signal: AbortSignal.timeout(50) }), {
    code: 'Aborted',
    name: 'AbortError',
  });
});
