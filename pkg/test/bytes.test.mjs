import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { ByteCollector, joinPieces, openBytes } from '../dist/bytes.js';
import { Sha256 } from '../dist/sha256.js';

const MIB = 1024 * 1024;

test('bytes come out as they went in, wherever they are read', async () => {
  const cases = [
    { appended: [0], reads: [[0, 0]] },
    {
      appended: [1, 2, 3],
      reads: [
        [0, 6],
        [1, 4],
        [5, 1],
        [6, 0],
      ],
    },
    {
      appended: [4 * MIB],
      reads: [
        [0, 10],
        [4 * MIB - 1, 1],
      ],
    },
    {
      appended: [3 * MIB, 3 * MIB, 5],
      reads: [
        [4 * MIB - 3, 6],
        [0, 6 * MIB + 5],
        [6 * MIB, 5],
      ],
    },
    {
      appended: [9 * MIB + 1],
      reads: [
        [3 * MIB, 6 * MIB],
        [8 * MIB, MIB + 1],
      ],
    },
  ];
  for (const { appended, reads } of cases) {
    const all = randomBytes(appended.reduce((sum, size) => sum + size, 0));
    const collector = new ByteCollector();
    let offset = 0;
    for (const size of appended) collector.append(all.subarray(offset, (offset += size)));
    const pieces = collector.finish();
    assert.ok(Buffer.from(joinPieces(pieces)).equals(all));
    assert.ok(
      pieces.every((piece) => piece.length === piece.buffer.byteLength),
      'each piece owns its buffer',
    );
    for (const bytes of [{ pieces, owned: true }, { blob: new Blob([all]) }]) {
      const source = await openBytes(bytes);
      assert.equal(source.size, all.length);
      for (const [from, length] of reads) {
        const buffer = new Uint8Array(length);
        source.readAt(from, buffer);
        assert.ok(Buffer.from(buffer).equals(all.subarray(from, from + length)), `${from}+${length}`);
      }
      assert.throws(() => source.readAt(all.length, new Uint8Array(1)), { code: 'InvalidInput' });
      assert.throws(() => source.readAt(-1, new Uint8Array(1)), { code: 'InvalidInput' });
    }
  }
});

test('SHA-256 agrees with the platform, however the bytes are cut', () => {
  for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000, 100_003]) {
    const bytes = randomBytes(length);
    const expected = createHash('sha256').update(bytes).digest('hex');
    for (const step of [1, 7, 64, 1000, length + 1]) {
      const hash = new Sha256();
      for (let offset = 0; offset < length; offset += step) hash.update(bytes.subarray(offset, offset + step));
      assert.equal(Buffer.from(hash.digest()).toString('hex'), expected, `${length} bytes by ${step}`);
    }
  }
});

test('a Blob is read in large parts where reads follow each other', async (t) => {
  const whole = Uint8Array.from({ length: 10_000 }, (_, at) => at % 251);
  const asked = [];
  const blob = {
    size: whole.length,
    slice: (start, end) => {
      asked.push(start);
      return whole.slice(start, end).buffer;
    },
  };
  globalThis.FileReaderSync = class {
    readAsArrayBuffer = (part) => part;
  };
  t.after(() => delete globalThis.FileReaderSync);
  const source = await openBytes({ blob });
  const cases = [
    // Offset and bytes of a read, and how often the Blob has been asked by then.
    [0, 10, 1],
    [5000, 10, 2],
    [5010, 20, 3],
    [5050, 4000, 3],
    [9999, 1, 3],
    [5005, 10, 4],
    [0, 10_000, 5],
    [3, 3000, 5],
  ];
  for (const [offset, length, count] of cases) {
    const buffer = new Uint8Array(length);
    source.readAt(offset, buffer);
    assert.deepEqual(buffer, whole.slice(offset, offset + length));
    assert.equal(asked.length, count, `${offset} ${length}`);
  }
});
