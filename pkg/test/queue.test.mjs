import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallQueue } from '../dist/queue.js';

test('calls run one at a time, in order, whatever becomes of them', async () => {
  const queue = new CallQueue();
  const log = [];
  const call = (name, fails) => async () => {
    log.push(`${name} begins`);
    await new Promise((resolve) => setTimeout(resolve, 5));
    log.push(`${name} ends`);
    if (fails) throw new Error(name);
    return name;
  };
  const results = await Promise.allSettled([queue.run(call('a')), queue.run(call('b', true)), queue.run(call('c'))]);
  assert.deepEqual(
    results.map(({ value, reason }) => value ?? reason.message),
    ['a', 'b', 'c'],
  );
  assert.deepEqual(log, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

test('an aborted call leaves the queue and is never run', async () => {
  const queue = new CallQueue();
  const controller = new AbortController();
  let finish;
  const first = queue.run(() => new Promise((resolve) => (finish = resolve)));
  const second = queue.run(() => assert.fail('was run'), controller.signal);
  const third = queue.run(async () => 'third');
  controller.abort('changed my mind');
  await assert.rejects(second, { code: 'Aborted', cause: 'changed my mind' });
  await assert.rejects(
    queue.run(() => assert.fail('was run'), AbortSignal.abort()),
    { code: 'Aborted' },
  );
  finish('first');
  assert.deepEqual(await Promise.all([first, third]), ['first', 'third']);
});
