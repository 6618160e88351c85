// From nothing to the first answer, each sample in a fresh page with nothing cached; and WebAssembly memory after it.

import { computesInPage, FIRST_RUN_SHAPE, PEER } from '../cases.mjs';
import { withPage } from '../browser.mjs';
import { mebibytes, millis, ratio, spread, table } from '../report.mjs';
import { pairwiseRatio, summary } from '../statistics.mjs';

const FULL_SAMPLES = 9;
const QUICK_SAMPLES = 2;

export const create = {
  async run({ browser, address, engines, models, quick }) {
    const results = [];
    for (const model of models) {
      const samples = Object.fromEntries(engines.map((name) => [name, []]));
      for (let round = 0; round < (quick ? QUICK_SAMPLES : FULL_SAMPLES); round += 1) {
        for (const name of engines) {
          const evaluate = (page) => page.evaluate((given) => bench.create(...given), [name, model, FIRST_RUN_SHAPE]);
          samples[name].push(await withPage(browser, address, evaluate));
        }
      }
      results.push({ model, shape: FIRST_RUN_SHAPE, engines: figuresOf(samples) });
    }
    return results;
  },
  agrees: () => true,
  print(results) {
    for (const { model, shape, engines } of results) {
      console.log(`\ncreate and first run at ${shape}, ${model}: ms from a fresh page, over loopback; median [quartiles]; heap in MiB`);
      console.log(table(Object.entries(engines).map(([name, figures]) => row(name, figures))));
    }
  },
};

function figuresOf(samples) {
  const total = ({ createMs, firstRunMs }) => createMs + firstRunMs;
  const figures = {};
  for (const [name, taken] of Object.entries(samples)) {
    figures[name] = {
      createMs: summary(taken.map(({ createMs }) => createMs)),
      firstRunMs: summary(taken.map(({ firstRunMs }) => firstRunMs)),
      // The memory of a worker is out of the page's sight.
      ...(computesInPage(name) && { heapBytes: summary(taken.map(({ heapBytes }) => heapBytes)).median }),
      ...(name === PEER ? {} : { ratio: pairwiseRatio(samples[PEER].map(total), taken.map(total)) }),
    };
  }
  return figures;
}

function row(name, { createMs, firstRunMs, heapBytes, ratio: times }) {
  return {
    engine: name,
    create: spread(createMs, millis),
    'first run': spread(firstRunMs, millis),
    '× of both': times === undefined ? '' : spread(times, ratio),
    heap: heapBytes === undefined ? '' : mebibytes(heapBytes),
  };
}
