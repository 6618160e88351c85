// From nothing to the first answer, each sample in a fresh page with nothing cached; and WebAssembly memory after it. Ours also from an
// artefact, which an earlier visit has kept in the origin's private file system.

import { computesInPage, FIRST_RUN_SHAPE, PEER } from '../cases.mjs';
import { withPage } from '../browser.mjs';
import { mebibytes, millis, ratio, spread, table } from '../report.mjs';
import { pairwiseRatio, summary } from '../statistics.mjs';

const FULL_SAMPLES = 9;
const QUICK_SAMPLES = 2;
const FROM_ARTEFACT = ', from an artefact';

export const create = {
  async run({ browser, address, engines, models, quick }) {
    const results = [];
    for (const model of models) {
      const cases = engines.flatMap(casesOf);
      const samples = Object.fromEntries(cases.map(({ label }) => [label, []]));
      for (let round = 0; round < (quick ? QUICK_SAMPLES : FULL_SAMPLES); round += 1) {
        for (const { label, engine, saved } of cases) {
          samples[label].push(await withPage(browser, address, (page) => sample(page, address, engine, model, saved)));
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

/** An engine's cases: what it loads is the model, and of ours also what it saved. */
function casesOf(engine) {
  const plain = { label: engine, engine, saved: false };
  return engine === PEER ? [plain] : [plain, { label: `${engine}${FROM_ARTEFACT}`, engine, saved: true }];
}

async function sample(page, address, engine, model, saved) {
  if (saved) {
    await page.evaluate((given) => bench.saveArtefact(...given), [engine, model]);
    await page.goto(address);
  }
  return page.evaluate((given) => bench.create(...given), [engine, model, FIRST_RUN_SHAPE, saved]);
}

function figuresOf(samples) {
  const total = ({ createMs, firstRunMs }) => createMs + firstRunMs;
  const figures = {};
  for (const [name, taken] of Object.entries(samples)) {
    figures[name] = {
      createMs: summary(taken.map(({ createMs }) => createMs)),
      firstRunMs: summary(taken.map(({ firstRunMs }) => firstRunMs)),
      // The memory of a worker is out of the page's sight.
      ...(computesInPage(name.replace(FROM_ARTEFACT, '')) && { heapBytes: summary(taken.map(({ heapBytes }) => heapBytes)).median }),
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
