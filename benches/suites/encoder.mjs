// Time of one run of an encoder at several shapes, ours and the peer's in turns.

import { ENCODER_SHAPES, LONG_SHAPES, PEER, toleranceOf } from '../cases.mjs';
import { withPage } from '../browser.mjs';
import { count, millis, ratio, scientific, spread, table } from '../report.mjs';
import { pairwiseRatio, summary } from '../statistics.mjs';

const FULL = { warmUpMs: 1500, sampleMs: 40, budgetMs: 15_000, minRounds: 15, maxRounds: 100 };
const QUICK = { warmUpMs: 100, sampleMs: 1, budgetMs: 0, minRounds: 3, maxRounds: 3 };

export const encoder = timingSuite('one run', ENCODER_SHAPES);
export const long = timingSuite('one run, long input', LONG_SHAPES);

function timingSuite(title, allShapes) {
  return {
    async run({ browser, address, engines, models, shapes, quick }) {
      const results = [];
      for (const model of models) {
        await withPage(browser, address, async (page) => {
          await page.evaluate(([names, name]) => bench.open(names, name), [engines, model]);
          for (const shape of shapes ?? allShapes) {
            results.push({ model, shape, ...(await measure(page, model, shape, quick ? QUICK : FULL)) });
          }
        });
      }
      return results;
    },
    agrees: (results) => results.every(({ model, differences }) => areSmall(differences, model)),
    print(results) {
      for (const model of new Set(results.map((result) => result.model))) {
        console.log(`\n${title}, ${model}: ms; × is the peer's time over ours, above 1 where ours is faster; median [quartiles]`);
        console.log(table(results.filter((result) => result.model === model).flatMap(rows)));
      }
    },
  };
}

/** Times one shape once all engines have been found to agree; else the differences are all there is. */
async function measure(page, model, shape, plan) {
  const differences = await page.evaluate((given) => bench.differences(...given), [model, shape]);
  if (!areSmall(differences, model)) return { differences };
  const { samples, runsPerSample } = await page.evaluate(([shape, plan]) => bench.time(shape, plan), [shape, plan]);
  const engines = {};
  for (const [name, times] of Object.entries(samples)) {
    engines[name] = { ms: summary(times), ...(name === PEER ? {} : { ratio: pairwiseRatio(samples[PEER], times) }) };
  }
  return { differences, rounds: samples[PEER].length, runsPerSample, engines };
}

function areSmall(differences, model) {
  return Object.values(differences).every((difference) => isSmall(difference, model));
}

function isSmall(difference, model) {
  return difference !== null && difference <= toleranceOf(model);
}

function rows({ model, shape, differences, rounds, runsPerSample, engines }) {
  if (engines === undefined) {
    return Object.entries(differences).map(([name, difference]) => ({
      shape,
      engine: name,
      difference: isSmall(difference, model) ? scientific(difference) : `${scientific(difference)}: DISAGREES, not timed`,
    }));
  }
  return Object.entries(engines).map(([name, figures]) => ({
    shape,
    engine: name,
    ms: spread(figures.ms, millis),
    '×': figures.ratio === undefined ? '' : spread(figures.ratio, ratio),
    difference: name === PEER ? '' : scientific(differences[name]),
    samples: `${count(rounds)} of ${count(runsPerSample)}`,
  }));
}
