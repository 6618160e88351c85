// Where our time goes: self time by function, sampled by V8 in the page's thread. Functions have names in a debug build only.

import { computesInPage, PEER, PROFILE_SHAPE } from '../cases.mjs';
import { withPage } from '../browser.mjs';
import { percent, table } from '../report.mjs';

const SAMPLING_INTERVAL_MICROS = 250;
const WARM_UP_MS = 2000;
const FULL_MS = 8000;
const QUICK_MS = 500;
const FUNCTIONS_SHOWN = 25;

/** What a language model is given: a prompt alone, or next to nothing and then a token at a time. */
const DECODER_PLANS = { 'a prompt': { promptLength: 256, steps: 0 }, steps: { promptLength: 1, steps: 255 } };

export const profile = {
  async run({ browser, address, engines, models, decoders, shapes, quick }) {
    const results = [];
    const duration = quick ? QUICK_MS : FULL_MS;
    for (const engine of engines.filter((name) => name !== PEER && computesInPage(name))) {
      for (const model of models) {
        await withPage(browser, address, async (page) => {
          await page.evaluate(([name, model]) => bench.open([name], model), [engine, model]);
          for (const shape of shapes ?? [PROFILE_SHAPE]) {
            const repeat = (ms) => page.evaluate((given) => bench.repeat(...given), [engine, shape, ms]);
            results.push({ model, shape, engine, functions: await sample(page, repeat, duration) });
          }
        });
      }
      for (const model of decoders) {
        await withPage(browser, address, async (page) => {
          for (const [shape, plan] of Object.entries(DECODER_PLANS)) {
            const repeat = (ms) => page.evaluate((given) => bench.repeatDecoder(...given), [engine, model, plan, ms]);
            results.push({ model, shape, engine, functions: await sample(page, repeat, duration) });
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
async function sample(page, repeat, durationMs) {
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
