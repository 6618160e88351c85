// What one run asks of the GPU. Times on a software adapter say nothing of real ones and are not taken.

import { PEER, toleranceOf, WEBGPU_SHAPES } from '../cases.mjs';
import { launchBrowser, withPage } from '../browser.mjs';
import { count, scientific, table } from '../report.mjs';

export const webgpu = {
  async run({ address, models, shapes }) {
    const results = [];
    const browser = await launchBrowser({ webgpu: true });
    try {
      for (const model of models) {
        await withPage(browser, address, async (page) => {
          await page.evaluate(([names, name]) => bench.open(names, name), [[PEER, 'webgpu'], model]);
          for (const shape of shapes ?? WEBGPU_SHAPES) {
            const { webgpu: difference } = await page.evaluate((given) => bench.differences(...given), [model, shape]);
            const counters = await page.evaluate((shape) => bench.countersOfRun('webgpu', shape), shape);
            results.push({ model, shape, difference, counters });
          }
        });
      }
    } finally {
      await browser.close();
    }
    return results;
  },
  agrees: (results) => results.every(({ model, difference }) => difference !== null && difference <= toleranceOf(model)),
  print(results) {
    console.log('\nWebGPU on a software adapter: counts of one run, no times');
    console.log(
      table(
        results.map(({ model, shape, difference, counters }) => ({
          model,
          shape,
          difference: scientific(difference),
          ...Object.fromEntries(Object.entries(counters).map(([name, value]) => [name, count(value)])),
        })),
      ),
    );
  },
};
