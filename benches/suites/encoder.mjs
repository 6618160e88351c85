// Time of one run of an encoder at several shapes, ours and the peer's in turns.

import { ENCODER_SHAPES, LONG_SHAPES, PEER, toleranceOf } from '../cases.mjs';
import { withPage } from '../browser.mjs';
import { areSmall, compare, comparisonRows } from '../comparison.mjs';
import { table } from '../report.mjs';

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
            results.push({ model, shape, ...(await measure(page, model, shape, quick)) });
          }
        });
      }
      return results;
    },
    agrees: (results) => results.every(({ model, differences }) => areSmall(differences, toleranceOf(model))),
    print(results) {
      for (const model of new Set(results.map((result) => result.model))) {
        console.log(`\n${title}, ${model}: ms; × is the peer's time over ours, above 1 where ours is faster; median [quartiles]`);
        const ofModel = results.filter((result) => result.model === model);
        console.log(table(ofModel.flatMap(({ shape, ...result }) => comparisonRows({ shape }, result, toleranceOf(model)))));
      }
    },
  };
}

function measure(page, model, shape, quick) {
  return compare({
    peer: PEER,
    tolerance: toleranceOf(model),
    quick,
    differencesOf: () => page.evaluate((given) => bench.differences(...given), [model, shape]),
    timesOf: (plan) => page.evaluate((given) => bench.time(...given), [shape, plan]),
  });
}
