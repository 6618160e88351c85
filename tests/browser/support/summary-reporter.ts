import type { FullConfig, Reporter, Suite } from '@playwright/test/reporter';

/** Ends the output with one line of totals. */
export default class SummaryReporter implements Reporter {
  #suite: Suite | undefined;

  onBegin(_config: FullConfig, suite: Suite): void {
    this.#suite = suite;
  }

  onEnd(): void {
    const outcomes = this.#suite?.allTests().map((test) => test.outcome()) ?? [];
    const count = (...wanted: typeof outcomes) => outcomes.filter((outcome) => wanted.includes(outcome)).length;
    console.log(`${count('expected')} passed, ${count('unexpected', 'flaky')} failed, ${count('skipped')} skipped`);
  }

  printsToStdio(): boolean {
    return true;
  }
}
