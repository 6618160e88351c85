// Times whatever engines do, in turns.

import { THREADS } from './engines.js';

/**
 * Times engines in turns. Each round takes one sample of each engine, beginning with another one each time; a sample
 * is the mean of as many runs as take the fastest engine `sampleMs`.
 *
 * @param runs - by engine, the function that is timed
 * @param plan - `warmUpMs` and `budgetMs` (in ms, the first per engine), `minRounds`, `maxRounds`
 * @returns `samples`, in ms by engine, and `runsPerSample`
 */
export async function timeInTurns(runs, plan) {
  let fastest = Infinity;
  let all = 0;
  for (const run of runs.values()) {
    const duration = await warmUp(run, plan.warmUpMs);
    fastest = Math.min(fastest, duration);
    all += duration;
  }
  const runsPerSample = Math.max(1, Math.round(plan.sampleMs / fastest));
  const rounds = Math.round(Math.min(plan.maxRounds, Math.max(plan.minRounds, plan.budgetMs / (all * runsPerSample))));
  const names = [...runs.keys()];
  const samples = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < names.length; turn += 1) {
      const name = names[(round + turn) % names.length];
      await idle();
      samples[name].push(await meanDuration(runs.get(name), runsPerSample));
    }
  }
  return { samples, runsPerSample };
}

/** Runs until `durationMs` have passed, at least twice; returns the shortest run in ms. */
export async function warmUp(run, durationMs) {
  const start = performance.now();
  let shortest = Infinity;
  for (let count = 0; count < 2 || performance.now() - start < durationMs; count += 1) {
    shortest = Math.min(shortest, await meanDuration(run, 1));
  }
  return shortest;
}

async function meanDuration(run, count) {
  const start = performance.now();
  for (let index = 0; index < count; index += 1) await run();
  return (performance.now() - start) / count;
}

/** Lets the browser do what it has put off, and the threads of the engine before, which spin for a while, go to sleep. */
function idle() {
  return new Promise((resolve) => setTimeout(resolve, THREADS > 1 ? 50 : 0));
}
