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
