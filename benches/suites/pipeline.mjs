// Time from texts to their vectors, as a page has it from `pipeline`; our package's and transformers.js's in turns.

import { EMBEDDERS, embeddingToleranceOf, PEER, PIPELINE_PEER } from '../cases.mjs';
import { withPage } from '../browser.mjs';
import { areSmall, compare, comparisonRows } from '../comparison.mjs';
import { table } from '../report.mjs';
import { TEXTS } from '../texts.mjs';

export const pipeline = {
  async run({ browser, address, engines, models, quick }) {
    const results = [];
    const names = [PIPELINE_PEER, ...engines.filter((name) => name !== PEER)];
    for (const model of models.filter((name) => name in EMBEDDERS)) {
      await withPage(browser, address, async (page) => {
        await page.evaluate((given) => bench.openEmbedders(...given), [names, model]);
        for (const texts of Object.keys(TEXTS)) {
          results.push({ model, texts, ...(await measure(page, model, texts, quick)) });
        }
      });
    }
    return results;
  },
  agrees: (results) => results.every(({ model, differences }) => areSmall(differences, embeddingToleranceOf(model))),
  print(results) {
    for (const model of new Set(results.map((result) => result.model))) {
      console.log(`\ntexts to vectors, ${model}: ms; × is the time of ${PIPELINE_PEER} over ours, above 1 where ours is faster; median [quartiles]`);
      const ofModel = results.filter((result) => result.model === model);
      console.log(table(ofModel.flatMap(({ texts, ...result }) => comparisonRows({ texts }, result, embeddingToleranceOf(model)))));
    }
  },
};

function measure(page, model, texts, quick) {
  return compare({
    peer: PIPELINE_PEER,
    tolerance: embeddingToleranceOf(model),
    quick,
    differencesOf: () => page.evaluate((name) => bench.embeddingDifferences(name), texts),
    timesOf: (plan) => page.evaluate((given) => bench.timeEmbedding(...given), [texts, plan]),
  });
}
