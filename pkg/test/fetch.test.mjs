import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { joinPieces } from '../dist/bytes.js';
import { download, isMissing } from '../dist/fetch.js';
import { serve } from './support/server.mjs';

const CONTENT = Uint8Array.from(randomBytes(300_000));
CONTENT[0] = 8;
const DIGEST = `sha256-${createHash('sha256').update(CONTENT).digest('base64')}`;
const MODEL_HEADERS = { 'content-type': 'application/octet-stream', 'content-length': CONTENT.length };

/** Downloads and notes the progress. */
async function fetchNoted(url, options = {}) {
  const progress = [];
  const onProgress = (loaded, total) => progress.push([loaded, total]);
  const pieces = await download({ url, file: 'model.onnx', kind: 'model', stallTimeout: 5000, onProgress, ...options });
  return { bytes: joinPieces(pieces), progress };
}

function assertMonotone(progress) {
  for (let index = 1; index < progress.length; index++)
    assert.ok(progress[index][0] >= progress[index - 1][0], 'monotone');
  assert.deepEqual(progress.at(-1), [CONTENT.length, CONTENT.length]);
}

/** Sends the first half and breaks the connection. */
function breakOff(response, headers = MODEL_HEADERS) {
  response.writeHead(200, headers);
  response.write(CONTENT.subarray(0, 150_000), () => setTimeout(() => response.destroy(), 50));
}

function answerRange(request, response, headers = {}) {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range)[1]);
  const range = `bytes ${from}-${CONTENT.length - 1}/${CONTENT.length}`;
  response
    .writeHead(206, { 'content-range': range, 'content-length': CONTENT.length - from, ...headers })
    .end(CONTENT.subarray(from));
}

test('downloads that arrive', async (t) => {
  const cases = [
    {
      name: 'with a length',
      answer: (_, response) => response.writeHead(200, MODEL_HEADERS).end(CONTENT),
      totals: [CONTENT.length],
      requests: 1,
    },
    {
      name: 'without a length',
      answer: (_, response) => {
        response.writeHead(200);
        response.write(CONTENT.subarray(0, 100));
        response.end(CONTENT.subarray(100));
      },
      totals: [undefined, CONTENT.length],
      requests: 1,
    },
    {
      name: 'encoded, with the length of the encoding',
      answer: (_, response) => {
        const encoded = gzipSync(CONTENT);
        response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': encoded.length }).end(encoded);
      },
      totals: [undefined, CONTENT.length],
      requests: 1,
    },
    {
      name: 'resumed after a break',
      answer: (request, response) => {
        if (request.headers.range === undefined) return breakOff(response, { ...MODEL_HEADERS, etag: '"v1"' });
        assert.equal(request.headers['if-range'], '"v1"');
        answerRange(request, response);
      },
      totals: [CONTENT.length],
      requests: 2,
    },
    {
      name: 'changed between break and resumption',
      answer: (request, response) => {
        if (request.headers.range === undefined) return breakOff(response, { ...MODEL_HEADERS, etag: '"v1"' });
        response.writeHead(200, { ...MODEL_HEADERS, etag: '"v2"' }).end(CONTENT);
      },
      totals: [CONTENT.length],
      requests: 2,
    },
    {
      name: 'begun anew after a break, without an ETag',
      answer: (request, response, count) => {
        assert.equal(request.headers.range, undefined);
        if (count === 1) return breakOff(response);
        response.writeHead(200, MODEL_HEADERS).end(CONTENT);
      },
      totals: [CONTENT.length],
      requests: 2,
    },
    {
      name: 'begun anew where the server answers another range',
      answer: (request, response, count) => {
        if (count === 1) return breakOff(response, { ...MODEL_HEADERS, etag: '"v1"' });
        if (count === 2)
          return response.writeHead(206, { 'content-range': `bytes 7-8/9`, 'content-length': 2 }).end('ab');
        response.writeHead(200, MODEL_HEADERS).end(CONTENT);
      },
      totals: [CONTENT.length],
      requests: 3,
    },
  ];
  for (const { name, answer, totals, requests } of cases) {
    await t.test(name, async (t) => {
      let count = 0;
      const server = await serve(t, (request, response) => answer(request, response, ++count));
      const { bytes, progress } = await fetchNoted(server.url('/model.onnx'), { digest: DIGEST });
      assert.ok(Buffer.from(bytes).equals(CONTENT));
      assertMonotone(progress);
      for (const [, total] of progress) assert.ok(totals.includes(total), `total ${total}`);
      assert.equal(server.requests.length, requests);
    });
  }
});

test('downloads that fail', async (t) => {
  const cases = [
    {
      name: '404',
      answer: (response) => response.writeHead(404).end(),
      code: 'NetworkError',
      message: /404/,
      missing: true,
    },
    { name: '500', answer: (response) => response.writeHead(500).end(), code: 'NetworkError', message: /500/ },
    { name: 'empty', answer: (response) => response.writeHead(200).end(), code: 'NetworkError', message: /empty/ },
    {
      name: 'a page, by its type',
      answer: (response) => response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('Hello'),
      code: 'InvalidModel',
      message: /web page/,
      missing: true,
    },
    {
      name: 'a page, by its first byte',
      answer: (response) => response.writeHead(200).end('<!doctype html>'),
      code: 'InvalidModel',
      message: /web page/,
      missing: true,
    },
    {
      name: 'stalled before the headers',
      answer: () => {},
      options: { stallTimeout: 100 },
      code: 'NetworkError',
      message: /nothing arrived for 100 ms/,
    },
    {
      name: 'stalled in the middle',
      answer: (response) => response.writeHead(200, MODEL_HEADERS).write(CONTENT.subarray(0, 1000)),
      options: { stallTimeout: 100 },
      code: 'NetworkError',
      message: /nothing arrived for 100 ms/,
    },
    {
      name: 'truncated every time',
      answer: (response) => breakOff(response),
      code: 'NetworkError',
      message: /broke 4 times, at last after 150000 bytes/,
    },
    {
      name: 'other bytes than promised',
      answer: (response) => response.writeHead(200).end('changed'),
      options: { digest: DIGEST },
      code: 'IntegrityError',
      message: new RegExp(DIGEST.replaceAll(/[+/]/g, '\\$&')),
      file: 'model.onnx',
    },
  ];
  for (const { name, answer, options, code, message, missing = false, file } of cases) {
    await t.test(name, async (t) => {
      const server = await serve(t, (_, response) => answer(response));
      const url = server.url('/model.onnx');
      await assert.rejects(fetchNoted(url, options), (error) => {
        assert.equal(error.code, code);
        assert.match(error.message, message);
        assert.equal(error.file, file ?? url.href);
        assert.ok(error.remedy);
        assert.equal(isMissing(error), missing);
        return true;
      });
    });
  }
});

test('external data may begin with any byte', async (t) => {
  const server = await serve(t, (_, response) => response.end('<<<<'));
  const { bytes } = await fetchNoted(server.url('/model.onnx_data'), { kind: 'data' });
  assert.equal(bytes.length, 4);
});

test('a server that is not there', async (t) => {
  const server = await serve(t, () => {});
  const url = new URL(server.url('/'));
  url.port = '1';
  await assert.rejects(fetchNoted(url), { code: 'NetworkError', file: url.href });
});

test('an abort ends the request at once, whatever it waits for', async (t) => {
  const cases = [
    { name: 'beforehand', answer: () => {}, at: undefined },
    { name: 'before the headers', answer: () => {}, at: 50 },
    {
      name: 'in the middle',
      answer: (response) => response.writeHead(200, MODEL_HEADERS).write(CONTENT.subarray(0, 1000)),
      at: 50,
    },
    { name: 'between two attempts', answer: (response) => breakOff(response), at: 150 },
  ];
  for (const { name, answer, at } of cases) {
    await t.test(name, async (t) => {
      const server = await serve(t, (_, response) => answer(response));
      const signal = at === undefined ? AbortSignal.abort() : AbortSignal.timeout(at);
      const start = performance.now();
      await assert.rejects(fetchNoted(server.url('/'), { signal }), { code: 'Aborted', name: 'AbortError' });
      assert.ok(performance.now() - start < 2000);
      if (at === undefined) assert.equal(server.requests.length, 0);
    });
  }
});

test('file addresses are read in Node', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sottovoce-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'model.onnx'), CONTENT);
  const { bytes, progress } = await fetchNoted(pathToFileURL(join(folder, 'model.onnx')), { digest: DIGEST });
  assert.ok(Buffer.from(bytes).equals(CONTENT));
  assertMonotone(progress);
  await assert.rejects(
    fetchNoted(pathToFileURL(join(folder, 'none'))),
    (error) => error.code === 'NetworkError' && isMissing(error),
  );
});
