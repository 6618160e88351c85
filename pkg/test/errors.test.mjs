import assert from 'node:assert/strict';
import { test } from 'node:test';
import { abortedError, isPlainError, SottovoceError, typedError } from '../dist/errors.js';

test('an error crosses a border as plain data', () => {
  const cases = [
    typedError('InvalidModel', 'truncated', {
      doing: 'loading the model',
      file: 'model.onnx',
      remedy: 'fetch it anew',
    }),
    typedError('UnsupportedOp', 'unknown op', { op: 'Foo', node: 'node_1', tensor: 'x' }),
    abortedError('running the model'),
  ];
  for (const error of cases) {
    const plain = structuredClone(error.toPlain());
    const back = SottovoceError.fromPlain(plain);
    assert.ok(isPlainError(plain));
    for (const field of ['name', 'code', 'message', 'doing', 'node', 'op', 'tensor', 'file', 'remedy']) {
      assert.equal(back[field], error[field], field);
    }
  }
});

test('a sentence says what was done, what is wrong, where, and what to do', () => {
  const error = typedError('InvalidInput', 'expected int64', {
    doing: 'running',
    tensor: 'ids',
    file: 'm.onnx',
    remedy: 'pass int64',
  });
  assert.equal(error.message, 'running: expected int64 (tensor `ids`, file `m.onnx`); pass int64');
  assert.equal(error.name, 'SottovoceError');
});

test('an abort is an AbortError whose cause is the reason', () => {
  const error = abortedError('loading', AbortSignal.abort('enough'));
  assert.equal(error.name, 'AbortError');
  assert.equal(error.code, 'Aborted');
  assert.equal(error.cause, 'enough');
});

test('only errors with a code of ours count as typed', () => {
  const cases = [
    [new Error('plain'), false],
    [Object.assign(new Error('node'), { code: 'ENOENT' }), false],
    [Object.assign(new Error('ours'), { code: 'OutOfMemory' }), true],
    ['OutOfMemory', false],
    [null, false],
  ];
  for (const [thrown, expected] of cases) assert.equal(isPlainError(thrown), expected, String(thrown));
});
