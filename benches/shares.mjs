// What share of this machine's limits our engines reach.

import { DECODERS, dimensionsOf, MODELS } from './cases.mjs';
import { percent, table } from './report.mjs';

/** `{ work, engine, limit, share }` for every figure of one thread that has a limit; nothing where the limits were not measured. */
export function sharesOf({ limits, encoder = [], long = [], decoder = [] }) {
  if (limits === undefined) return [];
  const encoders = [...encoder, ...long].flatMap(({ model, shape, engines = {} }) =>
    Object.entries(engines).map(([engine, { ms }]) => {
      const limit = MODELS[model].rounds ? 'byteDot' : 'fusedMultiplyAdd';
      return { work: `${model} ${shape}`, engine, limit, share: operations(MODELS[model], shape) / (ms.median / 1e3) / limits[limit] };
    }),
  );
  const decoders = decoder.flatMap(({ model, promptLength, steps, engines }) => {
    const { layers, weightBytes, cache, pastDims } = DECODERS[model];
    const [batch, heads, , width] = pastDims;
    const cacheBytes = cache.length * batch * heads * (promptLength + steps / 2) * width * 4;
    return Object.entries(engines).flatMap(([engine, { prefillPerSecond, decodePerSecond }]) => [
      { work: `${model} prefill`, engine, limit: 'byteDot', share: (2 * layers.weights * prefillPerSecond.median) / limits.byteDot },
      { work: `${model} decode, weights`, engine, limit: 'stream', share: (weightBytes * decodePerSecond.median) / limits.stream },
      {
        work: `${model} decode, weights and cache`,
        engine,
        limit: 'stream',
        share: ((weightBytes + cacheBytes) * decodePerSecond.median) / limits.stream,
      },
    ]);
  });
  return [...encoders, ...decoders];
}

export function printShares(shares) {
  if (shares.length === 0) return;
  console.log('\nshare of the limits of one thread that all of a run reaches, what is not a product included');
  console.log(table(shares.map(({ share, ...rest }) => ({ ...rest, share: percent(share) }))));
}

/** Multiplications and additions of an encoder's products, those of attention included. */
function operations({ layers: { weights, count, width } }, shape) {
  const [batch, length] = dimensionsOf(shape);
  return batch * length * (2 * weights + 4 * length * width * count);
}
