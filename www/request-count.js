/**
 * Counts the requests that the browser reports for this page (files, `fetch`, beacons, images; not those of workers).
 *
 * @param {(count: number | null) => void} show called with every new count; null while nothing is counted
 * @returns {{ start(): void, stop(): void }} `start` counts requests that begin from now on
 */
export function countRequests(show) {
  let since = Infinity;
  let count = 0;

  new PerformanceObserver((list) => {
    const fresh = list.getEntries().filter((entry) => entry.startTime >= since);
    if (fresh.length === 0) return;
    count += fresh.length;
    show(count);
  }).observe({ type: 'resource', buffered: true });

  return {
    start() {
      since = performance.now();
      count = 0;
      show(count);
    },
    stop() {
      since = Infinity;
      show(null);
    },
  };
}
