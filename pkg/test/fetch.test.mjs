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
  for (const piece of pieces) assert.equal(piece.length, piece.buffer.byteLength, 'each piece owns its buffer');
  return { bytes: joinPieces(pieces), progress };
}

function assertMonotone(progress, length = CONTENT.length) {
  for (let index = 1; index < progress.length; index++)
    assert.ok(progress[index][0] >= progress[index - 1][0], 'monotone');
  assert.deepEqual(progress.at(-1), [length, length]);
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

/** Longer than one piece and than several reads, and no multiple of either. */
const LONG_CONTENT = Uint8Array.from(randomBytes(5 * 1024 * 1024 + 7));
LONG_CONTENT[0] = 8;
const LONG_DIGEST = `sha256-${createHash('sha256').update(LONG_CONTENT).digest('base64')}`;
/** Within a piece, and within what one read takes. */
const BREAK_AT = 4 * 1024 * 1024 + 300_001;

/** Bodies that yield LONG_CONTENT from `from` to `to`, and there call `atEnd` with their controller. */
const BODIES = [
  {
    name: 'a byte stream that fills the buffer it is given',
    body: (from, to, atEnd) =>
      new ReadableStream({
        type: 'bytes',
        pull(controller) {
          const { view } = controller.byobRequest;
          if (from === to) {
            view.fill(0); // what is written but not responded has not arrived
            return atEnd(controller);
          }
          const part = LONG_CONTENT.subarray(from, Math.min(to, from + view.length));
          view.set(part);
          from += part.length;
          controller.byobRequest.respond(part.length);
        },
      }),
  },
  {
    name: 'a byte stream of chunks longer than any read',
    body: (from, to, atEnd) =>
      new ReadableStream({
        type: 'bytes',
        pull(controller) {
          if (from === to) return atEnd(controller);
          controller.enqueue(LONG_CONTENT.slice(from, to));
          from = to;
        },
      }),
  },
  {
    name: 'a stream of chunks',
    body: (from, to, atEnd) =>
      new ReadableStream({
        pull(controller) {
          if (from === to) return atEnd(controller);
          const part = LONG_CONTENT.slice(from, Math.min(to, from + 100_000));
          from += part.length;
          controller.enqueue(part);
        },
      }),
  },
];

function close(controller) {
  controller.close();
  controller.byobRequest?.respond(0);
}

function fail(controller) {
  controller.error(new TypeError('the network changed'));
}

/** A `fetch` whose first body calls `atBreak` at BREAK_AT; `ranges` gets each request's Range header. */
function fetchLongContent(body, atBreak, ranges) {
  return async (_, { headers, signal }) => {
    const range = headers['Range'];
    ranges.push(range);
    const from = range === undefined ? 0 : Number(/^bytes=(\d+)-$/.exec(range)[1]);
    const first = ranges.length === 1;
    const stream = body(from, first ? BREAK_AT : LONG_CONTENT.length, (controller) => {
      signal.addEventListener('abort', () => controller.error(signal.reason));
      if (first) return atBreak(controller);
      close(controller);
    });
    const status = range === undefined ? 200 : 206;
    const place = `bytes ${from}-${LONG_CONTENT.length - 1}/${LONG_CONTENT.length}`;
    const length = LONG_CONTENT.length - from;
    return new Response(stream, { status, headers: { etag: '"v1"', 'content-length': length, 'content-range': place } });
  };
}

test('bodies of every kind, broken in the middle of a piece', async (t) => {
  const resumed = [undefined, `bytes=${BREAK_AT}-`];
  const silent = () => new Promise(() => {});
  const cases = [
    { name: 'taken up there after an error', atBreak: fail, ranges: resumed },
    { name: 'taken up there after an early end', atBreak: close, ranges: resumed },
    {
      name: 'stalled',
      atBreak: silent,
      ranges: [undefined],
      options: () => ({ stallTimeout: 100 }),
      error: { code: 'NetworkError', message: /nothing arrived for 100 ms/ },
    },
    {
      name: 'aborted',
      atBreak: silent,
      ranges: [undefined],
      options: () => ({ signal: AbortSignal.timeout(100) }),
      error: { code: 'Aborted' },
    },
  ];
  for (const { name: kind, body } of BODIES) {
    for (const { name, atBreak, ranges, options, error } of cases) {
      await t.test(`${kind}, ${name}`, async (t) => {
        const asked = [];
        t.mock.method(globalThis, 'fetch', fetchLongContent(body, atBreak, asked));
        const url = new URL('http://localhost/model.onnx');
        const fetched = fetchNoted(url, { digest: LONG_DIGEST, ...options?.() });
        if (error === undefined) {
          const { bytes, progress } = await fetched;
          assert.ok(Buffer.from(bytes).equals(LONG_CONTENT));
          assertMonotone(progress, LONG_CONTENT.length);
        } else await assert.rejects(fetched, error);
        assert.deepEqual(asked, ranges);
      });
    }
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
