// Tokens a second of a language model with a cache: reading a prompt, then a token at a time; ours and the peer's in turns.

import { GGUF_PEER, INT8_PEER, PEER } from '../cases.mjs';
import { withPage } from '../browser.mjs';
import { ratio, spread, table } from '../report.mjs';
import { pairwiseRatio, summary } from '../statistics.mjs';

const FULL = { promptLength: 256, steps: 24, rounds: 7 };
const QUICK = { promptLength: 16, steps: 3, rounds: 1 };

const PEERS = [PEER, INT8_PEER, GGUF_PEER];

/** Below this, logits tell that engines do not compute the same: each may round activations to 8 bits in its own way. */
const LEAST_COSINE = 0.95;

export const decoder = {
  async run({ browser, address, engines, decoders, quick }) {
    const plan = quick ? QUICK : FULL;
    const results = [];
    for (const model of decoders) {
      const measured = await withPage(browser, address, (page) =>
        page.evaluate((given) => bench.timeDecoder(...given), [[...engines, INT8_PEER, GGUF_PEER], model, plan]),
      );
      results.push({ model, ...plan, engines: figuresOf(measured, plan) });
    }
    return results;
  },
  agrees: (results) =>
    results.every(({ engines }) => Object.values(engines).every(({ cosine }) => cosine === undefined || cosine >= LEAST_COSINE)),
  print(results) {
    for (const { model, promptLength, steps, engines } of results) {
      console.log(
        `\n${model}: tokens/s of a prompt of ${promptLength}, then of ${steps} steps; × is a peer's time over ours; median [quartiles]`,
      );
      console.log(table(Object.entries(engines).map(([name, figures]) => row(name, figures))));
    }
  },
};

function figuresOf(measured, { promptLength, steps }) {
  const figures = {};
  for (const [name, { prefillMs, decodeMs, cosine }] of Object.entries(measured)) {
    figures[name] = {
      prefillPerSecond: summary(prefillMs.map((ms) => (1000 * promptLength) / ms)),
      decodePerSecond: summary(decodeMs.map((ms) => (1000 * steps) / ms)),
      cosine,
      ratios: Object.fromEntries(
        PEERS.filter((peer) => !PEERS.includes(name)).map((peer) => [
          peer,
          { prefill: pairwiseRatio(measured[peer].prefillMs, prefillMs), decode: pairwiseRatio(measured[peer].decodeMs, decodeMs) },
        ]),
      ),
    };
  }
  return figures;
}

function row(name, { prefillPerSecond, decodePerSecond, ratios, cosine }) {
  const columns = Object.entries(ratios).flatMap(([peer, { prefill, decode }]) => [
    [`prefill × ${peer}`, spread(prefill, ratio)],
    [`decode × ${peer}`, spread(decode, ratio)],
  ]);
  return {
    engine: name,
    prefill: spread(prefillPerSecond, ratio),
    decode: spread(decodePerSecond, ratio),
    ...Object.fromEntries(columns),
    'smallest cosine': PEERS.includes(name) ? '' : ratio(cosine),
  };
}
