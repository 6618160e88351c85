// Engines beside a peer: timed in turns once their outputs have been found to agree.

import { count, millis, ratio, scientific, spread } from './report.mjs';
import { pairwiseRatio, summary } from './statistics.mjs';

const FULL = { warmUpMs: 1500, sampleMs: 40, budgetMs: 15_000, minRounds: 15, maxRounds: 100 };
const QUICK = { warmUpMs: 100, sampleMs: 1, budgetMs: 0, minRounds: 3, maxRounds: 3 };

/**
 * Compares, then times; where outputs differ by more than `tolerance`, the differences are all there is.
 *
 * @param differencesOf - gives, by engine, the difference from the peer
 * @param timesOf - takes a plan, and gives what the page's `timeInTurns` does
 */
export async function compare({ peer, tolerance, quick, differencesOf, timesOf }) {
  const differences = await differencesOf();
  if (!areSmall(differences, tolerance)) return { differences };
  const { samples, runsPerSample } = await timesOf(quick ? QUICK : FULL);
  const engines = {};
  for (const [name, times] of Object.entries(samples)) {
    engines[name] = { ms: summary(times), ...(name === peer ? {} : { ratio: pairwiseRatio(samples[peer], times) }) };
  }
  return { differences, rounds: samples[peer].length, runsPerSample, engines };
}

export function areSmall(differences, tolerance) {
  return Object.values(differences).every((difference) => isSmall(difference, tolerance));
}

/** Rows for the table of what {@link compare} found, `work` in their first columns. */
export function comparisonRows(work, { differences, rounds, runsPerSample, engines }, tolerance) {
  if (engines === undefined) {
    return Object.entries(differences).map(([name, difference]) => ({
      ...work,
      engine: name,
      difference: isSmall(difference, tolerance) ? scientific(difference) : `${scientific(difference)}: DISAGREES, not timed`,
    }));
  }
  return Object.entries(engines).map(([name, figures]) => ({
    ...work,
    engine: name,
    ms: spread(figures.ms, millis),
    '×': figures.ratio === undefined ? '' : spread(figures.ratio, ratio),
    difference: name in differences ? scientific(differences[name]) : '',
    samples: `${count(rounds)} of ${count(runsPerSample)}`,
  }));
}

function isSmall(difference, tolerance) {
  return difference !== null && difference <= tolerance;
}
