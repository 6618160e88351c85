// Where our time goes: self time by function, sampled by V8 in the page's thread. Functions have names in a debug build only.

import { computesInPage, PEER, PROFILE_SHAPE } from '../cases.mjs';
import { withPage } from '../browser.mjs';
import { percent, table } from '../report.mjs';

const SAMPLING_INTERVAL_MICROS = 250;
const WARM_UP_MS = 2000;
const FULL_MS = 8000;
const QUICK_MS = 500;
const FUNCTIONS_SHOWN = 25;

export const profile = {
  async run({ browser, address, engines, models, shapes, quick }) {
    const results = [];
    for (const model of models) {
      for (const engine of engines.filter((name) => name !== PEER && computesInPage(name))) {
        await withPage(browser, address, async (page) => {
          await page.evaluate(([name, model]) => bench.open([name], model), [engine, model]);
          for (const shape of shapes ?? [PROFILE_SHAPE]) {
            const functions = await sample(page, engine, shape, quick ? QUICK_MS : FULL_MS);
            results.push({ model, shape, engine, functions });
          }
        });
      }
    }
    return results;
  },
  agrees: () => true,
  print(results) {
    for (const { model, shape, engine, functions } of results) {
      console.log(`\nself time by function, ${model} at ${shape}, ${engine}`);
      const rows = functions.slice(0, FUNCTIONS_SHOWN).map(({ name, share }) => ({ share: percent(share), function: name }));
      console.log(table(rows));
    }
  },
};

/** Functions by their share of the time that the page was busy, the largest first. */
async function sample(page, engine, shape, durationMs) {
  const repeat = (duration) => page.evaluate((given) => bench.repeat(...given), [engine, shape, duration]);
  const devtools = await page.context().newCDPSession(page);
  await repeat(WARM_UP_MS);
  await devtools.send('Profiler.enable');
  await devtools.send('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL_MICROS });
  await devtools.send('Profiler.start');
  await repeat(durationMs);
  const { profile: taken } = await devtools.send('Profiler.stop');
  await devtools.detach();
  return shares(taken);
}

function shares({ nodes, samples, timeDeltas }) {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, callFrame.functionName || '(anonymous)']));
  const times = new Map();
  samples.forEach((id, index) => {
    const name = names.get(id);
    if (name !== '(idle)') times.set(name, (times.get(name) ?? 0) + timeDeltas[index]);
  });
  const total = [...times.values()].reduce((sum, time) => sum + time, 0);
  return [...times].map(([name, time]) => ({ name, share: time / total })).sort((a, b) => b.share - a.share);
}
