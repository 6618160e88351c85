// WebAssembly memory that loading a model takes, each in a fresh page. It never shrinks: its growth is the peak.

import { computesInPage } from '../cases.mjs';
import { withPage } from '../browser.mjs';
import { mebibytes, ratio, table } from '../report.mjs';

export const memory = {
  async run({ browser, address, engines, models, decoders }) {
    const results = [];
    // The memory of a worker is out of the page's sight.
    for (const engine of engines.filter(computesInPage)) {
      for (const model of [...models, ...decoders]) {
        const evaluate = (page) => page.evaluate((given) => bench.loadingMemory(...given), [engine, model]);
        results.push({ engine, model, ...(await withPage(browser, address, evaluate)) });
      }
    }
    return results;
  },
  agrees: () => true,
  print(results) {
    console.log('\nWebAssembly memory that loading takes, beyond that of a model of a few bytes; MiB');
    const row = ({ engine, model, loadingBytes, fileBytes }) => ({
      model,
      engine,
      file: mebibytes(fileBytes),
      loading: mebibytes(loadingBytes),
      '× of the file': ratio(loadingBytes / fileBytes),
    });
    console.log(table(results.map(row)));
  },
};
