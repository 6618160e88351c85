import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseVariant } from '../dist/features.js';

/** Name of the instruction that a probe module ends with. */
function instructionOf(module) {
  const text = Buffer.from(module).toString('latin1');
  const names = { simd128: '\xfd\x62', madd: '\xfd\x85\x02', dot: '\xfd\x93\x02' };
  return Object.keys(names).find((name) => text.includes(names[name]));
}

test('the variant follows from what compiles, instruction by instruction', (t) => {
  const cases = [
    { lacks: [], expected: 'relaxed' },
    { lacks: ['dot'], expected: 'simd' },
    { lacks: ['madd'], expected: 'simd' },
    { lacks: ['madd', 'dot'], expected: 'simd' },
    { lacks: ['simd128'], error: /no WebAssembly SIMD/ },
  ];
  for (const { lacks, expected, error } of cases) {
    const validate = t.mock.method(WebAssembly, 'validate', (module) => !lacks.includes(instructionOf(module)));
    if (error)
      assert.throws(
        chooseVariant,
        (thrown) => thrown.code === 'DeviceLost' && error.test(thrown.message) && !!thrown.remedy,
      );
    else assert.equal(chooseVariant(), expected);
    validate.mock.restore();
  }
});

test('the probes are valid modules where the instructions exist', (t) => {
  const seen = new Map();
  const { validate } = WebAssembly;
  const mock = t.mock.method(WebAssembly, 'validate', (module) => {
    seen.set(instructionOf(module), validate(module));
    return true;
  });
  chooseVariant();
  mock.mock.restore();
  const hasRelaxed = Number(process.versions.node.split('.')[0]) >= 22;
  assert.deepEqual(Object.fromEntries(seen), { simd128: true, madd: hasRelaxed, dot: hasRelaxed });
});
