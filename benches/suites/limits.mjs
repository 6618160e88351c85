// What one thread of this machine can do in WebAssembly, measured beside the suites that are held against it.

import { withPage } from '../browser.mjs';
import { table } from '../report.mjs';

export const limits = {
  run: ({ browser, address }) => withPage(browser, address, (page) => page.evaluate(() => bench.limits())),
  agrees: () => true,
  print({ fusedMultiplyAdd, byteDot, stream }) {
    const rate = (value, unit) => `${(value / 1e9).toFixed(1)} ${unit}`;
    console.log('\nlimits of one thread: the best of five runs of a loop of one instruction');
    console.log(
      table([
        { limit: 'fused multiply-add of f32', rate: rate(fusedMultiplyAdd, 'GFLOP/s') },
        { limit: 'relaxed dot product of bytes', rate: rate(byteDot, 'GOP/s') },
        { limit: 'reading 200 MB', rate: rate(stream, 'GB/s') },
      ]),
    );
  },
};
