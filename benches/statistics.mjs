// Figures out of samples.

/** `{ median, low, high }`: the median and the quartiles of some numbers, by linear interpolation. */
export function summary(samples) {
  if (samples.length === 0) throw new Error('no samples');
  const sorted = [...samples].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) };
}

/**
 * How many times the peer's time an engine is fast: above 1 it is faster. Samples of the same round are paired, so that
 * what slowed down both leaves the ratio as it is.
 */
export function pairwiseRatio(peerSamples, samples) {
  if (peerSamples.length !== samples.length) throw new Error('a round lacks a sample');
  return summary(samples.map((sample, round) => peerSamples[round] / sample));
}

function quantile(sorted, fraction) {
  const place = (sorted.length - 1) * fraction;
  const below = Math.floor(place);
  const above = Math.ceil(place);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}
