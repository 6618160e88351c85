import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tensor } from '../dist/tensor.js';

test('tensors reshape, and refuse what does not fit', () => {
  const tensor = new Tensor(Float32Array.of(1, 2, 3, 4), [4]);
  assert.equal(tensor.type, 'float32');
  assert.deepEqual(tensor.reshape([2, 2]).tolist(), [
    [1, 2],
    [3, 4],
  ]);
  const cases = [
    () => new Tensor('float32', [1, 2], [3]),
    () => new Tensor('float33', [1], [1]),
    () => new Tensor('int64', Float32Array.of(1), [1]),
    () => new Tensor('float32', [1], [-1]),
    () => tensor.reshape([3]),
  ];
  for (const make of cases) assert.throws(make, { code: 'InvalidInput' });
});
